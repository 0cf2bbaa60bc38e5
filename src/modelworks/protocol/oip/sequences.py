"""Which sequence a request belongs to: Triton's parameters, the same on every wire."""

from typing import Any, Final

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.stateful import Step
from modelworks.protocol.oip.parameters import flag
from modelworks.protocol.tensors import shown

_ID: Final = "sequence_id"
_START: Final = "sequence_start"
_END: Final = "sequence_end"
_MOST: Final = 2**64
_LONGEST: Final = 256


def step_of(parameters: dict[str, Any]) -> Step | None:
    """Take the three parameters out of a request's; None where it belongs to no sequence.

    0 and an empty text are no sequence, as in Triton.

    Raises:
        InvalidError: an id that is none, a mark that is no boolean, or a mark without an id.
    """
    if not (_ID in parameters or _START in parameters or _END in parameters):
        return None
    start, end = flag(parameters, _START, "parameters"), flag(parameters, _END, "parameters")
    key = parameters.pop(_ID, 0)
    good = 0 <= key < _MOST if type(key) is int else type(key) is str and len(key) <= _LONGEST
    if not good:
        raise InvalidError(
            f"{_ID} must be a number from 1 to 2**64 - 1 or a text of at most {_LONGEST} "
            f"characters, got {shown(key)}",
            field=f"parameters.{_ID}",
        )
    if key:
        return Step(key, start, end)
    if start or end:
        mark = _START if start else _END
        raise InvalidError(
            f"{mark} belongs to a sequence: say {_ID} too, from 1", field=f"parameters.{_ID}"
        )
    return None


def no_sequences(step: Step, name: str = "") -> UnsupportedError:
    """The answer to whoever asks for one where the model keeps none."""
    what = f"model '{name}'" if name else "this model"
    return UnsupportedError(
        f"{what} keeps no sequences: leave sequence_id out (it was {shown(step.id)}), or declare "
        "its states",
        field=f"parameters.{_ID}",
    )
