"""Files that records are exported to, and from which a subject can be taken out again."""

import csv
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from modelworks.core.errors import MissingExtraError, UnavailableError
from modelworks.core.records import Batch
from modelworks.plugins.load import load

SUBJECT: Final = "subject"


class Format(Protocol):
    """One kind of file."""

    def write(self, path: Path, names: Sequence[str], batches: Iterator[Batch]) -> int:
        """Write a file, whole or not at all; how many lines."""
        ...

    def erase(self, path: Path, subjects: Sequence[str]) -> int:
        """Rewrite a file without the lines of subjects; how many went."""
        ...


class Jsonl:
    """A JSON object a line."""

    def write(self, path: Path, names: Sequence[str], batches: Iterator[Batch]) -> int:
        """Write it."""
        count = 0
        with replacing(path) as file:
            for line in _lines(names, batches):
                file.write(json.dumps(line, ensure_ascii=True) + "\n")
                count += 1
        return count

    def erase(self, path: Path, subjects: Sequence[str]) -> int:
        """Rewrite it."""
        doomed, gone = set(subjects), 0
        with path.open(encoding="utf-8") as old, replacing(path) as file:
            for text in old:
                if json.loads(text).get(SUBJECT) in doomed:
                    gone += 1
                else:
                    file.write(text)
        return gone


class Csv:
    """Comma-separated values with a head; lists are JSON."""

    def write(self, path: Path, names: Sequence[str], batches: Iterator[Batch]) -> int:
        """Write it."""
        count = 0
        with replacing(path) as file:
            writer = csv.writer(file)
            writer.writerow(names)
            for line in _lines(names, batches):
                writer.writerow([_cell(line[name]) for name in names])
                count += 1
        return count

    def erase(self, path: Path, subjects: Sequence[str]) -> int:
        """Rewrite it."""
        doomed, gone = {_cell(one) for one in subjects}, 0
        with path.open(newline="", encoding="utf-8") as old, replacing(path) as file:
            reader, writer = csv.reader(old), csv.writer(file)
            head = next(reader)
            writer.writerow(head)
            place = head.index(SUBJECT)
            for row in reader:
                if row[place] in doomed:
                    gone += 1
                else:
                    writer.writerow(row)
        return gone


def format_of(name: str) -> Format:
    """A format by its name: `jsonl`, `csv` or `parquet`.

    Raises:
        MissingExtraError: parquet without its library.
    """
    if name != "parquet":
        return Jsonl() if name == "jsonl" else Csv()
    try:
        found: Format = load("tables", "parquet_file")()
    except MissingExtraError as error:
        raise MissingExtraError("an export to parquet", "monitor", error.missing) from error
    return found


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A text file that takes the place of another when all of it is on the disk.

    Raises:
        UnavailableError: it cannot be written; nothing is changed.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}; nothing was changed") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _lines(names: Sequence[str], batches: Iterator[Batch]) -> Iterator[Mapping[str, Any]]:
    for batch in batches:
        columns = {name: batch.columns[name].tolist() for name in names if name in batch.columns}
        for line in range(batch.count):
            yield {name: _plain(columns[name][line]) if name in columns else None for name in names}


def _plain(value: Any) -> Any:
    """None for NaN, which JSON lacks."""
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN


def _cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
    return value if value is None or isinstance(value, int | float) else json.dumps(value)
