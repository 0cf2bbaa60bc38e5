"""Any described message: bytes to a dictionary of what is set, and back.

Texts are `str`, bytes are views of the message, enums their names, repeated numbers arrays, maps
dictionaries. What a message does not set is left out; unknown fields are passed over.
"""

import struct
from collections.abc import Mapping
from math import copysign
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.protocol.oip_grpc.describing import SCALARS, Field, Label, Types
from modelworks.protocol.oip_grpc.packed import FIXED, VARINTS, pack, unpack
from modelworks.protocol.oip_grpc.wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    MOST,
    VARINT,
    Found,
    damaged,
    scan,
    tag,
    too_many,
    varint,
)

_KINDS: Final = {"double": FIXED64, "float": FIXED32, "string": LENGTH, "bytes": LENGTH}
_FLOATS: Final = {"double": struct.Struct("<d"), "float": struct.Struct("<f")}
_BITS: Final = {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64}
_KEY: Final = Field(1, "key", "string")


class Codec:
    """Reads and writes the messages of some files.

    Args:
        types: that are known.
    """

    def __init__(self, types: Types) -> None:
        self._types = types

    # -- bytes -> dictionary

    def decode(self, name: str, data: bytes | memoryview, where: str = "") -> dict[str, Any]:
        """What a message sets.

        Args:
            name: of the message.
            data: its bytes; views of them are given out.
            where: path of it in another one; empty = it is none's.

        Raises:
            InvalidError: damaged; `field` is the path of what is.
        """
        view = memoryview(data)
        return self._message(name, view, (0, len(view)), where, [MOST])

    def _message(
        self, name: str, view: memoryview, at: tuple[int, int], where: str, room: list[int]
    ) -> dict[str, Any]:
        """`room` is how many fields there may still be."""
        known = self._types.numbers[name]
        found: dict[str, Any] = {}
        chunks: dict[int, list[bytes | memoryview]] = {}
        for number, kind, start, stop in _scanned(view, at, where, room):
            field = known.get(number)
            if field is None:
                continue
            path = f"{where}.{field.name}" if where else field.name
            if field.label is Label.MANY and (field.kind in FIXED or self._is_varint(field.kind)):
                chunk = varint(start) if kind == VARINT else view[start:stop]
                if kind not in {LENGTH, self._wire(field.kind)}:
                    raise _other(path, kind)
                chunks.setdefault(number, []).append(chunk)
            elif field.label is Label.MANY:
                items = found.setdefault(field.name, [])
                own = f"{path}[{len(items)}]"
                items.append(self._one(field, view, (kind, start, stop), own, room))
            elif field.label is Label.MAP:
                key, value = self._entry(field, view, (kind, start, stop), path, room)
                found.setdefault(field.name, {})[key] = value
            else:
                for other in known.values() if field.oneof else ():
                    if other.oneof == field.oneof:
                        found.pop(other.name, None)
                found[field.name] = self._one(field, view, (kind, start, stop), path, room)
        for number, parts in chunks.items():
            field = known[number]
            path = f"{where}.{field.name}" if where else field.name
            raw = parts[0] if len(parts) == 1 else b"".join(parts)
            found[field.name] = unpack(self._scalar(field.kind), raw, path)
        return found

    def _one(  # noqa: PLR0911 - one a kind
        self,
        field: Field,
        view: memoryview,
        at: tuple[int, int, int],
        path: str,
        room: list[int],
    ) -> Any:
        wire, start, stop = at
        if wire != self._wire(field.kind):
            raise _other(path, wire)
        kind = field.kind
        if kind == "string":
            try:
                return str(view[start:stop], "utf-8")
            except UnicodeDecodeError:
                raise damaged(path, "it is no UTF-8 text") from None
        if kind == "bytes":
            return view[start:stop]
        if kind == "bool":
            return start != 0
        if kind in _BITS:
            bits = _BITS[kind]
            value = start & ((1 << bits) - 1)
            return value - (1 << bits) if kind[0] == "i" and value >> (bits - 1) else value
        if kind in _FLOATS:
            return _FLOATS[kind].unpack_from(view, start)[0]
        enum = self._types.enums.get(kind)
        if enum is not None:
            return enum.values[start] if start < len(enum.values) else str(start)
        return self._message(kind, view, (start, stop), path, room)

    def _entry(
        self,
        field: Field,
        view: memoryview,
        at: tuple[int, int, int],
        path: str,
        room: list[int],
    ) -> tuple[str, Any]:
        wire, start, stop = at
        if wire != LENGTH:
            raise _other(path, wire)
        key: str = ""
        value: Any = self._default(field.kind)
        own = Field(2, field.name, field.kind)
        for number, kind, first, last in _scanned(view, (start, stop), path, room):
            if number == 1:
                key = self._one(_KEY, view, (kind, first, last), f"{path}.key", room)
            elif number == own.number:
                value = self._one(own, view, (kind, first, last), f"{path}.{key}", room)
        return key, value

    def _default(self, kind: str) -> Any:
        if kind == "string":
            return ""
        return {} if kind in self._types.messages else 0

    # -- dictionary -> bytes

    def encode(self, name: str, values: Mapping[str, Any]) -> bytes:
        """The bytes of a message; keys that it has no field for are left out.

        Raises:
            InvalidError: an enum has no such name.
        """
        parts: list[bytes] = []
        for field in self._types.messages[name].fields:
            value = values.get(field.name)
            if value is None:
                continue
            if field.label is Label.MAP:
                for key, item in value.items():
                    entry = self._write(_KEY, key) + self._write(Field(2, "", field.kind), item)
                    parts += (tag(field.number, LENGTH), varint(len(entry)), entry)
            elif field.label is Label.MANY:
                if not len(value):
                    continue
                if field.kind in FIXED or self._is_varint(field.kind):
                    raw = pack(self._scalar(field.kind), value)
                    parts += (tag(field.number, LENGTH), varint(len(raw)), raw)
                else:
                    parts += (self._write(field, item) for item in value)
            elif field.oneof or field.kind in self._types.messages or not _default(value):
                parts.append(self._write(field, value))
        return b"".join(parts)

    def _write(self, field: Field, value: Any) -> bytes:
        kind = field.kind
        if kind in _FLOATS:
            return tag(field.number, _KINDS[kind]) + _FLOATS[kind].pack(value)
        enum = self._types.enums.get(kind)
        if enum is not None:
            if value not in enum.values:
                raise InvalidError(f"{kind} has no '{value}'", field=field.name)
            value = enum.values.index(value)
        elif kind not in VARINTS:
            data = self.encode(kind, value) if kind not in SCALARS else value
            data = data.encode() if isinstance(data, str) else bytes(data)
            return tag(field.number, LENGTH) + varint(len(data)) + data
        return tag(field.number, VARINT) + varint(int(value))

    # -- kinds

    def _wire(self, kind: str) -> int:
        if self._is_varint(kind):
            return VARINT
        return _KINDS.get(kind, LENGTH)

    def _is_varint(self, kind: str) -> bool:
        return kind in VARINTS or kind in self._types.enums

    def _scalar(self, kind: str) -> str:
        return kind if kind in SCALARS else "enum"


def _scanned(view: memoryview, at: tuple[int, int], where: str, room: list[int]) -> list[Found]:
    """The fields there, where there are not too many in all."""
    found = scan(view, *at, where)
    room[0] -= len(found)
    if room[0] < 0:
        raise too_many(where)
    return found


def _default(value: Any) -> bool:
    """Whether it need not be written; minus zero is none."""
    return value in {0, "", b""} and not (type(value) is float and copysign(1.0, value) < 0)


def _other(path: str, wire: int) -> InvalidError:
    return damaged(path, f"it has the wire type {wire}, which is another kind's")
