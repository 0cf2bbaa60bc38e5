"""Sample files (csv, json, jsonl, npy, npz, parquet) to columns, and columns to input tensors."""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec

MOST_ROWS = 100_000
MOST_BYTES = 256 << 20
MOST_UNPACKED = 1 << 30
_MISSING = {"", "nan", "na", "n/a", "null", "none"}
_BOOLEANS = {"true": True, "false": False}
_INT64 = 2**63
_LONG = 24  # digits that no whole number of 64 bits has; Python reads 4,300 of them and no more


@dataclass(frozen=True, slots=True)
class Sample:
    """Example inputs.

    Attributes:
        columns: name -> array whose first axis is the row: bool, int64, float64 (NaN = missing) or
            an object array of `str` (None = missing); more axes only where a file says so.
        named: the file gave the names; otherwise they are "0", "1", ...
    """

    columns: dict[str, Any]
    named: bool

    @property
    def rows(self) -> int:
        """How many."""
        return len(next(iter(self.columns.values()), ()))


def read(path: Path) -> Sample:
    """Read a sample file by its suffix; at most 100,000 rows of it.

    Raises:
        InvalidError: unknown suffix, malformed or too large; the line is named where there is one.
        MissingExtraError: parquet without pyarrow.
    """
    readers = {
        ".csv": _csv,
        ".json": _json,
        ".jsonl": _jsonl,
        ".npy": _npy,
        ".npz": _npz,
        ".parquet": _parquet,
        ".pq": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise _wrong(path, "a sample is a .csv, .json, .jsonl, .npy, .npz or .parquet file")
    if not path.is_file():
        raise _wrong(path, "no such file")
    size = path.stat().st_size
    if not 0 < size <= MOST_BYTES:
        raise _wrong(path, "empty file" if size == 0 else f"{size} bytes, {MOST_BYTES} are allowed")
    sample = reader(path)
    if not sample.columns or sample.rows == 0:
        raise _wrong(path, "no rows")
    if len({len(column) for column in sample.columns.values()}) > 1:
        raise _wrong(path, "its arrays have different numbers of rows")
    return sample


def tensors(sample: Sample, signature: Signature) -> dict[str, Any]:
    """The rows as input tensors, numbers as float64 where the signature has floats.

    Raises:
        InvalidError: a column is missing, or does not fit its input.
    """
    if signature.layout is Layout.MATRIX:
        spec = signature.inputs[0]
        return {spec.name: _matrix(sample, spec, signature.features)}
    if len(signature.inputs) == 1 and len(sample.columns) == 1 and not sample.named:
        (column,) = sample.columns.values()
        return {signature.inputs[0].name: _cast(column, signature.inputs[0], "sample")}
    columns = {}
    for spec in signature.inputs:
        column = _cast(_column(sample, spec.name), spec, spec.name)
        columns[spec.name] = _shaped(column, spec)
    return columns


def _matrix(sample: Sample, spec: TensorSpec, features: tuple[str, ...]) -> Any:
    width = spec.shape[1] if len(spec.shape) == 2 else None
    if len(sample.columns) == 1:
        (only,) = sample.columns.values()
        if np.ndim(only) == 2 and only.shape[1] == width:
            return _cast(only, spec, "sample")
    if features and sample.named:
        chosen = [_column(sample, name) for name in features]
    elif width is None or len(sample.columns) == width:
        chosen = list(sample.columns.values())
    else:
        raise InvalidError(
            f"the sample has {len(sample.columns)} columns and the model takes {width}",
            field="sample",
        )
    names = features or tuple(sample.columns)
    pairs = zip(names, chosen, strict=True)
    return np.stack([_cast(column, spec, name) for name, column in pairs], axis=1)


def _column(sample: Sample, name: str) -> Any:
    if name not in sample.columns:
        has = ", ".join(list(sample.columns)[:8])
        raise InvalidError(f"the sample has no column '{name}' (it has {has})", field="sample")
    return sample.columns[name]


def _cast(column: Any, spec: TensorSpec, name: str) -> Any:
    """A column in the datatype of its input; floats stay float64."""
    if spec.datatype is Datatype.BYTES:
        flat = np.empty(column.size, dtype=object)
        flat[:] = [_text(value).encode() for value in column.ravel().tolist()]
        return flat.reshape(column.shape)
    if column.dtype == object:
        told = (value for value in column.ravel().tolist() if value is not None)
        bad = next((value for value in told if value.strip().lower() not in _MISSING), None)
        if bad is None:  # nothing is known: of what type it would be neither
            return _cast(np.full(column.shape, math.nan), spec, name)
        raise InvalidError(
            f"column '{name}' of the sample holds text ('{bad}') where the model takes numbers",
            field="sample",
        )
    if spec.datatype in {Datatype.FP16, Datatype.FP32, Datatype.FP64}:
        return column.astype(np.float64)
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        raise InvalidError(
            f"column '{name}' of the sample has missing values; the model takes {spec.datatype}",
            field="sample",
        )
    return column.astype(bool if spec.datatype is Datatype.BOOL else np.int64)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)


