"""Exports of records, and the register of them that an erasure goes by."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from modelworks.control.records.formats import format_of
from modelworks.core import codec
from modelworks.core.errors import CorruptError, InvalidError, NotFoundError, UnavailableError
from modelworks.core.files import replace_text
from modelworks.core.ids import uuid7
from modelworks.core.records import Scan
from modelworks.core.seams import RecordStore

FORMATS: Final = ("parquet", "csv", "jsonl")
_ALWAYS: Final = ("id", "item", "at_ns", "subject")  # by the last a line is found and erased


@dataclass(frozen=True, slots=True)
class Exported:
    """One export.

    Attributes:
        path: of its file.
        format: of it.
        at_ns: when it was made.
        tenant: whose records.
        model: of which model.
        lines: in it.
    """

    path: str
    format: str
    at_ns: int
    tenant: str
    model: str
    lines: int


class Exports:
    """The register of exports of one data folder.

    Args:
        path: of its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Exported]:
        """Those whose files are still there.

        Raises:
            CorruptError: the register cannot be read.
        """
        try:
            found = codec.decode(list[Exported], json.loads(self._path.read_text()), "exports")
        except FileNotFoundError:
            return []
        except (OSError, ValueError, InvalidError) as error:
            raise CorruptError(
                f"{self._path} cannot be read ({error}): which exports were made is not known; "
                "delete it, and look for exports by hand"
            ) from error
        return [one for one in found if Path(one.path).exists()]

    def add(self, made: Exported) -> None:
        """Note one, before its file is there."""
        others = [one for one in self.all() if one.path != made.path]
        text = json.dumps(codec.encode([*others, made]))
        try:
            replace_text(self._path, text, mode=0o700)
        except OSError as error:
            raise UnavailableError(f"{self._path}: {error.strerror or error}") from error


def export(
    store: RecordStore,
    register: Exports,
    wanted: Scan,
    kind: str,
    folder: Path,
    columns: Sequence[str],
    now_ns: int,
) -> Exported:
    """Write records of a window to a new file.

    Args:
        store: of records.
        register: is told of it first: a file that nobody knows of is not erased.
        wanted: which records.
        kind: one of `FORMATS`.
        folder: for the file; made where it is not there.
        columns: wanted ones, empty = all; id, item, time and subject always come along.
        now_ns: UTC.

    Raises:
        NotFoundError: there are no such records.
        UnavailableError: it cannot be written; no file is left.
        MissingExtraError: parquet without its library.
    """
    form = format_of(kind)
    asked = tuple(dict.fromkeys((*_ALWAYS, *columns))) if columns else ()
    batches = store.scan(wanted, asked)
    first = next(batches, None)
    if first is None:
        raise NotFoundError("there are no such records: nothing was exported", field="model")
    # Columns differ from hour to hour: a head needs all of them first.
    seen = asked or dict.fromkeys(n for batch in store.scan(wanted) for n in batch.columns)
    names = [*_ALWAYS, *(name for name in seen if name not in _ALWAYS)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{folder}: {error.strerror or error}") from error
    path = folder.absolute() / f"records-{wanted.model or 'all'}-{uuid7()}.{kind}"
    made = Exported(str(path), kind, now_ns, wanted.tenant, wanted.model, 0)
    with _noted(register, made):
        lines = form.write(path, names, chain([first], batches))
    made = Exported(str(path), kind, now_ns, wanted.tenant, wanted.model, lines)
    register.add(made)
    return made


@contextmanager
def _noted(register: Exports, made: Exported) -> Iterator[None]:
    """The register knows of a file while it is being written: it is there, and empty."""
    path = Path(made.path)
    try:
        path.touch(mode=0o600)
        register.add(made)
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
