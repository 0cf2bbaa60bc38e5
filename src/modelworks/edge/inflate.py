"""Compressed request bodies, decoded with a bound: a small body must not become a huge one."""

import zlib

from modelworks.edge.head import Refusal

_GZIP_WINDOW = 31  # zlib's code for a gzip wrapper with the largest window
_PIECE = 64 * 1024
_MEMBERS = 1024  # of a gzip body; empty ones are 20 bytes each, and cost as much as full ones


def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """Decode `gzip` (all members) or `deflate` (zlib wrapper, or none as some clients send it).

    Raises:
        Refusal: damaged data (400), or more than `limit` bytes when decoded (413).
    """
    try:
        if coding == "gzip":
            return _gzip(body, limit)
        raw = (body[:1] and body[0] & 0x0F) != zlib.DEFLATED
        return _one(zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS), body, limit)
    except zlib.error as error:
        raise Refusal(400, f"the {coding} body is damaged: {error}") from error


def _gzip(body: bytes, limit: int) -> bytes:
    """All members. They are fed in pieces: zlib copies what it is given behind a member's end."""
    view, at, room = memoryview(body), 0, limit
    parts: list[bytes] = []
    for _ in range(_MEMBERS):
        decoder = zlib.decompressobj(_GZIP_WINDOW)
        while not decoder.eof:
            piece = view[at : at + _PIECE]
            if not piece:
                raise _truncated()
            at += len(piece)
            part = decoder.decompress(piece, room + 1)
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise _too_large()
        at -= len(decoder.unused_data)
        if at == len(body):
            return b"".join(parts)
    raise Refusal(400, f"a gzip body of more than {_MEMBERS} members: send it as one")


def _one(decoder: "zlib._Decompress", body: bytes, limit: int) -> bytes:
    data = decoder.decompress(body, limit + 1)
    if len(data) > limit:
        raise _too_large()
    if not decoder.eof:
        raise _truncated()
    return data


def _too_large() -> Refusal:
    return Refusal(413, "the compressed body is too large when decoded: send it uncompressed")


def _truncated() -> Refusal:
    return Refusal(400, "the compressed body is truncated")
