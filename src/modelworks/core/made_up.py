"""Values that steps can read, made up: for warm-up, and for the checks of an import."""

import struct
import zlib

from modelworks.core.steps import InputSteps

_TEXTS = (b"a", b"some text", b"a longer text, in which a few more words stand", "né".encode())
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def values_for(steps: tuple[InputSteps, ...], name: str) -> tuple[bytes, ...]:
    """A few values for one input that a plug-in reads; empty where none does."""
    for item in steps:
        if item.name == name and item.tokenize is not None:
            return _TEXTS
        if item.tokenize is not None and item.tokenize.pair == name:
            return _TEXTS
        if item.name == name and item.decode_image is not None:
            height, width = item.decode_image.height, item.decode_image.width
            return tuple(png(height, width, shade) for shade in (40, 120, 200))
    return ()


def png(height: int, width: int, shade: int) -> bytes:
    """A PNG of three channels whose shades run across it."""
    row = b"\0" + b"".join(bytes((shade, (x * 255) // width, 255 - shade)) for x in range(width))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(row * height, 1)
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
