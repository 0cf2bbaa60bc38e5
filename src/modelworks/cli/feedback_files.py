"""Tables of feedback as files: csv, JSON a line, parquet; ids and keys stay the texts they are."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelworks.cli.tables import read_table
from modelworks.control.records.intake import Told
from modelworks.core.errors import InvalidError, NotFoundError

_TRUTHS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column says what; empty = none does.

    Attributes:
        model: whose predictions: a name, no column.
        prediction: ids of requests.
        key: business keys.
        item: of requests.
        truth: what should have been answered.
        outcomes: numbers and truth values, named as their columns.
        at: when it became known: ISO 8601, or seconds since 1970.
    """

    model: str
    prediction: str
    key: str
    item: str
    truth: str
    outcomes: tuple[str, ...]
    at: str

    @property
    def names(self) -> list[str]:
        """All columns that must be there."""
        plain = (self.prediction, self.key, self.item, self.truth, self.at)
        return [name for name in (*plain, *self.outcomes) if name]


def read(path: Path, columns: Columns) -> Iterator[Told]:
    """The lines of a file that tell something.

    Raises:
        NotFoundError: no such file.
        InvalidError: unknown suffix, malformed, a column is missing or a value cannot be.
        MissingExtraError: parquet without pyarrow.
    """
    readers: dict[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
        ".csv": _csv,
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
        ".parquet": _parquet,
        ".pq": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidError(f"{path}: a .csv, .jsonl or .parquet file is wanted", field="FILE")
    if not path.is_file():
        raise NotFoundError(f"no file {path}", field="FILE")
    return _lines(path, reader(path), columns)


def _lines(path: Path, rows: Iterator[Mapping[str, Any]], columns: Columns) -> Iterator[Told]:
    number = 0
    try:
        for number, row in enumerate(rows, 1):  # noqa: B007 - errors say it
            told = _told(row, columns)
            if told is not None:
                yield told
    except KeyError as error:
        raise InvalidError(
            f"{path}, row {number}: there is no column {error}", field="FILE"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InvalidError(f"{path}, row {number}: {error}", field="FILE") from error


def _told(row: Mapping[str, Any], columns: Columns) -> Told | None:
    for name in columns.names:
        row[name]  # a column that is missing is told even where nothing else is
    truth = _value(row[columns.truth]) if columns.truth else None
    named = {name: _number(name, _value(row[name])) for name in columns.outcomes}
    outcomes = {name: value for name, value in named.items() if value is not None}
    if truth is None and not outcomes:
        return None
    return Told(
        columns.model,
        prediction=_text(row[columns.prediction]) if columns.prediction else "",
        key=_text(row[columns.key]) if columns.key else "",
        item=int(row[columns.item]) if columns.item else 0,
        truth=truth,
        outcomes=outcomes,
        at=_moment(row[columns.at]) if columns.at else "",
    )


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file, strict=True):
            if None in row or None in row.values():
                raise ValueError("its cells do not fit the head")
            yield row


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for text in file:
            if text.strip():
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise ValueError("a JSON object is wanted in each line")
                yield row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    columns = {name: values.tolist() for name, values in read_table(path, "FILE").items()}
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def _value(value: Any) -> Any:
    """A cell: of a csv file a number, truth value or list where it looks like one; None = empty."""
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return None
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    if text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    for read in (int, float, _list):
        with suppress(ValueError):
            return read(text)
    return text


def _list(text: str) -> Any:
    """Several labels: `[1, 0, 1]`."""
    if not text.startswith("["):
        raise ValueError(text)
    return json.loads(text)


def _number(name: str, value: Any) -> float | bool | None:
    if value is None or isinstance(value, int | float):
        return value
    raise ValueError(f"{name}: {value!r} is no number")


def _text(value: Any) -> str:
    """An id or a key as it was written."""
    return "" if value is None else str(value)


def _moment(value: Any) -> str:
    """A time as ISO 8601; a number is seconds since 1970."""
    from datetime import UTC, datetime

    found = _value(value)
    if found is None:
        return ""
    if isinstance(found, int | float):
        seconds = found / 1e9 if found > 1e14 else found  # parquet's timestamps are nanoseconds
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    return str(found)
