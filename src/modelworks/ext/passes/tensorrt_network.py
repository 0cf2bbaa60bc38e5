"""What TensorRT will say to a graph, as far as that can be known without a GPU."""

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from modelworks.core import digest
from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.formats.onnx_model import MODEL

RTX: Final = "tensorrt_rtx"
_SETS: Final = {"", "ai.onnx"}
_DATATYPES: Final = frozenset(
    {Datatype.FP32, Datatype.FP16, Datatype.BF16, Datatype.INT64, Datatype.INT32}
    | {Datatype.INT8, Datatype.UINT8, Datatype.BOOL}
)
_UNSIGNED: Final = onnx.TensorProto.UINT8
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes of one input that an engine is built for.

    Attributes:
        name: of the input.
        least: smallest.
        often: that it is tuned for.
        most: largest.
    """

    name: str
    least: tuple[int, ...]
    often: tuple[int, ...]
    most: tuple[int, ...]


def profiles(
    inputs: Sequence[TensorSpec], rows: int, shortest: int, longest: int
) -> tuple[Profile, ...]:
    """One for every input: its first free axis is the rows, the others are lengths.

    Args:
        inputs: of the bare model.
        rows: most of a call; an engine is tuned for a quarter of them.
        shortest: length of the other free axes.
        longest: the same; an engine is tuned for half of it.
    """
    lengths = (shortest, max(shortest, longest // 2), max(shortest, longest))
    counts = (1, max(1, rows // 4), rows)
    found = []
    for spec in inputs:
        shapes = [
            tuple(
                size if size is not None else (counts if axis == 0 else lengths)[which]
                for axis, size in enumerate(spec.shape)
            )
            for which in range(3)
        ]
        found.append(Profile(spec.name, *shapes))
    return tuple(found)


def refused(graph: Any, specs: Sequence[TensorSpec]) -> str:
    """What TensorRT is known not to take; empty = nothing of that is there."""
    for spec in specs:
        if spec.datatype not in _DATATYPES:
            return f"'{spec.name[:60]}' is {spec.datatype}, which TensorRT does not take"
    for node in graph.node:
        if node.domain not in _SETS:
            return f"TensorRT has no {node.op_type} of {node.domain}"
    return _refused_rounding(graph)


def _refused_rounding(graph: Any) -> str:
    """TensorRT takes symmetric int8 alone: no zero point but 0, no bias of 32 bits."""
    cure = "quantize it symmetrically, with biases in float"
    constants = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        first = constants.get(node.input[0])
        if first is not None and first.data_type == onnx.TensorProto.INT32:
            return f"'{first.name[:60]}' is a bias of 32 bits, which TensorRT refuses; {cure}"
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None:
            continue
        odd = zero.data_type == _UNSIGNED or onnx.numpy_helper.to_array(zero).any()
        if odd:
            return (
                f"{node.op_type} '{node.name[:60]}' is asymmetric, which TensorRT refuses; {cure}"
            )
    return ""


def built(folder: Path, given: Sequence[Profile], name: str) -> dict[str, Any] | None:
    """Let TensorRT-RTX parse and serialise the graph, which needs no GPU.

    Args:
        folder: with the graph.
        given: shapes to build for.
        name: of the pass, for messages.

    Returns:
        What was proved; None where TensorRT-RTX is not installed.

    Raises:
        UnsupportedError: it refuses the graph.
    """
    if importlib.util.find_spec(RTX) is None:
        return None
    trt = importlib.import_module(RTX)
    said = _recorder(trt)
    builder = trt.Builder(said)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, said)
    if not parser.parse_from_file(str(folder / MODEL)):
        words = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise UnsupportedError(f"{name}: TensorRT-RTX refuses the graph: {_line(words)}")
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    shapes = builder.create_optimization_profile()
    for one in given:
        shapes.set_shape(one.name, one.least, one.often, one.most)
    config.add_optimization_profile(shapes)
    data = builder.build_serialized_network(network, config)
    if data is None:
        words = said.words[-1] if said.words else "no reason given"
        raise UnsupportedError(f"{name}: TensorRT-RTX cannot build the graph: {_line(words)}")
    raw = bytes(data)
    return {
        "by": f"tensorrt-rtx {trt.__version__}",
        "for": "compute capability 8.9",
        "bytes": len(raw),
        "digest": digest.of_bytes(raw),
    }


def _recorder(trt: Any) -> Any:
    """A logger that keeps the last errors and prints nothing."""

    class Recorder(trt.ILogger):  # type: ignore[misc] # no types
        def __init__(self) -> None:
            super().__init__()
            self.words: list[str] = []

        def log(self, severity: Any, words: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.words = [*self.words[-8:], words]

    return Recorder()


def _line(words: str) -> str:
    text = " ".join(str(words)[: _LONGEST * 4].split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
