"""Parquet files as columns of numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from modelworks.core.errors import InvalidError


def read(path: Path) -> dict[str, Any]:
    """Every column by name; see `cli.tables.read_table`.

    Raises:
        InvalidError: it is no parquet file.
    """
    try:
        table = parquet.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise InvalidError(f": no parquet: {str(error)[:120]}") from error
    return {
        name: _column(column.combine_chunks(), column.type)
        for name, column in zip(table.schema.names, table.columns, strict=True)
    }


def _column(column: Any, kind: Any) -> Any:
    types = pa.types
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_timestamp(kind):
        column, kind = column.cast(pa.timestamp("ns")).cast(pa.int64()), pa.int64()
    whole = column.null_count == 0
    if types.is_boolean(kind) and whole:
        return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)
    if types.is_integer(kind) and whole:
        return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.int64)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    values = np.empty(len(column), object)
    values[:] = column.to_pylist()
    return values
