"""Protocol Buffers' wire format: varints, tags, and fields one behind another.

Source of the format: protobuf.dev/programming-guides/encoding.
"""

from typing import Final, TypeAlias

from modelworks.core.errors import InvalidError

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
GROUP: Final = 3
GROUP_END: Final = 4
FIXED32: Final = 5

Found: TypeAlias = tuple[int, int, int, int]
"""Number of a field, its wire type, and where its bytes begin and end; of a varint its value, 0."""

MOST: Final = 1 << 14
"""Fields of a message, those of messages in it included: each is some objects, and takes a
microsecond. Repeated numbers are one field."""
_MOST_FIELD: Final = (1 << 29) - 1
_PASSED: Final[Found] = (_MOST_FIELD + 1, GROUP, 0, 0)
"""Stands for a tag in a group: counted as a field, and read by nobody."""
_LONGEST: Final = 10  # bytes of a varint
_DEEPEST: Final = 100  # of groups in groups
_MASK: Final = (1 << 64) - 1


def damaged(where: str, why: str) -> InvalidError:
    """What a message that cannot be read is answered with; `where` is the path of the field."""
    return InvalidError(f"the message is damaged: {why}", field=where or "message")


def too_many(where: str) -> InvalidError:
    """What a message of too many fields is answered with."""
    return InvalidError(
        f"the message has more than {MOST:,} fields: send tensors as raw_input_contents",
        field=where or "message",
    )


def read_varint(data: bytes | memoryview, at: int, end: int, where: str) -> tuple[int, int]:
    """A varint: its value, below 2**64, and where it ends.

    Raises:
        InvalidError: it goes on behind `end`, or has more than ten bytes.
    """
    value = shift = 0
    for place in range(at, min(end, at + _LONGEST)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, place + 1
        shift += 7
    raise damaged(where, f"a number at byte {at} does not end")


def varint(value: int) -> bytes:
    """A varint of a number; negative ones as their 64-bit complement."""
    if 0 <= value < 0x80:
        return bytes((value,))
    value &= _MASK
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def tag(number: int, kind: int) -> bytes:
    """What stands before a field."""
    return varint(number << 3 | kind)


def scan(data: bytes | memoryview, at: int, end: int, where: str) -> list[Found]:  # noqa: C901, PLR0912 - one branch a wire type
    """All fields between two places, in order.

    Of groups, which nobody writes any more, each tag counts as a field of a number that none has:
    passing over them takes as long as reading would.

    Args:
        data: that holds the message.
        at: where it begins.
        end: behind its last byte.
        where: path that errors name.

    Raises:
        InvalidError: damaged: a field reaches over the end, or has a number or a type that no
            field has. Or there are more than `MOST`.
    """
    found: list[Found] = []
    while at < end:
        if len(found) >= MOST:
            raise too_many(where)
        key = data[at]
        if key < 0x80:
            at += 1
        else:
            key, at = read_varint(data, at, end, where)
        number, kind = key >> 3, key & 7
        if not 0 < number <= _MOST_FIELD:
            raise damaged(where, f"no field has the number {number}")
        if kind == LENGTH:
            size = data[at] if at < end else 0x80
            if size < 0x80:
                at += 1
            else:
                size, at = read_varint(data, at, end, where)
            start, at = at, at + size
            if at > end:
                raise damaged(where, f"field {number} has {size} bytes and {end - start} are left")
            found.append((number, kind, start, at))
        elif kind == VARINT:
            value, at = read_varint(data, at, end, where)
            found.append((number, kind, value, 0))
        elif kind in {FIXED64, FIXED32}:
            start, at = at, at + (8 if kind == FIXED64 else 4)
            if at > end:
                raise damaged(where, f"field {number} is cut off")
            found.append((number, kind, start, at))
        elif kind == GROUP:
            at = _over_group(data, at, end, where, number, found)
        else:
            raise damaged(
                where, f"field {number} has the wire type {kind} where none such may stand"
            )
    return found


def _over_group(
    data: bytes | memoryview, at: int, end: int, where: str, number: int, found: list[Found]
) -> int:
    """Behind a group, which holds fields between two tags."""
    depth = [number]
    while depth:
        if len(found) >= MOST:
            raise too_many(where)
        found.append(_PASSED)
        key, at = read_varint(data, at, end, where)
        number, kind = key >> 3, key & 7
        if kind == GROUP and len(depth) < _DEEPEST and number:
            depth.append(number)
        elif kind == GROUP_END and depth[-1] == number:
            depth.pop()
        elif kind == VARINT and number:
            _, at = read_varint(data, at, end, where)
        elif kind in {FIXED64, FIXED32} and number:
            at += 8 if kind == FIXED64 else 4
        elif kind == LENGTH and number:
            size, at = read_varint(data, at, end, where)
            at += size
        else:
            raise damaged(where, f"field {number} has the wire type {kind} inside a group")
        if at > end:
            raise damaged(where, "a group is cut off")
    return at
