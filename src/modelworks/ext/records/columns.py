"""Columns of values: Python's as Arrow's, and Arrow's as numpy's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

_JSON: Final = {b"modelworks": b"json"}
_EXACT: Final = 2**53  # whole numbers up to here are themselves as float64


def field_of(name: str, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    """A column; values that have no type in common are written as JSON, and say so."""
    try:
        array = pa.array(values, from_pandas=False)
        if _plain(array.type):
            return pa.field(name, array.type), array
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    texts = [None if value is None else json.dumps(value, default=_listed) for value in values]
    return pa.field(name, pa.string(), metadata=_JSON), pa.array(texts, pa.string())


def table_of(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Columns of equal length as a table."""
    pairs = [field_of(name, values) for name, values in columns.items()]
    return pa.Table.from_arrays(
        [array for _, array in pairs], schema=pa.schema([f for f, _ in pairs])
    )


def values_of(table: pa.Table, name: str) -> Any:
    """A column as numpy: see `core.records.Batch`."""
    field = table.schema.field(name)
    column = table.column(name).combine_chunks()
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = field.type
    if (field.metadata or {}).get(b"modelworks") == b"json":
        return objects([None if v is None else json.loads(v) for v in column.to_pylist()])
    if pa.types.is_boolean(kind) and not column.null_count:
        return column.to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind):
        return column.to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind):
        return _whole(column)
    if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
        return column.to_numpy(zero_copy_only=False).astype(object)
    return objects(column.to_pylist())


def joined(parts: Sequence[Any]) -> Any:
    """Columns of the same name, one behind the other; numbers stay numbers."""
    if len(parts) == 1:
        return parts[0]
    kinds = {part.dtype.kind for part in parts}
    # Where a file's values are all None, its column has no type of its own.
    if kinds <= {"i", "u", "f", "O"} and len(kinds) > 1 and _only_numbers(parts):
        return np.concatenate([_floats(part) for part in parts])
    if len(kinds) == 1 or kinds <= {"i", "u", "f"}:
        return np.concatenate(parts)
    return np.concatenate([objects(part.tolist()) for part in parts])


def objects(values: Sequence[Any]) -> Any:
    """An array of objects; lists in it stay lists."""
    made = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        made[place] = value
    return made


def nothing(count: int) -> Any:
    """A column of None."""
    return np.full(count, None, dtype=object)


def _whole(column: Any) -> Any:
    if not column.null_count:
        return column.to_numpy(zero_copy_only=False)
    values = column.to_pylist()
    if all(value is None or -_EXACT <= value <= _EXACT for value in values):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return objects(values)


def _only_numbers(parts: Sequence[Any]) -> bool:
    return all(part.dtype.kind != "O" or all(v is None for v in part) for part in parts)


def _floats(part: Any) -> Any:
    return np.full(len(part), np.nan) if part.dtype.kind == "O" else part.astype(np.float64)


def _plain(kind: Any) -> bool:
    """Whether a type gives back what it was given."""
    if pa.types.is_list(kind):
        return _plain(kind.value_type)
    return not (pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_binary(kind))


def _listed(value: Any) -> Any:
    """What JSON does not know: arrays and their numbers, bytes as text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables below one another; what one of them lacks is None there."""
    names = list(dict.fromkeys(name for table in tables for name in table.column_names))
    pairs = [_below(name, tables) for name in names]
    return pa.Table.from_arrays(
        [array for _, array in pairs], schema=pa.schema([f for f, _ in pairs])
    )


def _below(name: str, tables: Sequence[pa.Table]) -> tuple[pa.Field, Any]:
    fields = [t.schema.field(name) for t in tables if name in t.column_names]
    known = [field for field in fields if not pa.types.is_null(field.type)]
    first = known[0] if known else fields[0]
    coded = any(field.metadata for field in known)
    if not coded and all(_number(field.type) for field in known) and known:
        kinds = {field.type for field in known}
        first = first if len(kinds) == 1 else pa.field(name, pa.float64())
    elif any(not field.equals(first, check_metadata=True) for field in known):
        values = [_python(table, name) for table in tables]
        return field_of(name, [value for part in values for value in part])
    chunks = [
        table.column(name).cast(first.type)
        if name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, first.type)])
        for table in tables
    ]
    return first, pa.chunked_array([c for chunk in chunks for c in chunk.chunks], first.type)


def _python(table: pa.Table, name: str) -> list[Any]:
    if name not in table.column_names:
        return [None] * table.num_rows
    if table.schema.field(name).metadata:
        return list(values_of(table, name))
    return list(table.column(name).to_pylist())


def _number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
