"""What was written answers as the source did; else it is not handed on."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import CrashedError
from modelworks.core.optimizing.passes import PassJob
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Signature
from modelworks.ext.passes.nearness import held
from modelworks.plugins.load import load
from modelworks.protocol.tensors import DTYPES

_ROWS: Final = 16


def write(file: Path, data: bytes) -> None:
    """Write a file.

    Raises:
        CrashedError: the disk is full, or says no.
    """
    try:
        file.write_bytes(data)
    except OSError as error:
        raise CrashedError(f"the file {file.name} cannot be written: {error.strerror}") from error


def compare(job: PassJob, signature: Signature) -> float:
    """The largest relative difference of the new form's answers.

    Args:
        job: `into` has the new form.
        signature: the model's own.

    Raises:
        CrashedError: the answers differ.
    """
    inputs = _inputs(job, signature)
    wanted = _answers("onnxruntime", job.source, signature, inputs, job.threads)
    got = _answers("litert", job.into, signature, inputs, job.threads)
    worst = 0.0
    for spec, one, other in zip(signature.outputs, wanted, got, strict=True):
        worst = max(worst, held("LiteRT", spec, one, other))
    return worst


def _inputs(job: PassJob, signature: Signature) -> dict[str, Any]:
    """Rows of the calibration, else drawn ones."""
    rows = 1 if any(spec.shape[:1] != (None,) for spec in signature.inputs) else _ROWS
    if job.calibration is not None and rows > 1:
        with np.load(job.calibration) as kept:
            return {spec.name: kept[spec.name][:rows] for spec in signature.inputs}
    chance = np.random.default_rng(job.seed)
    drawn = {}
    for spec in signature.inputs:
        shape = tuple(rows if size is None else size for size in spec.shape)
        kind = np.dtype(DTYPES[spec.datatype])
        values = chance.standard_normal(shape) if kind.kind == "f" else chance.integers(0, 2, shape)
        drawn[spec.name] = values.astype(kind)
    return drawn


def _answers(
    engine: str, folder: Path, signature: Signature, inputs: dict[str, Any], threads: int
) -> list[Any]:
    session = load("engines", engine)().load(
        folder, EngineOptions(threads=threads, signature=signature)
    )
    try:
        return [np.array(one) for one in session.infer(inputs)]
    finally:
        session.close()
