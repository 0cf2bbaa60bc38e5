"""Redis's protocol, version 2: commands to bytes, bytes to values. Pure."""

from collections.abc import Iterator
from typing import Final

_LARGEST: Final = 64 << 20
_LINE: Final = 1024


class RedisRefusedError(Exception):
    """Redis says no; the text is its own."""


def command(*words: str | bytes) -> bytes:
    """A command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word.encode() if isinstance(word, str) else word
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class Reader:
    """Takes what comes in pieces, and gives the values that are whole."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | RedisRefusedError | None]:
        """The values that are whole now: a text, None for nothing, or a refusal.

        Raises:
            ValueError: it is no such protocol, or a value of over 64 MiB.
        """
        self._data += data
        while True:
            found = self._next()
            if found is None:
                return
            value, end = found
            del self._data[:end]
            yield value

    def _next(self) -> tuple[bytes | RedisRefusedError | None, int] | None:
        data = self._data
        stop = data.find(b"\r\n", 0, _LINE)
        if stop < 0:
            if len(data) >= _LINE:
                raise ValueError("a line without an end")
            return None
        kind, line = bytes(data[:1]), bytes(data[1:stop])
        end = stop + 2
        if kind in {b"+", b":"}:
            return line, end
        if kind == b"-":
            return RedisRefusedError(line.decode("utf-8", "replace")), end
        if kind != b"$":
            raise ValueError(f"a value of kind {kind!r}")
        length = _length(line)
        if length < 0:
            return None, end
        if len(data) < end + length + 2:
            return None
        if data[end + length : end + length + 2] != b"\r\n":
            raise ValueError("a text of another length than it says")
        return bytes(data[end : end + length]), end + length + 2


def _length(line: bytes) -> int:
    if line == b"-1":
        return -1
    if not line.isdigit() or len(line) > 9 or int(line) > _LARGEST:
        raise ValueError(f"a length of {line[:20]!r}")
    return int(line)
