"""Hostile ONNX graphs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from corpus.kinds import EITHER, Hostile, of_bytes
from modelworks.core.errors import CrashedError, InvalidError, UnsupportedError
from modelworks.sandbox.limits import Limits

GRAPH = "ONNX graphs"
_FLOAT = TensorProto.FLOAT
_BRIEF = Limits(cpu_seconds=8, wall_seconds=60)


def _model(nodes: list, initializers: list = (), **more: object) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", _FLOAT, [None, 3])],
        [
            helper.make_tensor_value_info(
                "y", more.pop("kind", _FLOAT), more.pop("shape", [None, 3])
            )
        ],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 18), *more.pop("opsets", ())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, **more)


def _external(location: str, offset: str = "0", length: str = "12") -> bytes:
    tensor = TensorProto(name="w", data_type=_FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=text)
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString()


def outside(location: str, **more: str) -> Callable[[Path, Path], Path]:
    """A folder whose weights lie elsewhere; what is named exists."""

    def make(folder: Path, canary: Path) -> Path:
        (folder / "secret.bin").write_bytes(np.ones(3, np.float32).tobytes())
        inside = folder / "model"
        inside.mkdir()
        (inside / "weights.bin").write_bytes(np.ones(3, np.float32).tobytes())
        (inside / "model.onnx").write_bytes(_external(location, **more))
        return inside

    return make


def _linked(folder: Path, canary: Path) -> Path:
    made = outside("linked.bin")(folder, canary)
    (made / "linked.bin").symlink_to(folder / "secret.bin")
    return made


def _giant(canary: Path) -> bytes:
    tensor = TensorProto(name="w", data_type=_FLOAT, dims=[1 << 20, 1 << 20])
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString()


def _negative(canary: Path) -> bytes:
    tensor = TensorProto(name="w", data_type=_FLOAT, dims=[-3], raw_data=bytes(12))
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString()


def _short(canary: Path) -> bytes:
    tensor = TensorProto(name="w", data_type=_FLOAT, dims=[1000], raw_data=bytes(12))
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString()


def _grows(canary: Path) -> bytes:
    """A constant of 2**40 numbers, made when the model runs."""
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    return _model(nodes, [shape]).SerializeToString()


def _domain(canary: Path) -> bytes:
    node = helper.make_node("RunCommand", ["x"], ["y"], domain="evil.example", command="true")
    return _model([node], opsets=[helper.make_opsetid("evil.example", 1)]).SerializeToString()


def _operator(canary: Path) -> bytes:
    return _model([helper.make_node("NoSuchOperator", ["x"], ["y"])]).SerializeToString()


def _function(name: str, calls: str) -> onnx.FunctionProto:
    node = helper.make_node(calls, ["a"], ["b"], domain="local")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["a"], ["b"], [node], opsets)


def _recursion(canary: Path) -> bytes:
    node = helper.make_node("F", ["x"], ["y"], domain="local")
    functions = [_function("F", "G"), _function("G", "F")]
    opsets = [helper.make_opsetid("local", 1)]
    return _model([node], functions=functions, opsets=opsets).SerializeToString()


def _cycle(canary: Path) -> bytes:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    return _model(nodes).SerializeToString()


def _endless(canary: Path) -> bytes:
    """A loop of 2**60 turns."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["v"], ["w"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", _FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", _FLOAT, None),
        ],
    )
    turns = helper.make_tensor("n", TensorProto.INT64, [], [1 << 60])
    go = helper.make_tensor("t", TensorProto.BOOL, [], [True])
    node = helper.make_node("Loop", ["n", "t", "x"], ["y"], body=body)
    return _model([node], [turns, go]).SerializeToString()


def _deep(canary: Path) -> bytes:
    """If in If in If, 2,000 deep: protobuf within protobuf."""

    def field(number: int, data: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(data)) + data

    graph = b""
    for _ in range(2000):
        attribute = field(1, b"then_branch") + field(6, graph)
        node = field(4, b"If") + field(2, b"y") + field(5, attribute)
        graph = field(1, node) + field(2, b"g")
    return b"\x08\x09" + field(7, graph) + field(8, field(1, b"") + b"\x10\x12")


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _tree(**attributes: object) -> bytes:
    """A classifier of trees whose numbers are those given."""
    values = {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
        "target_weights": [1.0, 2.0], "n_targets": 1,
    }  # fmt: skip
    values |= attributes
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **values)
    opsets = [helper.make_opsetid("ai.onnx.ml", 3)]
    return _model([node], opsets=opsets).SerializeToString()