def _shaped(column: Any, spec: TensorSpec) -> Any:
    """A plain column under an input of `[rows, 1]`."""
    return column[:, None] if column.ndim == 1 and len(spec.shape) == 2 else column


def _csv(path: Path) -> Sample:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _table(path, _csv_rows(path, csv.reader(file, strict=True)))
    except UnicodeDecodeError as error:
        raise _wrong(path, f"no UTF-8 text (byte {error.start})") from error


def _csv_rows(path: Path, reader: Any) -> Iterator[list[str]]:
    width = None
    for _ in range(MOST_ROWS + 1):
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _wrong(path, f"line {reader.line_num}: {error}") from error
        if row is None:
            return
        width = width or len(row)
        if row and len(row) != width:
            raise _wrong(
                path, f"line {reader.line_num}: {len(row)} values where the first has {width}"
            )
        if row:
            yield row


def _table(path: Path, rows: Iterable[list[str]]) -> Sample:
    lines = list(rows)
    if not lines:
        raise _wrong(path, "no rows")
    counted = [str(i) for i in range(len(lines[0]))]  # what a frame without names is written with
    named = not all(_number(cell) is not None for cell in lines[0])
    names = lines.pop(0) if named or lines[0] == counted else counted
    _unique(path, names)
    values = zip(*lines, strict=True) if lines else iter(())
    return Sample(dict(zip(names, (_typed(list(v)) for v in values), strict=bool(lines))), named)


