"""What a reference is made of: a file, or records of a version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelworks.cli.context import here
from modelworks.cli.tables import read_table
from modelworks.cli.windows import moment
from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns
from modelworks.core.records import Scan


def columns_of(data: Path | None, ref: str, since: str, until: str) -> Mapping[str, Any]:
    """Columns by name.

    Args:
        data: a file; None = records.
        ref: the version whose records are read; empty = a file.
        since: of records, as people write times.
        until: the same.

    Raises:
        InvalidError: both, or neither.
        NotFoundError: no such file or version, or no records of it.
    """
    if (data is None) == (not ref):
        raise InvalidError("give a file of DATA, or --records NAME:VERSION", field="data")
    if data is not None:
        if since or until:
            raise InvalidError("--since and --until are times of --records", field="since")
        return read_table(data, "data")
    from modelworks.control.watching.collecting import collected

    now = now_ns()
    first = moment(since, now, "--since") if since else 0
    last = moment(until, now, "--until") if until else (1 << 63) - 1
    with here("records are read where they lie") as factory:
        version = factory.show(ref)
        wanted = Scan("default", version.name, str(version.version), first, last)
        return collected(factory.records.store, wanted)
