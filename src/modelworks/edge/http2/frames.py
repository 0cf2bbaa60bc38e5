"""Frames of HTTP/2 (RFC 9113, 4 and 6): their numbers, and those that we write."""

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = Struct(">HBBBL")
"""Of every frame: length / 256, length % 256, type, flags, stream."""
HEAD_BYTES: Final = 9

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

LARGEST_WINDOW: Final = 2**31 - 1
FIRST_WINDOW: Final = 65535
"""Of a connection, and of a stream until SETTINGS say otherwise."""
FRAME_BYTES: Final = 16384
"""Of a payload at most, until SETTINGS say otherwise; ours never do."""
LARGEST_FRAME: Final = 2**24 - 1

_SETTING: Final = Struct(">HL")
_LONG: Final = Struct(">L")


class Fault(Exception):  # noqa: N818 - told to a client, not a fault of ours
    """The connection is at an end: GOAWAY with this code says why.

    Args:
        code: of RFC 9113, 7.
        message: one line, for whoever reads the client's log.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StreamFault(Exception):  # noqa: N818 - the same
    """One stream is at an end: RST_STREAM with this code.

    Args:
        code: of RFC 9113, 7.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Any frame."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: tuple[tuple[int, int], ...]) -> bytes:
    """SETTINGS that give these values."""
    return frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*value) for value in values]))


def settings_of(payload: bytes) -> list[tuple[int, int]]:
    """What a SETTINGS frame says.

    Raises:
        Fault: its length is not that of whole settings.
    """
    if len(payload) % _SETTING.size:
        raise Fault(FRAME_SIZE_ERROR, "SETTINGS of broken length")
    return list(_SETTING.iter_unpack(payload))


def reset(stream: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, _LONG.pack(code))


def window_update(stream: int, more: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, 0, stream, _LONG.pack(more))


def goaway(last: int, code: int, message: str = "") -> bytes:
    """GOAWAY; the message is for people."""
    payload = _LONG.pack(last) + _LONG.pack(code) + message.encode()
    return frame(GOAWAY, 0, 0, payload)


def number(payload: bytes) -> int:
    """The 31 bits of a payload of four bytes."""
    return int.from_bytes(payload, "big") & LARGEST_WINDOW


def unpadded(payload: bytes) -> bytes:
    """What is between the length of the padding and the padding.

    Raises:
        Fault: there is more padding than payload.
    """
    if not payload or payload[0] >= len(payload):
        raise Fault(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
