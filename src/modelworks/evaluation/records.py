"""TFRecord files and the few protocol-buffer fields that go into them, written by hand.

Sources: the protocol buffers encoding guide; TensorFlow's TFRecord format (length, masked CRC-32C
of it, bytes, masked CRC-32C of them); CRC-32C: RFC 3720, appendix B.4.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import numpy as np

_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, reversed
_MASK: Final = 0xA282EAD8
_ALL: Final = 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum."""
    table, found = _table(), _ALL
    for byte in data:
        found = table[(found ^ byte) & 0xFF] ^ (found >> 8)
    return found ^ _ALL


def framed(records: Iterable[bytes]) -> bytes:
    """Records as a TFRecord file."""
    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += [length, _masked(length), record, _masked(record)]
    return b"".join(parts)


def integer(field: int, value: int) -> bytes:
    """A varint field; negative numbers take ten bytes, as the format has it."""
    return _varint(field << 3) + _varint(value & 0xFFFFFFFFFFFFFFFF)


def double(field: int, value: float) -> bytes:
    """A float64 field."""
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def single(field: int, value: float) -> bytes:
    """A float32 field."""
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def nested(field: int, value: bytes) -> bytes:
    """A message, bytes or a UTF-8 text."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    """A text field."""
    return nested(field, value.encode())


def doubles(field: int, values: Sequence[float]) -> bytes:
    """Packed float64 numbers."""
    return nested(field, np.asarray(values, "<f8").tobytes())


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _masked(data: bytes) -> bytes:
    found = crc32c(data)
    return struct.pack("<I", ((found >> 15 | found << 17) + _MASK) & _ALL)


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for number in range(256):
        found = number
        for _ in range(8):
            found = found >> 1 ^ (_POLYNOMIAL if found & 1 else 0)
        rows.append(found)
    return tuple(rows)
