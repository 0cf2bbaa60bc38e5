"""What workers and their supervisor say to each other: one JSON object a line on a socket pair."""

import json
from typing import Any, Final, TypeAlias

from modelworks.core import errors

Message: TypeAlias = dict[str, Any]
ACT_DEADLINE_S: Final = 120.0
"""Seconds that all workers together have to load or unload a model."""
_LONGEST: Final = 1024 * 1024


class Lines:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes.

        Raises:
            ValueError: a line that is no message; the other side is not one of ours.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            raise ValueError("a message without an end")
        return [json.loads(line) for line in lines]


def line(message: Message) -> bytes:
    """A message as bytes."""
    return json.dumps(message).encode() + b"\n"


def pack_error(error: errors.ModelworksError) -> Message:
    """An error that can cross to another process."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return {"kind": next(k for k in kinds if hasattr(errors, k)), "message": error.message}


def unpack_error(data: Message) -> errors.ModelworksError:
    """The error again, of the same class."""
    kind = getattr(errors, str(data["kind"]), errors.CrashedError)
    try:
        error = kind(str(data["message"]))
    except TypeError:  # a class with arguments of its own
        error = errors.CrashedError(str(data["message"]))
    return error if isinstance(error, errors.ModelworksError) else errors.CrashedError(str(error))
