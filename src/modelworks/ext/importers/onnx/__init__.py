"""ONNX files: the format that is served, so nothing is converted, only checked.

Recognised by walking the top-level fields of the protobuf message, without the onnx library.
"""

from pathlib import Path
from typing import BinaryIO, ClassVar

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.only import only_file

ENDING, MODEL = ".onnx", "model.onnx"
# field of onnx.ModelProto -> wire type (0 = varint, 2 = length and bytes)
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_IR_VERSION, _GRAPH, _OPSET = 1, 7, 8
_MOST_FIELDS = 100_000


class OnnxImporter:
    """Reads `.onnx` files, and folders with one of them and its external data."""

    name: ClassVar[str] = "onnx"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"layout"})

    def sniff(self, path: Path) -> Sniffed | None:
        """100 for a whole ModelProto, 50 for a file that is only named like one."""
        try:
            file = only_file(path, ENDING, MODEL)
            if file is None:
                return None
            size = file.stat().st_size
            with file.open("rb") as stream:
                seen = _fields(stream, size)
        except OSError:
            return None
        if {_IR_VERSION, _GRAPH} <= seen:
            return Sniffed("onnx", 100 if _OPSET in seen else 80, runs_code=False)
        if file.suffix.lower() == ENDING:
            return Sniffed("onnx", 50, runs_code=False)
        return None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Check the graph and copy it, see `core.seams.Importer.read`."""
        from modelworks.ext.importers.onnx import check  # noqa: PLC0415 - imports the onnx library

        return check.read(path, into, options)


def _fields(stream: BinaryIO, size: int) -> set[int]:
    """Numbers of the top-level fields; empty where the bytes are no ModelProto of `size` bytes."""
    seen: set[int] = set()
    for _ in range(_MOST_FIELDS):
        if stream.tell() == size:
            return seen
        tag = _varint(stream)
        field, wire = tag >> 3, tag & 7
        if _FIELDS.get(field) != wire:
            return set()
        value = _varint(stream)
        if value < 0 or (field == _IR_VERSION and not 1 <= value <= 99):
            return set()
        if wire == 2:
            if stream.tell() + value > size:
                return set()
            stream.seek(value, 1)
        seen.add(field)
    return set()


def _varint(stream: BinaryIO) -> int:
    """A base-128 varint; -1 where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return -1
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return -1
