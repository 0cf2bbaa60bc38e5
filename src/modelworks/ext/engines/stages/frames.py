"""What hosts of one pipeline say to each other: frames with their length before them.

A frame is 20 bytes (`MWS1`, what it is, number of the call, bytes that follow) and its content:
JSON where something is said, and in a call the tensors exactly as they lie in shared memory
(`sandbox.tensors`), so that they are sent from there and received into there.
"""

import json
import math
import socket
import struct
import time
from enum import IntEnum
from typing import Any, Final

from modelworks.core.errors import CrashedError, ModelworksError
from modelworks.sandbox.relay import Buffer
from modelworks.sandbox.report import describe, rebuild

_HEAD: Final = struct.Struct("<4sIIQ")
_MAGIC: Final = b"MWS1"
_LONGEST: Final = 64 << 10
"""Bytes of JSON."""


class BrokenError(Exception):
    """The other side does not speak this protocol, or went away in the middle."""


class Word(IntEnum):
    """What a frame is."""

    HELLO = 1  # of the pipeline: JSON, the stage's digest
    WELCOME = 2  # of the stage: JSON
    CALL = 3  # tensors
    DONE = 4  # tensors
    ERROR = 5  # JSON: an error, as `sandbox.report` describes it


class Line:
    """One connection.

    Args:
        connection: open; every wait of ours has an end of its own, or `math.inf` where silence is
            no fault.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._head = bytearray(_HEAD.size)

    def say(self, word: Word, until: float, data: Any) -> None:
        """Send JSON."""
        content = json.dumps(data).encode()
        self._send(_HEAD.pack(_MAGIC, word, 0, len(content)) + content, until)

    def give(self, word: Word, number: int, until: float, buffer: Buffer, size: int) -> None:
        """Send the first `size` bytes of a buffer."""
        assert buffer.memory is not None  # noqa: S101 - something was written into it
        self._send(_HEAD.pack(_MAGIC, word, number, size), until)
        with memoryview(buffer.memory) as view, view[:size] as part:
            self._send(part, until)

    def head(self, until: float) -> tuple[Word, int, int]:
        """The next frame's word, number and bytes.

        Raises:
            BrokenError: it is none; EOFError: the other side is done; OSError: it is gone.
        """
        self._receive(memoryview(self._head), until, begun=False)
        magic, word, number, size = _HEAD.unpack(self._head)
        if magic != _MAGIC or word not in set(Word):
            raise BrokenError("it speaks another protocol")
        return Word(word), number, size

    def data(self, size: int, until: float) -> dict[str, Any]:
        """The JSON of a frame."""
        if size > _LONGEST:
            raise BrokenError(f"it says {size} bytes where {_LONGEST} are the most")
        content = bytearray(size)
        self._receive(memoryview(content), until)
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BrokenError("what it says is no JSON") from error
        if not isinstance(found, dict):
            raise BrokenError("what it says is no JSON object")
        return found

    def into(self, buffer: Buffer, size: int, until: float) -> None:
        """The tensors of a frame; the buffer has room for them."""
        assert buffer.memory is not None  # noqa: S101 - the caller made room
        with memoryview(buffer.memory) as view, view[:size] as part:
            self._receive(part, until)

    def error(self, size: int, until: float) -> ModelworksError:
        """The error of a frame."""
        return rebuild(self.data(size, until))

    def tell(self, error: ModelworksError, until: float) -> None:
        """Send an error."""
        self.say(Word.ERROR, until, describe(error))

    def close(self) -> None:
        """Whoever waits on the other side is told by that."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self.connection.close()

    def _send(self, data: Any, until: float) -> None:
        self.connection.settimeout(_left(until))
        self.connection.sendall(data)

    def _receive(self, into: memoryview, until: float, *, begun: bool = True) -> None:
        got = 0
        while got < len(into):
            self.connection.settimeout(_left(until))
            read = self.connection.recv_into(into[got:])
            if not read:
                if begun or got:
                    raise BrokenError("it went away in the middle")
                raise EOFError
            got += read


def crashed(error: Exception) -> ModelworksError:
    """What an engine raised, as an error that can be told."""
    if isinstance(error, ModelworksError):
        return error
    return CrashedError(f"the stage failed: {type(error).__name__}: {error}"[:300])


def _left(until: float) -> float | None:
    """None = without an end: that the other side is gone, the system notices (keepalive)."""
    if until == math.inf:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
