"""Calibration rows for NNCF: one call each, and no more of them in memory than are used."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.passes import PassJob
from modelworks.core.tensor import TensorSpec
from modelworks.ext.formats.npz_rows import NpzRows
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.protocol.tensors import DTYPES

_MOST_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True)
class Calls:
    """Inputs of so many calls of one row each; can be gone through again and again.

    Attributes:
        inputs: of each.
        places: of the rows among all rows of the file.
    """

    inputs: tuple[dict[str, Any], ...]
    places: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.inputs)


def read_calls(job: PassJob, most: int) -> Calls:
    """Some rows of a calibration file, evenly spread over it.

    The same file gives the same rows. Of large rows there are fewer: 512 MiB of them at most.

    Args:
        job: with the file.
        most: rows.

    Raises:
        InvalidError: there is none, or its arrays are not what the model takes.
    """
    if job.calibration is None:
        raise InvalidError("calibration rows are needed, and none were given", field="calibration")
    specs = own_signature(job.source, job.signature).inputs
    rows = NpzRows(job.calibration, [spec.name for spec in specs])
    first = rows.first(1)
    for spec in specs:
        _check(spec, first[spec.name])
    each = sum(array.nbytes for array in first.values())
    kept = max(1, min(rows.count, most, _MOST_BYTES // max(each, 1)))
    places = np.linspace(0, rows.count - 1, kept).round().astype(np.int64).tolist()
    wanted = set(places)
    calls = [row for place, row in enumerate(rows.batches(1)) if place in wanted]
    return Calls(tuple(calls), tuple(places))


def _check(spec: TensorSpec, row: Any) -> None:
    fits = row.ndim == len(spec.shape) and all(
        size is None or size == length
        for size, length in zip(spec.shape[1:], row.shape[1:], strict=False)
    )
    if not fits or row.dtype != DTYPES[spec.datatype]:
        raise InvalidError(
            f"calibration rows of '{spec.name}' are {row.dtype} {list(row.shape[1:])}; the model "
            f"takes {spec.datatype} {['any' if n is None else n for n in spec.shape[1:]]}",
            field="calibration",
        )
