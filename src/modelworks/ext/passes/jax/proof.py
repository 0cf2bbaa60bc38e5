"""What can be proved on this machine: a CPU answers as ONNX Runtime does, at several sizes."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from modelworks.core.optimizing.passes import PassJob
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Signature, TensorSpec
from modelworks.ext.passes.nearness import held
from modelworks.plugins.load import load
from modelworks.protocol.tensors import DTYPES

_SIZES: Final = ((1, 5), (7, 8))  # rows, and the length of every other free axis

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
                worst = max(worst, held("JAX", spec, one, other))
    finally:
        session.close()
    return worst


def _inputs(job: PassJob, specs: Sequence[TensorSpec], rows: int, length: int) -> dict[str, Any]:
    """Rows of the calibration where there are so many, else drawn ones; lengths as they come."""
    free = all(spec.shape[:1] == (None,) for spec in specs)
    if job.calibration is not None and free:
        with np.load(job.calibration) as kept:
            return {spec.name: kept[spec.name][:rows] for spec in specs}
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
