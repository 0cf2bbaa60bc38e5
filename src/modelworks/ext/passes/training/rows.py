"""Calibration rows as arrays, and the split into those that teach and those that judge."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.passes import PassJob
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.protocol.tensors import DTYPES

LEAST: Final = 32
"""Rows below which nothing is trained: what is learned of fewer says nothing of others."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs of a model, row by row.

    Attributes:
        inputs: name -> array, first axis the row.
        labels: one a row; None = nobody told the truth.
        count: of rows.
    """

    inputs: dict[str, Array]
    labels: Array | None
    count: int

    def take(self, which: Array) -> "Rows":
        """Some of them, in that order."""
        labels = None if self.labels is None else self.labels[which]
        return Rows({k: v[which] for k, v in self.inputs.items()}, labels, len(which))


def read_rows(job: PassJob, name: str, least: int = LEAST) -> Rows:
    """The job's calibration rows.

    Args:
        job: with the files.
        name: of the pass, for messages.
        least: number of rows that do.

    Raises:
        InvalidError: there are none, too few, or they are not of the model's inputs; `field` says
            which.
    """
    if job.calibration is None:
        raise InvalidError(f"{name} needs calibration rows", field="calibration")
    found = _arrays(job.calibration)
    wanted = own_signature(job.source, job.signature).inputs
    for spec in wanted:
        if spec.name not in found:
            raise InvalidError(
                f"the calibration rows have no input '{spec.name}'", field="calibration"
            )
        array = found[spec.name]
        fits = array.ndim == len(spec.shape) and all(
            size is None or size == length
            for size, length in zip(spec.shape[1:], array.shape[1:], strict=False)
        )
        if array.dtype != DTYPES[spec.datatype] or not fits:
            raise InvalidError(
                f"calibration rows of '{spec.name}' are {array.dtype} {list(array.shape)}; the "
                f"model takes {spec.datatype} {['any' if n is None else n for n in spec.shape]}",
                field="calibration",
            )
    inputs = {spec.name: found[spec.name] for spec in wanted}
    count = len(next(iter(inputs.values())))
    if any(len(array) != count for array in inputs.values()):
        raise InvalidError("the calibration inputs differ in rows", field="calibration")
    if count < least:
        raise InvalidError(
            f"{name} needs at least {least} calibration rows; there are {count}",
            field="calibration",
        )
    return Rows(inputs, _labels(job.labels, count), count)


def split(count: int, share: float, seed: int) -> tuple[Array, Array]:
    """Numbers of rows, drawn: (1 - share) of them to learn from, the rest to judge by."""
    order = np.random.default_rng(seed).permutation(count)
    held = max(1, round(count * share))
    return np.sort(order[held:]), np.sort(order[:held])


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise InvalidError(
            f"{path.name} is no npz file of calibration rows: {error}", field="calibration"
        ) from error


def _labels(path: Path | None, count: int) -> Array | None:
    if path is None:
        return None
    try:
        labels: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidError(f"{path.name} is no npy file of labels: {error}", field="labels") from (
            error
        )
    if labels.shape[:1] != (count,) or labels.size != count:
        raise InvalidError(
            f"labels of shape {list(labels.shape)} do not fit {count} calibration rows",
            field="labels",
        )
    return labels.reshape(count)
