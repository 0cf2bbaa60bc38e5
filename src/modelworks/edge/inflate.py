"""Compressed request bodies, decoded with a bound: a small body must not become a huge one."""

import zlib

from modelworks.edge.head import Refusal

_GZIP_WINDOW = 31  # zlib's code for a gzip wrapper with the largest window


def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """Decode `gzip` (all members) or `deflate` (zlib wrapper, or none as some clients send it).

    Raises:
        Refusal: damaged data (400), or more than `limit` bytes when decoded (413).
    """
    try:
        if coding == "gzip":
            return _gzip(body, limit)
        raw = (body[:1] and body[0] & 0x0F) != zlib.DEFLATED
        return _one(zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS), body, limit)[0]
    except zlib.error as error:
        raise Refusal(400, f"the {coding} body is damaged: {error}") from error


def _gzip(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        part, body = _one(zlib.decompressobj(_GZIP_WINDOW), body, limit - size)
        parts.append(part)
        size += len(part)
        if not body:
            return b"".join(parts)


def _one(decoder: "zlib._Decompress", body: bytes, limit: int) -> tuple[bytes, bytes]:
    data = decoder.decompress(body, limit + 1)
    if len(data) > limit:
        raise Refusal(413, "the compressed body is too large when decoded: send it uncompressed")
    if not decoder.eof:
        raise Refusal(400, "the compressed body is truncated")
    return data, decoder.unused_data