def _unique(path: Path, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _wrong(path, f"two columns are called '{twice}'")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _typed(cells: list[str]) -> Any:
    """A column of texts as booleans, integers or floats where every cell is one."""
    known = [cell.strip().lower() for cell in cells]
    if all(cell in _BOOLEANS for cell in known):
        return np.array([_BOOLEANS[cell] for cell in known])
    numbers = [math.nan if cell in _MISSING else _number(cell) for cell in known]
    if all(number is not None for number in numbers) and set(known) - _MISSING:
        whole = all(cell.lstrip("+-").isdecimal() and len(cell) < _LONG for cell in known)
        if whole and all(abs(int(cell)) < _INT64 for cell in known):
            return np.array([int(cell) for cell in known], np.int64)
        return np.array(numbers, np.float64)
    return _objects([cell or None for cell in cells])


def _objects(values: list[Any]) -> Any:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _json(path: Path) -> Sample:
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _wrong(path, f"no JSON: {str(error)[:120]}") from error
    return _json_rows(path, data)


def _jsonl(path: Path) -> Sample:
    """A row a line."""
    rows: list[Any] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip() and len(rows) < MOST_ROWS:
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _wrong(path, f"line {number}: no JSON: {str(error)[:120]}") from error
    return _json_rows(path, rows)


def _json_rows(path: Path, data: Any) -> Sample:
    if isinstance(data, dict) and "rows" in data:
        data = data["rows"]
    if isinstance(data, dict):
        return Sample({str(k): _values(path, v, str(k)) for k, v in data.items()}, named=True)
    if not isinstance(data, list) or not data:
        raise _wrong(path, "a list of rows is wanted")
    rows = data[:MOST_ROWS]
    if all(isinstance(row, dict) for row in rows):
        return _records(path, rows)
    if all(isinstance(row, list) for row in rows):
        return _lists(path, rows)
    return Sample({"0": _values(path, rows, "0")}, named=False)


def _records(path: Path, rows: list[dict[str, Any]]) -> Sample:
    names = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(names):
            raise _wrong(path, f"row {number} has other names than row 0")
    return Sample({n: _values(path, [row[n] for row in rows], n) for n in names}, named=True)


def _lists(path: Path, rows: list[list[Any]]) -> Sample:
    if len({len(row) for row in rows}) > 1:
        raise _wrong(path, "rows of different lengths")
    if any(isinstance(cell, list) for cell in rows[0]):
        return Sample({"0": _values(path, rows, "0")}, named=False)
    columns = zip(*rows, strict=True)
    return Sample(
        {str(i): _values(path, list(v), str(i)) for i, v in enumerate(columns)}, named=False
    )


def _values(path: Path, values: Any, name: str) -> Any:
    """JSON values as a column: null is NaN among numbers."""
    if not isinstance(values, list):
        raise _wrong(path, f"'{name}' is no list")
    kinds = {type(value) for value in values} - {type(None)}
    try:
        if kinds and kinds <= {bool} and None not in values:
            return np.array(values, bool)
        if kinds and kinds <= {int, float}:
            if kinds == {int} and None not in values:
                return np.array(values, np.int64)
            return np.array([math.nan if v is None else v for v in values], np.float64)
        if kinds == {list} and np.array(values).dtype.kind in "biuf":
            return np.array(values)
    except (ValueError, OverflowError) as error:
        raise _wrong(path, f"'{name}': {error}") from error
    if kinds <= {str}:
        return _objects(values)
    raise _wrong(path, f"'{name}' mixes {', '.join(sorted(kind.__name__ for kind in kinds))}")


def _npy(path: Path) -> Sample:
    array = _numpy(path)
    if isinstance(array, dict):
        raise _wrong(path, "an archive of arrays, which is called .npz")
    if array.ndim == 2 and array.dtype.names is None:
        columns = {str(i): _column_of(path, array[:, i], str(i)) for i in range(array.shape[1])}
        return Sample(columns, named=False)
    if array.dtype.names is not None:
        names = array.dtype.names
        return Sample({n: _column_of(path, array[n], n) for n in names}, named=True)
    return Sample({"0": _column_of(path, array, "0")}, named=False)


def _npz(path: Path) -> Sample:
    arrays = _numpy(path)
    if not isinstance(arrays, dict):
        raise _wrong(path, "one array, which is called .npy")
    return Sample({name: _column_of(path, a, name) for name, a in arrays.items()}, named=True)


def _numpy(path: Path) -> Any:
    """An array, or a dictionary of arrays; never unpickled."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if hasattr(loaded, "files"):
                _small(path, loaded.zip.infolist())
            return {n: loaded[n] for n in loaded.files} if hasattr(loaded, "files") else loaded
    except (MemoryError, InvalidError):
        raise
    except Exception as error:  # numpy raises whatever zipfile, ast and struct do
        raise _wrong(path, f"not readable without pickle: {str(error)[:120]}") from error


def _small(path: Path, members: Iterable[Any]) -> None:
    """Refuse an archive whose arrays take much more than its own bytes."""
    size = sum(one.file_size for one in members)
    if size > MOST_UNPACKED:
        raise _wrong(path, f"its arrays take {size} bytes, {MOST_UNPACKED} are allowed")


def _column_of(path: Path, array: Any, name: str) -> Any:
    array = np.atleast_1d(array)[:MOST_ROWS]
    if array.dtype.kind in "US":
        texts = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        return texts.astype(object)
    if array.dtype.kind not in "biuf":
        raise _wrong(path, f"'{name}' holds {array.dtype}, which is no number and no text")
    kind = {"b": np.bool_, "f": np.float64}.get(array.dtype.kind, np.int64)
    return array.astype(kind)


def _parquet(path: Path) -> Sample:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra of its own, for parquet alone
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise MissingExtraError("a parquet sample", "parquet", "pyarrow") from error
    try:
        pa.set_cpu_count(1)
        file = parquet.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=MOST_ROWS), None)
    except (pa.ArrowException, OSError) as error:
        raise _wrong(path, f"no parquet: {str(error)[:120]}") from error
    if batch is None:
        raise _wrong(path, "no rows")
    _unique(path, list(batch.schema.names))
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        columns[name] = _arrow(path, name, column, pa.types)
    return Sample(columns, named=True)


def _arrow(path: Path, name: str, column: Any, types: Any) -> Any:
    kind = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    values = column.to_pylist()
    if types.is_string(kind) or types.is_large_string(kind):
        return _objects(values)
    if types.is_boolean(kind) and column.null_count == 0:
        return np.array(values, bool)
    if types.is_integer(kind) and column.null_count == 0:
        return np.array(values, np.int64)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return np.array([math.nan if v is None else v for v in values], np.float64)
    raise _wrong(path, f"column '{name}' is of type {kind}; numbers and texts are understood")


def _wrong(path: Path, what: str) -> InvalidError:
    return InvalidError(f"{path.name}: {what}", field="sample")
