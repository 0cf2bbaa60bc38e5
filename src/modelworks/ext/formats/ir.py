"""OpenVINO IR: an XML file that names layers and where their weights lie in a file beside it.

Read here as a stream before OpenVINO sees it: nothing of XML that IR has no use for (document
types, entities) is let in, no layer that needs a library of its own, no weight outside of the file.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from modelworks.core.errors import InvalidError, RefusedError

MODEL, WEIGHTS = "model.xml", "model.bin"
_LARGEST_XML: Final = 512 << 20
_DEEPEST: Final = 256
_MOST_LAYERS: Final = 1_000_000
_LARGEST_TENSOR: Final = 2 << 30
_VERSIONS: Final = (10, 11)
_OPSET: Final = re.compile(r"opset\d{1,3}")
_CHUNK: Final = 1 << 20
# bits an element; what is not in this list has no fixed size
_BITS: Final = {
    "boolean": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "i4": 4, "i8": 8, "i16": 16,
    "i32": 32, "i64": 64, "u1": 1, "u2": 2, "u3": 3, "u4": 4, "u6": 6, "u8": 8, "u16": 16,
    "u32": 32, "u64": 64, "nf4": 4, "f4e2m1": 4, "f8e4m3": 8, "f8e5m2": 8, "f8e8m0": 8,
}  # fmt: skip
_PADDED: Final = {"u3", "u6"}  # packed in groups, so the bits do not add up
_PRECISIONS: Final = {"FP64": 8, "I64": 8, "U64": 8, "FP32": 4, "I32": 4, "U32": 4, "FP16": 2}


@dataclass(slots=True)
class Facts:
    """What a file says of itself.

    Attributes:
        version: of the IR.
        name: of the network.
        layers: their types, once each.
        weights: bytes that the weights' file must have; 0 = none needed.
        runtime: the OpenVINO that wrote it, as it says.
    """

    version: int = 0
    name: str = ""
    layers: set[str] = field(default_factory=set)
    weights: int = 0
    runtime: str = ""


def weights_of(file: Path) -> Path:
    """Where the weights of a `.xml` file lie."""
    return file.with_suffix(".bin")


def read(file: Path) -> Facts:
    """Check a file and the one beside it.

    Raises:
        InvalidError: no IR, damaged, cut short, or it contradicts itself.
        RefusedError: it has what IR has no use for, or needs code from outside.
    """
    try:
        if file.stat().st_size > _LARGEST_XML:
            raise RefusedError(f"{file.name} is longer than {_LARGEST_XML} bytes", field="file")
        facts = _parsed(file)
        beside = weights_of(file)
        if facts.weights and not beside.is_file():
            raise InvalidError(
                f"{file.name} keeps its weights in {beside.name}, which must lie beside it",
                field="file",
            )
        if facts.weights and beside.stat().st_size < facts.weights:
            raise InvalidError(
                f"{beside.name} is cut short: it has {beside.stat().st_size} bytes, and "
                f"{file.name} reads {facts.weights}",
                field="file",
            )
    except OSError as error:
        raise InvalidError(f"{file.name} cannot be read: {error.strerror}", field="file") from error
    return facts


def _parsed(file: Path) -> Facts:
    reader = _Reader(file.name)
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        with file.open("rb") as stream:
            while data := stream.read(_CHUNK):
                parser.Parse(data, False)  # noqa: FBT003 - expat's own
            parser.Parse(b"", True)  # noqa: FBT003 - expat's own
    except expat.ExpatError as error:
        raise InvalidError(
            f"{file.name} is no XML, or cut short: {expat.ErrorString(error.code)} in line "
            f"{error.lineno}",
            field="file",
        ) from error
    if not reader.facts.layers:
        raise InvalidError(f"{file.name} is no OpenVINO IR: it has no layers", field="file")
    return reader.facts


class _Reader:
    """Takes the elements one by one."""

    def __init__(self, name: str) -> None:
        self.facts = Facts()
        self._name = name
        self._path: list[str] = []
        self._layers = 0
        self._kind = ""
        self._port = 1  # bytes of the tensor that a port describes, so far
        self._dim = ""

    def doctype(self, *_: Any) -> None:
        raise RefusedError(
            f"{self._name} declares a document type (entities); OpenVINO's files have none",
            field="file",
        )

    def start(self, element: str, attributes: dict[str, str]) -> None:
        self._path.append(element)
        if len(self._path) > _DEEPEST:
            raise RefusedError(f"{self._name} is nested too deeply", field="file")
        if len(self._path) == 1:
            self._net(element, attributes)
        elif element == "layer":
            self._layer(attributes)
        elif element == "data" and self._kind == "Const" and self._path[-2] == "layer":
            self._const(attributes)
        elif element == "port":
            self._port = _PRECISIONS.get(attributes.get("precision", ""), 1)
        elif element == "Runtime_version" or attributes.get("name") == "OpenVINO Runtime":
            self.facts.runtime = " ".join(attributes.get("value", "")[:80].split())

    def text(self, content: str) -> None:
        """Some characters of what an element says."""
        if self._path[-1:] == ["dim"] and len(self._dim) < 32:
            self._dim += content[:32]

    def end(self, element: str) -> None:
        self._path.pop()
        length, self._dim = self._dim.strip(), ""
        if element != "dim" or not length.lstrip("-").isdecimal():
            return
        self._port *= max(int(length), 1)
        if self._port > _LARGEST_TENSOR:
            raise RefusedError(
                f"{self._name}: a tensor of layer {self._layers} needs more than "
                f"{_LARGEST_TENSOR} bytes",
                field="file",
            )

    def _net(self, element: str, attributes: dict[str, str]) -> None:
        if element != "net":
            raise InvalidError(
                f"{self._name} is no OpenVINO IR: its root is <{element[:40]}>", field="file"
            )
        version = attributes.get("version", "")
        if not version.isdecimal() or int(version[:4]) not in _VERSIONS:
            raise InvalidError(
                f"{self._name} is IR version {version[:8] or 'unknown'}; 10 and 11 are read here: "
                "convert the model again with an OpenVINO of 2020.1 or newer",
                field="file",
            )
        self.facts.version = int(version)
        self.facts.name = " ".join(attributes.get("name", "")[:80].split())

    def _layer(self, attributes: dict[str, str]) -> None:
        self._layers += 1
        if self._layers > _MOST_LAYERS:
            raise RefusedError(f"{self._name} has too many layers", field="file")
        self._kind = attributes.get("type", "")
        opset = attributes.get("version", "")
        if not _OPSET.fullmatch(opset):
            raise RefusedError(
                f"{self._name}: the layer '{attributes.get('name', '')[:60]}' is of the type "
                f"{self._kind[:40]} of '{opset[:40]}', which is no set of OpenVINO's own: it needs "
                "a library, and that is code",
                field="file",
            )
        self.facts.layers.add(self._kind[:80])

    def _const(self, attributes: dict[str, str]) -> None:
        try:
            offset, size = int(attributes["offset"]), int(attributes["size"])
            shape = [int(n) for n in attributes.get("shape", "").split(",") if n.strip()]
        except (KeyError, ValueError) as error:
            raise InvalidError(
                f"{self._name}: layer {self._layers} does not say where its weights lie",
                field="file",
            ) from error
        if offset < 0 or size < 0 or any(n < 0 for n in shape):
            raise InvalidError(
                f"{self._name}: layer {self._layers} has negative sizes", field="file"
            )
        kind = attributes.get("element_type", "")
        bits = _BITS.get(kind)
        wanted = -(-math.prod(shape) * bits // 8) if bits and kind not in _PADDED else size
        if size < wanted:
            raise InvalidError(
                f"{self._name}: layer {self._layers} has {size} bytes of weights, not {wanted}",
                field="file",
            )
        self.facts.weights = max(self.facts.weights, offset + size)
