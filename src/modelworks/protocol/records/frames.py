"""One frame of a segment: many records, their length and their checksum.

A segment is `MAGIC`, then frames. A frame is a head of 9 bytes, little endian: bytes of the payload
(4), CRC-32 of everything else in the frame (4), coding (1: 0 = as it is, 1 = zlib); then the
payload: JSON, `{"fields": [names], "rows": [[values], ...]}`. Fields that a reader does not know
are passed over, and those that a writer did not know have their defaults: a segment outlives the
version that wrote it.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import orjson

from modelworks.core.records import Record

MAGIC: Final = b"MWREC\x01\r\n"
MAX_FRAME: Final = 64 << 20
"""Bytes of a payload, coded or not; a head that says more is none."""

_HEAD: Final = struct.Struct("<IIB")
_PLAIN, _ZLIB = 0, 1
_SMALL: Final = 256  # bytes; there is nothing to gain below
_NAMES: Final = tuple(one.name for one in fields(Record))
_VALUES: Final = attrgetter(*_NAMES)
_TUPLES: Final = "left_out"


def encode_frame(records: Sequence[Record]) -> bytes:
    """Records as one frame.

    Inputs and outputs may hold numpy arrays; they are read back as lists. Numbers that JSON lacks
    (NaN, infinities) are written as `null`.

    Raises:
        ValueError: a value that JSON cannot hold, or more than a frame takes.
    """
    rows = [_VALUES(record) for record in records]
    try:
        plain = orjson.dumps({"fields": _NAMES, "rows": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"a record cannot be written: {error}") from error
    if len(plain) > MAX_FRAME:
        raise ValueError(f"{len(plain)} bytes of records do not fit into a frame")
    coding, payload = _PLAIN, plain
    if len(plain) > _SMALL:
        coding, payload = _ZLIB, zlib.compress(plain, 1)
    return _HEAD.pack(len(payload), _checksum(len(payload), coding, payload), coding) + payload


def whole_frames(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """The frames of a segment that are whole, from its first: end of each, and its payload.

    It ends at the first that is not: nothing behind it can be told from rubbish.
    """
    view = memoryview(data)
    if bytes(view[: len(MAGIC)]) != MAGIC:
        return
    at = len(MAGIC)
    while at + _HEAD.size <= len(view):
        length, checksum, coding = _HEAD.unpack_from(view, at)
        start = at + _HEAD.size
        payload = view[start : start + length]
        if length > MAX_FRAME or len(payload) < length:
            return
        if _checksum(length, coding, payload) != checksum:
            return
        plain = _plain(coding, payload)
        if plain is None:
            return
        at = start + length
        yield at, plain


def decode_payload(payload: bytes) -> list[Record]:
    """The records of a frame."""
    told = orjson.loads(payload)
    names: list[str] = told["fields"]
    known = [(place, name) for place, name in enumerate(names) if name in _NAMES]
    return [_record({name: row[place] for place, name in known}) for row in told["rows"]]


def _record(values: dict[str, Any]) -> Record:
    values[_TUPLES] = tuple(values.get(_TUPLES, ()))
    return Record(**values)


def _checksum(length: int, coding: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_HEAD.pack(length, 0, coding)))


def _plain(coding: int, payload: memoryview) -> bytes | None:
    if coding == _PLAIN:
        return bytes(payload)
    if coding != _ZLIB:
        return None
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(payload, MAX_FRAME)
    except zlib.error:
        return None
    return plain if unpacker.eof else None
