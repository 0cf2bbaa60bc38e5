"""Whether a model gives the same answer twice; what does not is never kept."""

from typing import Any, Final

from modelworks.core.errors import ModelworksError
from modelworks.core.seams import Session
from modelworks.serving.warmup import made_up

_ROWS: Final = 2
_TIMES: Final = 3


def same_problem(session: Session, free: int) -> str:
    """Why answers of this model cannot be kept; empty = they can.

    One made-up question is asked several times, and every bit of the answers must be equal.

    Args:
        session: that has run.
        free: length of free axes that it takes.
    """
    inputs = made_up(session.signature, _ROWS if session.signature.batch_axis else 1, free)
    first: list[object] | None = None
    try:
        for _ in range(_TIMES):
            outputs = session.infer(inputs)
            bits = [_bits(array) for array in outputs]
            if first is not None and bits != first:
                return "it answers the same question otherwise the second time: it draws at random"
            first = bits
    except ModelworksError as error:
        return f"it refused a question that was made up: {error.message}"
    return ""


def _bits(array: Any) -> object:
    """What two equal arrays have in common, NaN included."""
    return array.tolist() if array.dtype.hasobject else (array.shape, array.tobytes())
