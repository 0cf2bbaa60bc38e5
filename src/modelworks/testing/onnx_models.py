"""Small ONNX models with known answers, for tests of engines and servers. Needs `onnx`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from modelworks.core.tensor import Datatype

Shape = tuple[int | None, ...]
ELEMENTS = {
    Datatype.BOOL: TensorProto.BOOL,
    Datatype.UINT8: TensorProto.UINT8,
    Datatype.UINT16: TensorProto.UINT16,
    Datatype.UINT32: TensorProto.UINT32,
    Datatype.UINT64: TensorProto.UINT64,
    Datatype.INT8: TensorProto.INT8,
    Datatype.INT16: TensorProto.INT16,
    Datatype.INT32: TensorProto.INT32,
    Datatype.INT64: TensorProto.INT64,
    Datatype.FP16: TensorProto.FLOAT16,
    Datatype.FP32: TensorProto.FLOAT,
    Datatype.FP64: TensorProto.DOUBLE,
    Datatype.BF16: TensorProto.BFLOAT16,
    Datatype.BYTES: TensorProto.STRING,
}


def info(name: str, datatype: Datatype, shape: Shape) -> Any:
    """A graph's input or output; dynamic axes are called a0, a1, ..."""
    axes = [f"a{place}" if size is None else size for place, size in enumerate(shape)]
    return helper.make_tensor_value_info(name, ELEMENTS[datatype], axes)


def write(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: dict[str, Any] | None = None,
) -> Path:
    """Write a graph as a file; returns the path."""
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def identity(path: Path, datatype: Datatype = Datatype.FP32, shape: Shape = (None, 2)) -> Path:
    """`y = x`."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return write(path, [node], [info("x", datatype, shape)], [info("y", datatype, shape)])


def echo(path: Path, datatypes: Sequence[Datatype], shape: Shape = (None, 2)) -> Path:
    """`out_FP32 = in_FP32` and so on, all in one model."""
    nodes = [helper.make_node("Identity", [f"in_{d}"], [f"out_{d}"]) for d in datatypes]
    inputs = [info(f"in_{d}", d, shape) for d in datatypes]
    return write(path, nodes, inputs, [info(f"out_{d}", d, shape) for d in datatypes])


def double(path: Path, width: int | None = 3, factor: float = 2.0) -> Path:
    """`y = factor * x`, FP32 `[rows, width]`."""
    shape = (None, width)
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    constants = {"factor": np.float32(factor)}
    x, y = (info(name, Datatype.FP32, shape) for name in "xy")
    return write(path, [node], [x], [y], constants)


def look_up(path: Path, size: int = 100, factor: int = 10) -> Path:
    """`y = factor * x` for whole `x` below `size`; the engine fails on others. INT64 `[rows, 1]`.

    The table takes eight bytes times `size`, of the file and of memory.
    """
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    x, y = (info(name, Datatype.INT64, (None, 1)) for name in "xy")
    return write(path, [node], [x], [y], {"table": np.arange(size, dtype=np.int64) * factor})


def centre(path: Path) -> Path:
    """`y = x - mean of the batch`: its rows depend on each other, so it must not be batched."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    x, y = (info(name, Datatype.FP32, (None, 2)) for name in "xy")
    return write(path, nodes, [x], [y])


def total(path: Path) -> Path:
    """`y = sum of everything`, a scalar."""
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    x = info("x", Datatype.FP32, (None, 2))
    return write(path, [node], [x], [info("y", Datatype.FP32, ())])


def heavy(path: Path, layers: int = 8, width: int = 512) -> Path:
    """`[rows, width]` through so many square layers; milliseconds, and megabytes of weights."""
    generator = np.random.default_rng(0)
    nodes = []
    constants = {}
    name = "x"
    for layer in range(layers):
        weights = generator.normal(0, width**-0.5, (width, width)).astype(np.float32)
        constants[f"w{layer}"] = weights
        last = "y" if layer == layers - 1 else f"h{layer}"
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], [last]))
        name = last
    x, y = (info(name, Datatype.FP32, (None, width)) for name in "xy")
    return write(path, nodes, [x], [y], constants)


