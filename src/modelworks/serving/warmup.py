"""Inputs made up from a signature: they warm a model and show whether its batches may be joined."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.made_up import values_for
from modelworks.core.seams import Session
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.protocol.made_up import made_up_array
from modelworks.protocol.nearness import near

_FREE: Final = (1, 2, 8, 16, 32, 64, 224)
"""Sizes tried for dynamic axes other than the batch: not every network takes a 1 x 1 image."""
_SEED: Final = 7


def made_up(signature: Signature, rows: int, free: int = 1, seed: int = _SEED) -> Tensors:
    """Inputs of `rows` rows; every other dynamic axis has length `free`. Values are small."""
    generator = np.random.default_rng(seed)

    def texts(spec: TensorSpec) -> list[bytes]:
        read = list(values_for(signature.steps, spec.name))
        return read or [word.encode() for word in spec.categories] or [b"0", b"1"]

    return {
        spec.name: made_up_array(spec, rows, free, texts(spec), generator)
        for spec in signature.inputs
    }


def warm_up(session: Session) -> int:
    """Run once; the length of free axes that the model accepted.

    Raises:
        InvalidError: the model refuses every input that was made up for it.
    """
    signature = session.signature
    reason = ""
    for free in _candidates(signature):
        try:
            session.infer(made_up(signature, 1, free))
        except InvalidError as error:
            reason = error.message
        else:
            return free
    raise InvalidError(f"every warm-up inference was refused: {reason}")


def _candidates(signature: Signature) -> Iterator[int]:
    shapes = [spec.shape for spec in signature.inputs]
    yield _FREE[0]
    if any(size is None for shape in shapes for size in shape[1:]):
        yield from _FREE[1:]


def batch_problem(session: Session, free: int, rows: int = 3) -> str:
    """Why requests of this model cannot share a call; empty = they can.

    A batch of `rows` made-up rows must equal as many batches of one: exactly for everything but
    floats, and within 1e-3 relative for those (kernels differ by batch size in the last bits).
    """
    signature = session.signature
    if not signature.batch_axis:
        return "not every input and output has a dynamic first axis"
    inputs = made_up(signature, rows, free)
    try:
        together = session.infer(inputs)
        alone = [
            session.infer({name: array[row : row + 1] for name, array in inputs.items()})
            for row in range(rows)
        ]
    except InvalidError as error:
        return f"a batch of {rows} is refused: {error.message}"
    for place, spec in enumerate(signature.outputs):
        single = [outputs[place] for outputs in alone]
        if together[place].shape[:1] != (rows,) or any(a.shape[:1] != (1,) for a in single):
            return f"output '{spec.name}' has not one row an input row"
        if any(a.shape[1:] != together[place].shape[1:] for a in single):
            return f"the shape of output '{spec.name}' depends on the other rows of its batch"
        if not same(together[place], np.concatenate(single), spec.datatype):
            return f"output '{spec.name}' of a batch differs from that of its rows"
    return ""


def same(left: Any, right: Any, datatype: Datatype) -> bool:
    """Whether two arrays are equal, floats as nearly as kernels of two batch sizes make them."""
    return near(left, right, datatype, 1e-5, 1e-3)
