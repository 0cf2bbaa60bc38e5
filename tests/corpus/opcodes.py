"""Writes pickles opcode by opcode, so that files can say what no pickler would write."""

import pickle
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Ops:
    """Opcodes that leave one object on the stack."""

    data: bytes

    def __call__(self, *arguments: object) -> "Ops":
        """REDUCE with these arguments."""
        return Ops(self.data + value(arguments).data + pickle.REDUCE)

    def built(self, state: object) -> "Ops":
        """BUILD with this state."""
        return Ops(self.data + value(state).data + pickle.BUILD)

    def with_items(self, items: dict) -> "Ops":
        """SETITEMS."""
        inside = b"".join(value(part).data for item in items.items() for part in item)
        return Ops(self.data + pickle.MARK + inside + pickle.SETITEMS)


def value(thing: object) -> Ops:
    """A plain value, or opcodes as they are."""
    if isinstance(thing, Ops):
        return thing
    if isinstance(thing, tuple):
        inside = b"".join(value(part).data for part in thing)
        return Ops(pickle.MARK + inside + pickle.TUPLE)
    if isinstance(thing, list):
        inside = b"".join(value(part).data for part in thing)
        return Ops(pickle.EMPTY_LIST + pickle.MARK + inside + pickle.APPENDS)
    if isinstance(thing, dict):
        inside = b"".join(value(part).data for item in thing.items() for part in item)
        return Ops(pickle.EMPTY_DICT + pickle.MARK + inside + pickle.SETITEMS)
    if isinstance(thing, str):
        data = thing.encode()
        return Ops(pickle.BINUNICODE + struct.pack("<I", len(data)) + data)
    data = pickle.dumps(thing, 3)
    return Ops(data[2:-1])


def name(module: str, attribute: str) -> Ops:
    """STACK_GLOBAL."""
    return Ops(value(module).data + value(attribute).data + pickle.STACK_GLOBAL)


def old_name(module: str, attribute: str) -> Ops:
    """GLOBAL, as protocols 0 to 3 write it."""
    return Ops(f"c{module}\n{attribute}\n".encode())


def whole(thing: object, protocol: int = 4) -> bytes:
    """A pickle file."""
    head = pickle.PROTO + bytes([protocol]) if protocol > 1 else b""
    return head + value(thing).data + pickle.STOP
