"""Parquet files that records are exported to."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from modelworks.core.errors import CorruptError, UnavailableError
from modelworks.core.records import Batch
from modelworks.ext.records.columns import concatenated, table_of


class ParquetFile:
    """One Parquet file; see `control.records.formats.Format`."""

    def write(self, path: Path, names: Sequence[str], batches: Iterator[Batch]) -> int:
        """Write it; what is exported has to fit into memory."""
        tables = [
            table_of({n: _plain(b.columns[n].tolist()) for n in names if n in b.columns})
            for b in batches
        ]
        table = concatenated(tables) if tables else table_of({name: [] for name in names})
        _replace(path, table)
        return int(table.num_rows)

    def erase(self, path: Path, subjects: Sequence[str]) -> int:
        """Rewrite it.

        Raises:
            CorruptError: it is no Parquet file any more.
        """
        try:
            table = parquet.ParquetFile(path).read()
        except pa.ArrowException as error:
            raise CorruptError(f"{path} is damaged: delete it by hand") from error
        mask = pc.is_in(table["subject"], pa.array(subjects, pa.string()))
        kept = table.filter(pc.invert(mask))
        if kept.num_rows < table.num_rows:
            _replace(path, kept)
        return int(table.num_rows - kept.num_rows)


def _plain(values: list[Any]) -> list[Any]:
    """None for NaN."""
    return [None if isinstance(v, float) and v != v else v for v in values]  # noqa: PLR0124 - NaN


def _replace(path: Path, table: pa.Table) -> None:
    handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}", delete=False)  # noqa: SIM115 - renamed
    try:
        with handle:
            parquet.write_table(table, handle, compression="zstd")
        Path(handle.name).replace(path)
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}; nothing was changed") from error
    finally:
        Path(handle.name).unlink(missing_ok=True)
