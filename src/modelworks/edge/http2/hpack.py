"""HPACK (RFC 7541): header blocks to fields, and fields to header blocks."""

from typing import Final, TypeAlias

from modelworks.edge.http2.frames import COMPRESSION_ERROR, Fault
from modelworks.edge.http2.huffman import HuffmanError, decode

Field: TypeAlias = tuple[bytes, bytes]
TABLE_BYTES: Final = 4096
"""Of a dynamic table, unless SETTINGS say otherwise; ours never do."""
_OVERHEAD: Final = 32  # that an entry counts beside its bytes (4.1)
_LONGEST_INTEGER: Final = 28  # bits behind the prefix: nothing here is a quarter of a gigabyte

STATIC: Final[tuple[Field, ...]] = (
    (b"", b""),
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow "
            b"authorization cache-control content-disposition content-encoding content-language "
            b"content-length content-location content-range content-type cookie date etag expect "
            b"expires from host if-match if-modified-since if-none-match if-range "
            b"if-unmodified-since last-modified link location max-forwards proxy-authenticate "
            b"proxy-authorization range referer refresh retry-after server set-cookie "
            b"strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
)
"""Appendix A; the first entry has number 1."""
_FIRST: Final = len(STATIC)  # of the dynamic table


def _broken(message: str) -> Fault:
    return Fault(COMPRESSION_ERROR, message)


class Decoder:
    """Reads one connection's header blocks, all of them and in order.

    Attributes:
        changed: the last block has changed the table, and so the meaning of later blocks.
        oversized: the last block's fields are beyond `most`; the rest was read and thrown away.
    """

    __slots__ = ("_limit", "_most", "_size", "_table", "changed", "oversized")

    def __init__(self, most: int) -> None:
        """A table with nothing in it.

        Args:
            most: bytes of one block's fields, each counted as its entry in the table would be.
        """
        self._table: list[Field] = []  # the newest one last
        self._size = 0
        self._limit = TABLE_BYTES
        self._most = most
        self.changed = False
        self.oversized = False

    def read(self, block: bytes) -> list[Field]:  # noqa: C901 - one loop over bytes, without calls
        """The fields of a block.

        Raises:
            Fault: it is broken; nothing that follows on the connection can be understood.
        """
        found: list[Field] = []
        most = self._most
        self.changed = self.oversized = False
        position, size, taken = 0, len(block), 0
        while position < size:
            byte = block[position]
            if byte & 0x80:
                position += 1
                number = byte & 0x7F
                if number == 0x7F:
                    number, position = _integer(block, position, 0x7F)
                field = self._entry(number)
            elif byte & 0x40 or not byte & 0x20:
                kept = byte & 0x40
                mask = 0x3F if kept else 0x0F
                position += 1
                number = byte & mask
                if number == mask:
                    number, position = _integer(block, position, mask)
                if number:
                    name = self._entry(number)[0]
                else:
                    name, position = _string(block, position)
                value, position = _string(block, position)
                field = (name, value)
                if kept:
                    self._keep(field)
            else:
                if found or taken:
                    raise _broken("a table size within a block")
                number, position = _integer(block, position + 1, 0x1F, byte & 0x1F)
                if number > TABLE_BYTES:
                    raise _broken("a table larger than allowed")
                self._limit = number
                self.changed = True
                self._shrink()
                continue
            taken += len(field[0]) + len(field[1]) + _OVERHEAD
            if taken <= most:
                found.append(field)
        self.oversized = taken > most
        return found

    def _entry(self, number: int) -> Field:
        if number < _FIRST:
            if not number:
                raise _broken("entry 0")
            return STATIC[number]
        place = number - _FIRST + 1
        if place > len(self._table):
            raise _broken("an entry that the table does not have")
        return self._table[-place]

    def _keep(self, field: Field) -> None:
        self.changed = True
        self._table.append(field)
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        self._shrink()

    def _shrink(self) -> None:
        table = self._table
        gone = 0
        while self._size > self._limit:
            name, value = table[gone]
            self._size -= len(name) + len(value) + _OVERHEAD
            gone += 1
        if gone:
            del table[:gone]


