"""Tables of predictions or features as files: csv, npz, parquet, as columns of numpy."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.plugins.load import load

LARGEST: Final = 2 << 30
_MISSING: Final = frozenset({"", "nan", "na", "n/a", "null", "none"})
_TRUTHS: Final = {"true": True, "false": False}


def read_table(path: Path, field: str) -> dict[str, Any]:
    """A file's columns by name, by its suffix.

    Args:
        path: .csv (with a head, UTF-8), .npz (an array a column) or .parquet.
        field: the option that named it, for errors.

    Returns:
        Name -> array whose first axis is the row: bool, int64, float64 (NaN = missing), an object
        array of texts (None = missing), or from npz and parquet more axes or lists.

    Raises:
        NotFoundError: no such file.
        InvalidError: unknown suffix, malformed, too large or without rows.
        MissingExtraError: parquet without pyarrow.
    """
    readers = {".csv": _csv, ".npz": _npz, ".parquet": _parquet, ".pq": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidError(f"{path}: a .csv, .npz or .parquet file is wanted", field=field)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NotFoundError(f"no file {path}", field=field) from error
    if size > LARGEST:
        raise InvalidError(f"{path} is over 2 GiB: give it in pieces", field=field)
    try:
        columns = reader(path)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error}", field=field) from error
    except InvalidError as error:
        raise InvalidError(f"{path}{error.message}", field=field) from error
    counts = {len(column) for column in columns.values()}
    if not columns or counts == {0}:
        raise InvalidError(f"{path}: no rows", field=field)
    if len(counts) > 1:
        raise InvalidError(f"{path}: its columns have different numbers of rows", field=field)
    return columns


def column_of(cells: Sequence[str]) -> Any:
    """Texts as numbers where all of them are, as truth values where all of them are."""
    lowered = [cell.strip().lower() for cell in cells]
    missing = [cell in _MISSING for cell in lowered]
    present = [cell for cell, gone in zip(lowered, missing, strict=True) if not gone]
    if present and all(cell in _TRUTHS for cell in present) and not any(missing):
        return np.array([_TRUTHS[cell] for cell in lowered])
    try:
        numbers = np.array(
            ["nan" if gone else cell for cell, gone in zip(lowered, missing, strict=True)],
            np.float64,
        )
    except ValueError:
        texts = np.empty(len(cells), object)
        texts[:] = [cell or None for cell in cells]
        return texts
    if not any(missing) and not any(set(cell) & set(".einf") for cell in present):
        try:
            return np.array(present, np.int64)
        except (OverflowError, ValueError):
            return numbers
    return numbers


def _csv(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError(f" is no UTF-8 text: {error}") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    head = next(reader, None)
    if not head or len(set(head)) != len(head):
        raise InvalidError(": a head with distinct column names is wanted")
    rows = []
    try:
        for cells in reader:
            if len(cells) == len(head):
                rows.append(cells)
            elif cells:
                line = reader.line_num
                raise InvalidError(f", line {line}: {len(cells)} cells, the head has {len(head)}")
    except csv.Error as error:
        raise InvalidError(f", line {reader.line_num}: no csv: {error}") from error
    columns = list(zip(*rows, strict=True)) or [()] * len(head)
    return {name: column_of(cells) for name, cells in zip(head, columns, strict=True)}


def _npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (MemoryError, OSError):
        raise
    except Exception as error:  # numpy raises whatever zipfile, ast and struct do
        raise InvalidError(f": not readable without pickle: {str(error)[:120]}") from error
    return {name: _plain(array) for name, array in found.items()}


def _plain(array: Any) -> Any:
    array = np.atleast_1d(array)
    if array.dtype.kind in "US":
        return (np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array).astype(object)
    kinds = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
    if array.dtype.kind not in kinds:
        raise InvalidError(f": {array.dtype} is no number and no text")
    return array.astype(kinds[array.dtype.kind])


def _parquet(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load("tables", "parquet")(path)
    return found
