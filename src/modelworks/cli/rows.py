"""Rows as users write them: JSON, a file, standard input, csv."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from modelworks.core.errors import InvalidError, NotFoundError

LARGEST = 256 * 1024 * 1024


def read_rows(text: str) -> list[Any]:
    """Rows from JSON, `@file` or `-`: a list, one row, or `{"rows": [...]}`.

    Raises:
        NotFoundError: no such file.
        InvalidError: no JSON, or no rows.
    """
    if text == "-":
        text = _bounded(sys.stdin.buffer, "standard input", "rows")
    elif text.startswith("@"):
        text = read_text(Path(text[1:]), "rows")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"rows are no JSON: {error}", field="rows") from error
    if isinstance(data, dict):
        data = data["rows"] if set(data) == {"rows"} else [data]
    if not isinstance(data, list) or not data:
        raise InvalidError("rows: a list with at least one row is wanted", field="rows")
    return data if isinstance(data[0], dict | list) else [data]


def read_csv(path: Path, text: set[str]) -> list[dict[str, Any]]:
    """Rows of a csv file with a head; an empty cell is missing, a number is a number.

    Args:
        path: the file, UTF-8.
        text: columns that stay text even where they look like numbers.

    Raises:
        NotFoundError: no such file.
        InvalidError: no head, or a row longer or shorter than it.
    """
    lines = _cells(path)
    head = next(lines, (0, None))[1]
    if not head or len(set(head)) != len(head):
        raise InvalidError(f"{path}: a head with distinct column names is wanted", field="csv")
    rows = []
    for number, cells in lines:
        if not cells:
            continue
        if len(cells) != len(head):
            raise InvalidError(
                f"{path}, line {number}: {len(cells)} cells, the head has {len(head)}",
                field="csv",
            )
        pairs = zip(head, cells, strict=True)
        rows.append({key: _cell(cell, key in text) for key, cell in pairs})
    if not rows:
        raise InvalidError(f"{path}: no rows below the head", field="csv")
    return rows


def _cell(cell: str, text: bool) -> str | int | float | None:
    if text:
        return cell
    if not cell.strip():
        return None
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(cell.strip().lower(), cell)


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells."""
    reader = csv.reader(io.StringIO(read_text(path, "csv").removeprefix("\ufeff")))
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise InvalidError(
            f"{path}, line {reader.line_num}: no csv: {error}", field="csv"
        ) from error


def read_text(path: Path, field: str) -> str:
    """A file, or a pipe, of at most 256 MB.

    Raises:
        NotFoundError: no such file.
        InvalidError: it cannot be read, is too large, or no UTF-8.
    """
    try:
        with path.open("rb") as file:
            return _bounded(file, str(path), field)
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {path}", field=field) from error
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}", field=field) from error


def _bounded(file: BinaryIO, where: str, field: str) -> str:
    """All of a file, a pipe or a device, which need not say how long it is, as text."""
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InvalidError(f"{where} is over 256 MB: send it in pieces", field=field)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidError(f"{where} is no UTF-8 text: {error}", field=field) from error