def _onnx(
    title: str, tries: str, data: Callable[[Path], bytes], says: str = "", **more: object
) -> Hostile:
    more.setdefault("error", (InvalidError, UnsupportedError, CrashedError))
    return Hostile(title, GRAPH, tries, of_bytes(f"{title}.onnx", data), says, **more)  # type: ignore[arg-type]


def graphs() -> tuple[Hostile, ...]:
    """What onnxruntime would be given."""

    def external(title: str, tries: str, says: str, *place: str, **more: str) -> Hostile:
        return Hostile(title, GRAPH, tries, outside(*place, **more), says, error=EITHER)

    return (
        external("onnx-parent", "weights in ../secret.bin", "outside of", "../secret.bin"),
        external("onnx-absolute", "weights in /etc/hostname", "outside of", "/etc/hostname"),
        external("onnx-backslash", r"weights in ..\secret.bin", "outside of", "..\\secret.bin"),
        external("onnx-drive", "weights in C:/secret.bin", "outside of", "C:/secret.bin"),
        external("onnx-inner-parent", "weights in a/../../secret.bin", "outside of",
                "a/../../secret.bin"),
        external("onnx-fifo-name", "weights in the folder itself", r"missing|outside", "."),
        external("onnx-long-offset", "weights behind the end of their file", "cut short",
                "weights.bin", offset="4096"),
        external("onnx-negative-offset", "weights before the beginning", "offset",
                "weights.bin", offset="-4"),
        external("onnx-negative-length", "weights of negative length", "length",
                "weights.bin", length="-1"),
        external("onnx-no-number", "an offset that is no number", "", "weights.bin", offset="x"),
        Hostile("onnx-link", GRAPH, "weights behind a symbolic link", _linked,
                r"special files|symbolic links"),
        _onnx("onnx-alone", "weights beside the file", lambda c: _external("weights.bin"),
              "import the folder"),
        _onnx("onnx-giant-tensor", "2**40 numbers in 100 bytes", _giant),
        _onnx("onnx-negative-shape", "a tensor of negative length", _negative),
        _onnx("onnx-short-tensor", "fewer numbers than announced", _short),
        _onnx("onnx-grows", "2**40 numbers when it runs", _grows),
        _onnx("onnx-foreign-operator", "an operator of a foreign domain", _domain, "evil.example"),
        _onnx("onnx-no-operator", "an operator that there is not", _operator, "NoSuchOperator"),
        _onnx("onnx-recursion", "functions that call each other", _recursion),
        _onnx("onnx-cycle", "a graph that leads into itself", _cycle),
        _onnx("onnx-endless", "a loop of 2**60 turns", _endless, "CPU time", limits=_BRIEF),
        _onnx("onnx-deep", "2,000 graphs in one another", _deep),
        _onnx("onnx-tree-child", "a tree whose child is not there",
              lambda c: _tree(nodes_truenodeids=[77, 0, 0])),
        _onnx("onnx-tree-cycle", "a tree that leads into itself",
              lambda c: _tree(nodes_modes=["BRANCH_LEQ"] * 3, nodes_truenodeids=[1, 0, 0],
                              nodes_falsenodeids=[2, 0, 0]), limits=_BRIEF),
        _onnx("onnx-tree-lengths", "a tree whose lists have different lengths",
              lambda c: _tree(nodes_values=[0.5])),
        _onnx("onnx-tree-target", "a tree that writes outside of its outputs",
              lambda c: _tree(target_ids=[0, 1_000_000])),
        *(
            _onnx(f"onnx-cut-{part}", f"the first {part} % of a model",
                  lambda c, part=part: _big()[: len(_big()) * part // 100])
            for part in (1, 25, 50, 75, 99)
        ),
    )  # fmt: skip


def _big() -> bytes:
    weights = helper.make_tensor("w", _FLOAT, [3, 4], list(range(12)))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    return _model(nodes, [weights]).SerializeToString()
