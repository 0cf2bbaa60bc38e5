"""What can be proved on this machine: a CPU answers as ONNX Runtime does, at several sizes."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from modelworks.core.errors import CrashedError
from modelworks.core.optimizing.passes import PassJob
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Signature, TensorSpec
from modelworks.plugins.load import load
from modelworks.protocol.tensors import DTYPES

_SIZES: Final = ((1, 5), (7, 8))  # rows, and the length of every other free axis
_NEAR: Final = 1e-3  # of the largest value of an output; what is seen is about 1e-6
_SAME: Final = 0.9  # share of equal whole numbers: ties of scores may fall either way

Answers = Callable[[Sequence[Any]], list[Any]]


def compared(job: PassJob, signature: Signature, answers: Answers) -> float:
    """The largest difference from ONNX Runtime, relative to the largest value of the output.

    Args:
        job: `source` has the graph.
        signature: its own.
        answers: asked with arrays in the order of the inputs.

    Raises:
        CrashedError: the answers differ.
    """
    engine = load("engines", "onnxruntime")()
    options = EngineOptions(threads=job.threads, signature=signature)
    session = engine.load(job.source, options)
    worst = 0.0
    try:
        for rows, length in _SIZES:
            inputs = _inputs(job, signature.inputs, rows, length)
            wanted = [np.array(one) for one in session.infer(inputs)]
            got = answers([inputs[spec.name] for spec in signature.inputs])
            for spec, one, other in zip(signature.outputs, wanted, got, strict=True):
                worst = max(worst, _judged(spec, one, other))
    finally:
        session.close()
    return worst


def _judged(spec: TensorSpec, one: Any, other: Any) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        raise CrashedError(
            f"output '{spec.name}' of the JAX form is {other.dtype}{list(other.shape)}, not "
            f"{one.dtype}{list(one.shape)}"
        )
    apart = _apart(one, other)
    if not apart <= (_NEAR if one.dtype.kind == "f" else 1 - _SAME):
        raise CrashedError(
            f"output '{spec.name}' of the JAX form is {apart:.2g} away from the source's"
        )
    return apart if one.dtype.kind == "f" else 0.0


def _apart(one: Any, other: Any) -> float:
    if one.dtype.kind != "f":
        return float(np.mean(one != other)) if one.size else 0.0
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return float("inf")
    wide, got = one[finite].astype(np.float64), other[finite].astype(np.float64)
    return float(np.abs(wide - got).max(initial=0.0)) / float(np.abs(wide).max(initial=1e-6))


def _inputs(job: PassJob, specs: Sequence[TensorSpec], rows: int, length: int) -> dict[str, Any]:
    """Rows of the calibration where there are so many, else drawn ones; lengths as they come."""
    free = all(spec.shape[:1] == (None,) for spec in specs)
    if job.calibration is not None and free:
        with np.load(job.calibration) as held:
            return {spec.name: held[spec.name][:rows] for spec in specs}
    chance = np.random.default_rng(job.seed)
    drawn = {}
    for spec in specs:
        shape = tuple(
            size if size is not None else rows if axis == 0 else length
            for axis, size in enumerate(spec.shape)
        )
        kind = DTYPES[spec.datatype]
        values = chance.standard_normal(shape) if kind.kind == "f" else chance.integers(0, 2, shape)
        drawn[spec.name] = values.astype(kind)
    return drawn