class Encoder:
    """Writes the header blocks of one connection.

    Fields that come with every answer are entered into the client's table once and are one byte
    from then on. Nothing is ever pushed out of it: what finds no room is written in full.
    """

    __slots__ = ("_count", "_entries", "_limit", "_news", "_size", "changed")

    def __init__(self) -> None:
        """A table with nothing in it.

        Attributes:
            changed: the last block has changed the table: earlier ones mean something else now,
                and it may not be sent twice itself.
        """
        self.changed = False
        self._entries: dict[Field, int] = {}  # how many were entered before it
        self._count = 0
        self._size = 0
        self._limit = TABLE_BYTES
        self._news = b""  # of the table's size, to stand before the next block

    def resize(self, limit: int) -> None:
        """The client's SETTINGS say how large its table is."""
        limit = min(limit, TABLE_BYTES)
        if limit == self._limit and not self._news:
            return
        # Emptied, so that both sides agree on what is in it whatever the client did in between.
        self._entries.clear()
        self._size = self._count = 0
        self._limit = limit
        self._news = b"\x20" + _prefixed(limit, 0x1F, 0x20)

    def write(self, fields: tuple[Field, ...], often: tuple[Field, ...] = ()) -> bytes:
        """A block.

        Args:
            fields: written in full, but for those that appendix A has.
            often: stand before them; worth a place in the table.
        """
        parts = [self._news]
        self.changed = bool(self._news)
        self._news = b""
        for field in often:
            known = self._entries.get(field)
            if field in _WHOLE:
                parts.append(_prefixed(_WHOLE[field], 0x7F, 0x80))
            elif known is not None:
                parts.append(_prefixed(_FIRST + self._count - 1 - known, 0x7F, 0x80))
            else:
                parts.append(self._enter(field))
        for field in fields:
            whole = _WHOLE.get(field)
            parts.append(
                _literal(field, 0x0F, 0) if whole is None else _prefixed(whole, 0x7F, 0x80)
            )
        return b"".join(parts)

    def _enter(self, field: Field) -> bytes:
        size = len(field[0]) + len(field[1]) + _OVERHEAD
        if self._size + size > self._limit:
            return _literal(field, 0x0F, 0)
        self.changed = True
        self._entries[field] = self._count
        self._count += 1
        self._size += size
        return _literal(field, 0x3F, 0x40)


_NAMES: Final = {name: number for number, (name, _) in reversed(list(enumerate(STATIC)))}
_WHOLE: Final = {field: number for number, field in enumerate(STATIC) if field[1]}


def _literal(field: Field, mask: int, pattern: int) -> bytes:
    name, value = field
    number = _NAMES.get(name)
    if number is None:
        begin = bytes((pattern,)) + _prefixed(len(name), 0x7F, 0) + name
    else:
        begin = _prefixed(number, mask, pattern)
    return begin + _prefixed(len(value), 0x7F, 0) + value


def _prefixed(value: int, mask: int, pattern: int) -> bytes:
    """An integer behind the first bits of its byte (5.1)."""
    if value < mask:
        return bytes((pattern | value,))
    parts = [pattern | mask]
    value -= mask
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _integer(block: bytes, position: int, mask: int, begun: int = -1) -> tuple[int, int]:
    """An integer whose prefix was read, and the position behind it.

    Args:
        block: that it stands in.
        position: behind the prefix.
        mask: of the prefix.
        begun: what the prefix says; -1 = that more follows.
    """
    if 0 <= begun < mask:
        return begun, position
    value, shift = mask, 0
    while True:
        if position >= len(block):
            raise _broken("a block that ends within a number")
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
        if shift >= _LONGEST_INTEGER:
            raise _broken("a number beyond all bounds")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """A string (5.2), and the position behind it."""
    if position >= len(block):
        raise _broken("a block that ends before a string")
    byte = block[position]
    position += 1
    size = byte & 0x7F
    if size == 0x7F:
        size, position = _integer(block, position, 0x7F)
    end = position + size
    if end > len(block):
        raise _broken("a block that ends within a string")
    data = block[position:end]
    if byte & 0x80:
        try:
            data = decode(data)
        except HuffmanError as error:
            raise _broken(str(error)) from error
    return data, end
