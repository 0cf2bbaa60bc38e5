"""Holds a converted network against its source: in many shapes, and on missing values."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from modelworks.core.errors import InvalidError
from modelworks.core.model import Verdict
from modelworks.core.seams import Engine, EngineOptions, Session
from modelworks.core.tensor import Signature, TensorSpec
from modelworks.evaluation.parity import Group, compare, tolerance_for
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch import call
from modelworks.ext.importers.torch.shapes import Shapes, missing
from modelworks.ext.importers.torch.source import Source
from modelworks.plugins import load as plugins

TOLERANCE: Final = (1e-4, 1e-3)
"""Absolute, relative: sums of thousands of float32 in another order."""
_LONGEST = 140


@dataclass(frozen=True, slots=True)
class Told:
    """What the source says of some inputs."""

    shape: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Asked:
    """The source's answers, asked once for all conversions.

    Args:
        source: the network.
        shapes: what to ask it.
        outputs: it gives.
    """

    def __init__(self, source: Source, shapes: Shapes, outputs: tuple[TensorSpec, ...]) -> None:
        self._source, self._shapes = source, shapes
        self.inputs = shapes.inputs
        self.outputs = outputs
        self.told: list[Told] = []  # the first is of what exporters are shown
        self.refused: list[str] = []  # shapes that the source does not take itself
        for tensors in shapes.every():
            shape = shapes.said(tensors)
            try:
                self.told.append(self._tell(tensors, shape))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the network's own code raises
                self.refused.append(f"{shape} ({reason(error, 80)})")

    def _tell(self, tensors: Sequence[torch.Tensor], shape: str) -> Told:
        given = {s.name: call.array(t) for s, t in zip(self.inputs, tensors, strict=True)}
        found = call.run(self._source, tensors)
        return Told(shape, given, {name: call.array(tensor) for name, tensor in found.items()})

    @cached_property
    def missing(self) -> Told | None:
        """The answer to missing values where it is numbers: the network fills them in itself.

        Asked of networks that convert only: LAPACK ends the process over a matrix of them.
        """
        if not any(spec.allow_nan and call.is_real(spec) for spec in self.inputs):
            return None
        tensors = missing(self._shapes)
        try:
            told = self._tell(tensors, f"{self._shapes.said(tensors)} with missing values")
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - it takes none
            return None
        real = [told.outputs[spec.name] for spec in self.outputs if call.is_real(spec)]
        return told if real and all(np.isfinite(array).all() for array in real) else None


@dataclass(frozen=True, slots=True)
class Trial:
    """How a conversion answered.

    Attributes:
        why: where it differs; "" = nowhere.
        shapes: that were compared.
        largest: difference between two numbers.
        missing: it answers missing values as the source does.
        at: inputs that it answers otherwise.
    """

    why: str
    shapes: tuple[str, ...]
    largest: float
    missing: bool
    at: Told | None = None


def hold(asked: Asked, folder: Path) -> Trial:
    """Load the conversion as the server will, and ask it the same.

    Args:
        asked: the source's answers.
        folder: with `model.onnx`.
    """
    engine: Engine = plugins.load("engines", "onnxruntime")()
    try:
        session = engine.load(folder, EngineOptions())
    except InvalidError as error:
        return Trial(f"onnxruntime does not load it ({_short(error)})", (), 0.0, missing=False)
    try:
        return _held(asked, session)
    finally:
        session.close()


def _held(asked: Asked, session: Session) -> Trial:
    shapes: list[str] = []
    largest = 0.0
    for told in asked.told:
        wrong, apart = _apart(asked, session, told)
        if wrong:
            baked = f"it is right for {shapes[0]} only, a size is baked in: " if shapes else ""
            why = f"{baked}for {told.shape} {wrong}"
            return Trial(why, tuple(shapes), largest, missing=False, at=told)
        shapes.append(told.shape)
        largest = max(largest, apart)
    if asked.missing is None:
        return Trial("", tuple(shapes), largest, missing=False)
    wrong, _ = _apart(asked, session, asked.missing)
    return Trial("", tuple(shapes), largest, missing=not wrong)


def _apart(asked: Asked, session: Session, told: Told) -> tuple[str, float]:
    """What is wrong with the answer to these inputs, and the largest difference."""
    try:
        answer = session.infer(told.inputs)
    except InvalidError as error:
        return f"it fails ({_short(error)})", 0.0
    largest = 0.0
    for spec, array in zip(asked.outputs, answer, strict=True):
        # One by one: their first axes need not be the rows, nor of one length.
        source = {spec.name: np.atleast_1d(told.outputs[spec.name])}
        group = Group(told.shape, told.inputs, source, {spec.name: np.atleast_1d(array)})
        signature = Signature(asked.inputs, (spec,))
        report = compare([group], signature, tolerance_for("network", TOLERANCE))
        if report.verdict is Verdict.FAILED:
            apart = f" (by up to {report.max_absolute:.2g})" if report.rows_off else ""
            return f"it answers otherwise: {report.reasons[0]}{apart}", report.max_absolute
        largest = max(largest, report.max_absolute)
    return "", largest


def _short(error: InvalidError) -> str:
    return error.message if len(error.message) <= _LONGEST else error.message[:_LONGEST] + "..."
