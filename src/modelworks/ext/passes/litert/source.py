"""An ONNX graph with everything known that LiteRT wants fixed: constants, shapes, kinds.

Nothing is inferred: the graph is run twice by ONNX Runtime, with two numbers of rows and every
tensor as an output. What does not depend on the inputs is a constant, whatever computed it; an axis
that follows the number of rows is free, every other one is fixed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import inliner, numpy_helper

from modelworks.core.errors import CrashedError, UnsupportedError
from modelworks.core.tensor import Signature
from modelworks.ext.formats.onnx_model import short
from modelworks.ext.formats.tflite_write import Shape
from modelworks.ext.passes.litert.gelu import fused
from modelworks.protocol.tensors import DTYPES

_ROWS: Final = (2, 3)  # one row would hide what is stretched along it
_MOST_ELEMENTS: Final = 50_000_000  # of an input
_QUIET: Final = 4
_DRAWN: Final = ("Random", "Multinomial", "Bernoulli")
_ONNX: Final = {"", "ai.onnx"}
BATCH: Final = "only the first axis may be free"


@dataclass(frozen=True, slots=True)
class Source:
    """What is converted.

    Attributes:
        nodes: that depend on the inputs, in their order.
        constants: by name.
        shapes: of tensors that depend on the inputs; one is missing where its rows are not the
            caller's rows.
        kinds: of the elements of every tensor.
        inputs: names, in the graph's order.
        outputs: the same.
        opset: version of ONNX's own operators.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Any]
    shapes: dict[str, Shape]
    kinds: dict[str, np.dtype[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes; texts as `str`."""
    found = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return {
        name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()
    }


def key(node: onnx.NodeProto) -> str:
    """A node's operator, with its domain where that is not ONNX's own."""
    return node.op_type if node.domain in _ONNX else f"{node.domain}.{node.op_type}"


def computed(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, ...]:
    """The nodes between inputs and outputs; shapes of inputs are no values."""
    fixed = {one.name for one in graph.initializer} | {""}
    left = []
    for node in graph.node:
        drawn = node.op_type.startswith(_DRAWN)
        if node.op_type == "Shape" or (not drawn and fixed.issuperset(node.input)):
            fixed.update(node.output)
        else:
            left.append(node)
    needed, used = {one.name for one in graph.output}, []
    for node in reversed(left):
        if needed.intersection(node.output):
            needed.update(node.input)
            used.append(node)
    return tuple(reversed(used))


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same without functions of its own, and with a Gelu for what is one."""
    return fused(inliner.inline_local_functions(model) if model.functions else model)


def read(model: onnx.ModelProto, signature: Signature, threads: int) -> Source:
    """Look at a graph.

    Args:
        model: with its weights; not changed.
        signature: its own.
        threads: to run it with.

    Raises:
        UnsupportedError: an input has other free axes than the first.
        CrashedError: ONNX Runtime cannot run it.
    """
    model = inlined(model)
    graph = model.graph
    first, second = (_run(model, signature, rows, threads) for rows in _ROWS)
    nodes = computed(graph)
    moving = {name for node in nodes for name in node.output}
    moving.update(spec.name for spec in signature.inputs)
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    shapes: dict[str, Shape] = {}
    kinds: dict[str, np.dtype[Any]] = {}
    free = all(spec.shape[:1] == (None,) for spec in signature.inputs)
    for name, one in first.items():
        other = second[name]
        kinds[name] = np.dtype(object) if one.dtype.kind in "OSU" else one.dtype
        if name not in moving:
            if one.shape == other.shape and np.array_equal(one, other):
                constants[name] = one
        elif (shape := _shape(one.shape, other.shape, free=free)) is not None:
            shapes[name] = shape
    kinds.update({name: array.dtype for name, array in constants.items()})
    return Source(
        nodes,
        constants,
        shapes,
        kinds,
        tuple(spec.name for spec in signature.inputs),
        tuple(one.name for one in graph.output),
        max(
            (one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), default=1
        ),
    )


def _shape(one: tuple[int, ...], other: tuple[int, ...], *, free: bool) -> Shape | None:
    """None where the first axis is not the rows, or another one is free."""
    if not free:
        return one if one == other else None
    if (one[:1], other[:1]) != ((_ROWS[0],), (_ROWS[1],)) or one[1:] != other[1:]:
        return None
    return (None, *one[1:])


def _run(model: onnx.ModelProto, signature: Signature, rows: int, threads: int) -> dict[str, Any]:
    """Every tensor of a run on zeros: name -> array; the inputs themselves too."""
    inputs = {spec.name: _zeros(spec.name, spec.datatype, spec.shape, rows)
              for spec in signature.inputs}  # fmt: skip
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    names = list(_outputs(model.graph.node))
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(
            shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(names, inputs)
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime has no base of its own
        raise CrashedError(f"ONNX Runtime cannot run the model: {short(error)}") from error
    return inputs | {name: np.asarray(array) for name, array in zip(names, found, strict=True)}


def _outputs(nodes: Iterable[onnx.NodeProto]) -> Iterable[str]:
    return (name for node in nodes for name in node.output if name)


def _zeros(name: str, datatype: Any, shape: Shape, rows: int) -> Any:
    if None in shape[1:]:
        raise UnsupportedError(f"input '{name}' has the shape {list(shape)}; {BATCH}")
    lengths = tuple(rows if size is None else size for size in shape)
    if math.prod(lengths) > _MOST_ELEMENTS:
        raise UnsupportedError(f"input '{name}' is too large to try: {list(lengths)}")
    return np.zeros(lengths, DTYPES[datatype])
