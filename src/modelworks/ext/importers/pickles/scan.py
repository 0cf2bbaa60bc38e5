"""Finds what a pickle names, without executing it: for sniffing and for the scan evidence.

A scan never decides whether a file is safe: the allow-list of `load` does.
"""

import io
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelworks.core.errors import ModelworksError
from modelworks.ext.importers.pickles.stream import MIB, Stream

_OPCODES = 200_000
_STRINGS = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING"}
    | {"SHORT_BINSTRING"}
)
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_HELPERS = ("copyreg.", "copy_reg.", "joblib.", "builtins.", "__builtin__.", "collections.")


@dataclass(frozen=True, slots=True)
class Scan:
    """What the head of a pickle names.

    Attributes:
        globals: `module.name`, in order of first appearance.
        joblib: whether arrays stand between the opcodes, as joblib writes them.
        compression: how the file is packed; "" = not at all.
        complete: whether the end of the pickle was reached; joblib's arrays stop a scan.
    """

    globals: tuple[str, ...] = ()
    joblib: bool = False
    compression: str = ""
    complete: bool = False

    @property
    def root(self) -> str:
        """The first global that is no helper: as a rule, the class of the pickled object."""
        return next((name for name in self.globals if not name.startswith(_HELPERS)), "")

    @property
    def writer(self) -> str:
        """`joblib` or `pickle`: plain pickles have neither raw arrays nor compression."""
        return "joblib" if self.joblib or self.compression else "pickle"


def scan(path: Path, limit: int = MIB) -> Scan:
    """Read at most `limit` bytes (inflated) of a pickle's opcodes. Never raises, never executes."""
    try:
        with Stream(path, limit) as stream:
            head = stream.read(2)
            if not head or (head[:1] == b"\x80" and head[1:] > b"\x05"):
                return Scan()
            data = head + _all(stream)
            packed = stream.compression
    except (OSError, ModelworksError, MemoryError):
        return Scan()
    found, complete = _walk(data)
    return Scan(tuple(found), any(n.startswith("joblib.") for n in found), packed, complete)


def globals_in(path: Path, limit: int = MIB) -> tuple[str, ...]:
    """`module.name` of every global that the first `limit` bytes of a pickle name."""
    return scan(path, limit).globals


def names_in(data: bytes) -> tuple[str, ...]:
    """`module.name` of every global in the opcodes of an uncompressed pickle."""
    return tuple(_walk(data)[0])


def _all(stream: Stream) -> bytes:
    """What can be read, up to the damage if there is any."""
    pieces = []
    try:
        while piece := stream.read(64 * 1024):
            pieces.append(piece)
    except ModelworksError:
        pass
    return b"".join(pieces)


def _walk(data: bytes) -> tuple[dict[str, None], bool]:
    """Globals in order, and whether STOP was reached."""
    walker = _Walker()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count > _OPCODES:
                return walker.found, False
            walker.step(opcode.name, argument)
    except Exception:  # noqa: BLE001 - whatever breaks the parser, the scan ends there
        return walker.found, False
    return walker.found, True


class _Walker:
    """Follows strings through the stack's top and the memo, as far as names need it."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self._memo: dict[int, str | None] = {}
        self._before: str | None = None  # the last two things pushed; None = no string
        self._top: str | None = None

    def step(self, opcode: str, argument: Any) -> None:
        """One opcode."""
        if opcode == "MEMOIZE":
            self._memo[len(self._memo)] = self._top
        elif opcode in _PUTS:
            self._memo[argument] = self._top
        elif opcode in _GETS:
            self._push(self._memo.get(argument))
        elif opcode in _STRINGS:
            self._push(argument)
        elif opcode not in {"FRAME", "PROTO"}:
            if opcode in {"GLOBAL", "INST"}:
                self.found[argument.replace(" ", ".", 1)] = None
            elif opcode == "STACK_GLOBAL":
                self.found[f"{self._before or '?'}.{self._top or '?'}"] = None
            self._push(None)

    def _push(self, value: str | None) -> None:
        self._before, self._top = self._top, value