def transformer(
    path: Path, layers: int = 1, width: int = 8, *, masked: bool = True, axes: bool = True
) -> Path:
    """Token ids to vectors, by attention: `tokens` a token, `embedding` a text, `weights`.

    Args:
        path: of the file.
        layers: of attention and a matrix each.
        width: of the vectors.
        masked: tokens outside of the mask are not attended to; otherwise the mask is read in vain.
        axes: `tokens` and `weights`, which are as long as the text, are outputs too.
    """
    random = np.random.default_rng(5)
    node = helper.make_node
    constants: dict[str, Any] = {
        "table": random.normal(size=(100, width)).astype(np.float32),
        "one": np.float32(1),
        "far": np.float32(-1e9 if masked else 0),
        "root": np.float32(width**-0.5),
        "columns": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    nodes = [
        node("Gather", ["table", "input_ids"], ["h0"]),
        node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        node("Sub", ["one", "real"], ["unreal"]),
        node("Mul", ["unreal", "far"], ["flat"]),
        node("Unsqueeze", ["flat", "columns"], ["bias"]),
        node("Unsqueeze", ["real", "last"], ["wide"]),
    ]
    for i in range(layers):
        constants[f"m{i}"] = (random.normal(size=(width, width)) * width**-0.5).astype(np.float32)
        nodes += [
            node("MatMul", [f"h{i}", f"m{i}"], [f"q{i}"]),
            node("Transpose", [f"h{i}"], [f"k{i}"], perm=[0, 2, 1]),
            node("MatMul", [f"q{i}", f"k{i}"], [f"s{i}"]),
            node("Mul", [f"s{i}", "root"], [f"t{i}"]),
            node("Add", [f"t{i}", "bias"], [f"u{i}"]),
            node("Softmax", [f"u{i}"], [f"w{i}"], axis=-1),
            node("MatMul", [f"w{i}", f"h{i}"], [f"v{i}"]),
            node("Tanh", [f"v{i}"], [f"h{i + 1}"]),
        ]
    nodes += [
        node("Identity", [f"h{layers}"], ["tokens"]),
        node("Identity", [f"w{layers - 1}"], ["weights"]),
        node("Mul", ["tokens", "wide"], ["kept"]),
        node("ReduceSum", ["kept", "columns"], ["sum"], keepdims=0),
        node("ReduceSum", ["wide", "columns"], ["count"], keepdims=0),
        node("Div", ["sum", "count"], ["embedding"]),
    ]
    inputs = [info(n, Datatype.INT64, (None, None)) for n in ("input_ids", "attention_mask")]
    outputs = [info("embedding", Datatype.FP32, (None, width))]
    if axes:
        outputs += [
            info("tokens", Datatype.FP32, (None, None, width)),
            info("weights", Datatype.FP32, (None, None, None)),
        ]
    return write(path, nodes, inputs, outputs, constants)


def sequence(path: Path) -> Path:
    """Its output is a sequence of tensors, which no request can carry."""
    node = helper.make_node("SplitToSequence", ["x"], ["y"], axis=0)
    out = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    return write(path, [node], [info("x", Datatype.FP32, (None, 2))], [out])


def optional(path: Path) -> Path:
    """Its input may be absent."""
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    x = helper.make_value_info("x", kind)
    node = helper.make_node("OptionalGetElement", ["x"], ["y"])
    return write(path, [node], [x], [info("y", Datatype.FP32, (2,))])


def escaping(path: Path, location: str) -> Path:
    """Its weights are said to lie in the file `location`, outside the model's folder."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    x, y = (info(name, Datatype.FP32, (None, 2)) for name in "xy")
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def endless(path: Path, shape: Shape = (None, 3)) -> Path:
    """`y = x`, after a loop that never ends."""
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Identity", ["v"], ["w"]),
        ],
        "turn",
        [
            info("i", Datatype.INT64, ()),
            info("on", Datatype.BOOL, ()),
            info("v", Datatype.FP32, shape),
        ],
        [info("still", Datatype.BOOL, ()), info("w", Datatype.FP32, shape)],
    )
    node = helper.make_node("Loop", ["", "true", "x"], ["y"], body=turn)
    return write(
        path,
        [node],
        [info("x", Datatype.FP32, shape)],
        [info("y", Datatype.FP32, shape)],
        {"true": np.array(1, bool)},
    )


def counting(path: Path, steps: int, width: int = 3) -> Path:
    """`y = x + steps`, one by one: about two microseconds a step, whatever the rows."""
    shape = (None, width)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Add", ["v", "one"], ["w"]),
        ],
        "turn",
        [
            info("i", Datatype.INT64, ()),
            info("on", Datatype.BOOL, ()),
            info("v", Datatype.FP32, shape),
        ],
        [
            info("still", Datatype.BOOL, ()),
            info("w", Datatype.FP32, shape),
        ],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    node = helper.make_node("Loop", ["steps", "", "x"], ["y"], body=body)
    x, y = (info(name, Datatype.FP32, shape) for name in "xy")
    return write(path, [node], [x], [y], {"steps": np.int64(steps)})
