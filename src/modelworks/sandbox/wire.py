"""What a model's process and the server's say to each other: fixed words, a few bytes each.

A message is four int64 (what, number of the call, two values); behind it stands JSON where there is
more to say. Tensors never travel here: they lie in shared memory (`tensors`).
"""

import json
import struct
from enum import IntEnum
from typing import Any, Final

from modelworks.core.errors import CrashedError

LONGEST: Final = 160 << 10
"""Bytes of one message; more does not fit through a packet socket."""

SHORT: Final = 256
"""Bytes of a message without JSON, and more."""

_HEAD: Final = struct.Struct("<4q")
_WORDS: Final = 32


class Word(IntEnum):
    """What a message means."""

    LOAD = 1  # to the child: JSON says what
    PREPARED = 2  # to the parent: walls stand, libraries are imported; JSON says which
    READY = 3  # the model is loaded; JSON
    CALL = 4  # inputs lie in the request region; values: a new request, a new reply region follows
    DONE = 5  # outputs lie in the reply region
    MORE = 6  # the reply region is too small: so many bytes are wanted
    REGION = 7  # here is a larger one
    ERROR = 8  # JSON says which
    RELAY = 9  # as CALL, between two buffers: twice their number, and 1 more where one is new here
    PIECES = 10  # to the child: here is a socket for what it generates
    GENERATE = 11  # on that socket, as all that follow: JSON says what is continued, and how
    STOP = 12  # to the child: nobody wants more of that number
    PIECE = 13  # to the parent: JSON; the last one of a number says so
    COUNT = 14  # to the child: JSON has a text
    COUNTED = 15  # to the parent: value: so many tokens


def pack(word: Word, number: int = 0, first: int = 0, second: int = 0, data: Any = None) -> bytes:
    """One message."""
    head = _HEAD.pack(word, number, first, second)
    return head if data is None else head + json.dumps(data).encode()


def unpack(message: bytes) -> tuple[int, int, int, int]:
    """Its four words.

    Raises:
        CrashedError: it is too short to have them.
    """
    if len(message) < _WORDS:
        raise CrashedError("the model's process broke its protocol: a message is cut short")
    found: tuple[int, int, int, int] = _HEAD.unpack_from(message)
    return found


def data_of(message: bytes) -> dict[str, Any]:
    """Its JSON.

    Raises:
        CrashedError: it is no object.
    """
    try:
        found = json.loads(message[_WORDS:])
    except (ValueError, RecursionError) as error:
        raise CrashedError("the model's process broke its protocol: no JSON") from error
    if not isinstance(found, dict):
        raise CrashedError("the model's process broke its protocol: no JSON object")
    return found
