"""What a reference is made of, and what is compared with one: a file, or records of a version."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelworks.cli.context import here
from modelworks.cli.tables import read_table
from modelworks.cli.windows import moment
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.ids import now_ns
from modelworks.core.records import Scan

if TYPE_CHECKING:
    from modelworks.monitor.drift.reference import Reference


def columns_of(
    data: Path | None, ref: str, since: str, until: str, field: str = "data"
) -> Mapping[str, Any]:
    """Columns by name.

    Args:
        data: a file; None = records.
        ref: the version whose records are read; empty = a file.
        since: of records, as people write times.
        until: the same.
        field: that names the file, for errors.

    Raises:
        InvalidError: both, or neither.
        NotFoundError: no such file or version, or no records of it.
    """
    if (data is None) == (not ref):
        raise InvalidError("give a file of DATA, or --records NAME:VERSION", field="data")
    if data is not None:
        if since or until:
            raise InvalidError("--since and --until are times of --records", field="since")
        return read_table(data, field)
    from modelworks.control.watching.collecting import collected

    now = now_ns()
    first = moment(since, now, "--since") if since else 0
    last = moment(until, now, "--until") if until else (1 << 63) - 1
    with here("records are read where they lie") as factory:
        version = factory.show(ref)
        wanted = Scan("default", version.name, str(version.version), first, last)
        return collected(factory.records.store, wanted)


def own_reference(ref: str) -> "Reference":
    """The reference that a version has.

    Args:
        ref: of the version.

    Raises:
        NotFoundError: no such version, or it has none.
    """
    with here("references lie where the registry is") as factory:
        version = factory.show(ref)
        found = factory.watching.references.find(version.name, str(version.version))
    if found is None:
        raise NotFoundError(
            f"{version.ref} has no reference: give --reference FILE, or give it one with: "
            f"modelworks reference set {version.ref} FILE",
            field="reference",
        )
    return found
