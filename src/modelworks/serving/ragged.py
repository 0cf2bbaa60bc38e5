"""Proves at load that inputs of different lengths may be filled up, and how far that pays."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.ragged import Ragged
from modelworks.core.seams import Session
from modelworks.core.tensor import Signature, Tensors
from modelworks.serving.curve import Curve
from modelworks.serving.shapes import (
    MOST_GROWTH,
    Padder,
    padded_inputs,
    problem_of,
    text_inputs,
)
from modelworks.serving.warmup import made_up, same

_LENGTHS: Final = (5, 2, 8, 3)
_GAIN: Final = 1.1
_TEXTS: Final = (b"a", b"a b c d e f g h i j k l", b"a b c", b"", b"b c")


@dataclass(frozen=True, slots=True)
class _Probe:
    """A member that nobody answers."""

    inputs: Tensors
    rows: int = 1


def padding_of(
    session: Session, declared: Ragged | None, curve: Curve, largest: int
) -> tuple[Padder | None, str]:
    """How requests of different lengths share a call, or why they do not.

    Args:
        session: warm, and batched.
        declared: the axis; None = nobody said that there is one.
        curve: what calls of several sizes take.
        largest: rows in one call.

    Returns:
        A padder, or None and a reason; neither where nothing is declared.
    """
    signature = session.signature
    if declared is None or text_inputs(signature):  # texts are filled up by their tokenizer
        return None, ""
    problem = problem_of(signature, declared)
    if problem:
        return None, problem
    growth = growth_of(curve, largest)
    if growth < _GAIN:
        return None, f"sharing a call saves too little here ({growth:.2f} x)"
    try:
        cuts = _prove(session, declared)
    except InvalidError as error:
        return None, error.message
    return Padder(signature, declared, cuts, growth), ""


def growth_of(curve: Curve, largest: int) -> float:
    """By how much inputs may grow: no more than sharing a call saves, and never over double.

    Args:
        curve: empty = nothing was measured, and nothing may grow.
        largest: rows in one call.
    """
    sizes = [point.rows for point in curve.points if point.rows <= largest]
    if not sizes:
        return 1.0
    gain = max(curve.call_ns(1) * rows / curve.call_ns(rows) for rows in sizes)
    return min(MOST_GROWTH, gain)


def _prove(session: Session, declared: Ragged) -> list[tuple[int, ...]]:
    """Compare filled up and cut back with alone.

    Returns:
        Of each output the axes that are as long as the inputs.

    Raises:
        InvalidError: they differ, or the model refuses; why.
    """
    signature = session.signature
    probes = [_Probe(_inputs(signature, declared, n, seed)) for seed, n in enumerate(_LENGTHS)]
    alone = [session.infer(probe.inputs) for probe in probes]
    cuts = [
        _axes([outputs[place].shape for outputs in alone], spec.name)
        for place, spec in enumerate(signature.outputs)
    ]
    padder = Padder(signature, declared, cuts)
    members: Any = probes
    together = session.infer(padder.gather(members))
    for place, spec in enumerate(signature.outputs):
        if together[place].shape[:1] != (len(probes),):
            raise InvalidError(f"output '{spec.name}' has not one row an input row")
    for row, (length, single) in enumerate(zip(_LENGTHS, alone, strict=True)):
        mine = padder.cut([array[row : row + 1] for array in together], length)
        for spec, left, right in zip(signature.outputs, mine, single, strict=True):
            if not same(left, right, spec.datatype):
                raise InvalidError(
                    f"output '{spec.name}' changes when inputs are filled up behind the mask "
                    f"'{declared.mask}'"
                )
    return cuts


def _inputs(signature: Signature, declared: Ragged, length: int, seed: int) -> Tensors:
    """One row of a length, all of it real."""
    inputs = dict(made_up(signature, 1, length, seed))
    for spec in padded_inputs(signature, declared):
        if spec.name == declared.mask:
            inputs[spec.name] = np.ones_like(inputs[spec.name])
    return inputs


def _axes(shapes: list[tuple[int, ...]], name: str) -> tuple[int, ...]:
    """Axes that are as long as the inputs.

    Raises:
        InvalidError: an axis that changes in another way.
    """
    if len({len(shape) for shape in shapes}) > 1:
        raise InvalidError(f"output '{name}' has not always the same number of axes")
    found = []
    for axis, sizes in enumerate(zip(*shapes, strict=True)):
        if sizes == _LENGTHS:
            found.append(axis)
        elif len(set(sizes)) > 1:
            raise InvalidError(f"axis {axis} of output '{name}' follows the inputs' length oddly")
    return tuple(found)


def text_problem(session: Session) -> str:
    """Why texts of different lengths may not share a call; empty = they may, or there are none."""
    signature = session.signature
    names = text_inputs(signature)
    if not names:
        return ""
    rows = len(_TEXTS)
    inputs = dict(made_up(signature, rows, 1))
    for name in names:
        array = np.empty(rows, dtype=object)
        array[:] = _TEXTS
        inputs[name] = array.reshape(inputs[name].shape)
    try:
        together = session.infer(inputs)
        for row in range(rows):
            single = session.infer({n: array[row : row + 1] for n, array in inputs.items()})
            for spec, all_, one in zip(signature.outputs, together, single, strict=True):
                if not same(all_[row : row + 1], one, spec.datatype):
                    return f"output '{spec.name}' of a text depends on how long its neighbours are"
    except InvalidError as error:
        return f"texts of different lengths are refused together: {error.message}"
    return ""
