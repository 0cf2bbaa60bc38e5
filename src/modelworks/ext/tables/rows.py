"""Rows of a file as columns, and columns as a model's input tensors, as `--sample` reads them."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelworks.core.tensor import Layout, Signature
from modelworks.ext.importers import samples
from modelworks.ext.importers.samples import Sample


class RowFile:
    """One file of rows.

    Args:
        path: csv, json, jsonl, npy, npz or parquet.

    Attributes:
        columns: name -> array whose first axis is the row; see `ext.importers.samples.Sample`.

    Raises:
        InvalidError: it cannot be understood; the line is named where there is one.
        MissingExtraError: parquet without pyarrow.
    """

    def __init__(self, path: Path) -> None:
        self._sample = samples.read(path)
        self.columns: dict[str, Any] = self._sample.columns

    def tensors(
        self, signature: Signature, truth: str = "", others: Collection[str] = ()
    ) -> dict[str, Any]:
        """The rows as input tensors; floats as float64, BYTES as object arrays of bytes.

        Args:
            signature: of what callers send.
            truth: the column that is no input, where it has not the name of one.
            others: columns that only say what a row belongs to: left out where a model whose
                features have no names would have too many.

        Raises:
            InvalidError: a column is missing, or does not fit its input.
        """
        inputs = {spec.name for spec in signature.inputs}
        kept = {n: c for n, c in self.columns.items() if n != truth or n in inputs}
        spec = signature.inputs[0]
        if len(inputs) > 1 or spec.name in kept or signature.layout is Layout.COLUMNS:
            return samples.tensors(Sample(kept, self._sample.named), signature)
        whole = [name for name, column in kept.items() if column.ndim > 1 and name not in others]
        if len(whole) == 1:
            kept = {whole[0]: kept[whole[0]]}
        elif not signature.features:
            width = spec.shape[1] if len(spec.shape) == 2 else 1
            if width is not None and len(kept) > width:
                kept = {n: c for n, c in kept.items() if n not in others}
            if len(kept) > 1:  # a column a feature, of a model that has no names for them
                signature = replace(signature, layout=Layout.MATRIX)
        named = self._sample.named and len(kept) > 1
        return samples.tensors(Sample(kept, named), signature)
