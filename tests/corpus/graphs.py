"""Hostile graphs and trees: ONNX, XGBoost, LightGBM; and folders that are no model."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from corpus.kinds import ANY, EITHER, Hostile, of_bytes
from modelworks.core.errors import CrashedError, InvalidError, UnsupportedError
from modelworks.sandbox.limits import Limits

GRAPH, TREES, FOLDERS = "ONNX graphs", "Tree files", "Folders and names"
_FLOAT = TensorProto.FLOAT
_BRIEF = Limits(cpu_seconds=20, wall_seconds=60)


def _model(nodes: list, initializers: list = (), **more: object) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", _FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", more.pop("kind", _FLOAT), more.pop("shape", [None, 3]))],
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


def _outside(location: str, **more: str) -> Callable[[Path, Path], Path]:
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
    made = _outside("linked.bin")(folder, canary)
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

    def outside(title: str, tries: str, says: str, *place: str, **more: str) -> Hostile:
        return Hostile(title, GRAPH, tries, _outside(*place, **more), says, error=EITHER)

    return (
        outside("onnx-parent", "weights in ../secret.bin", "outside of", "../secret.bin"),
        outside("onnx-absolute", "weights in /etc/hostname", "outside of", "/etc/hostname"),
        outside("onnx-backslash", r"weights in ..\secret.bin", "outside of", "..\\secret.bin"),
        outside("onnx-drive", "weights in C:/secret.bin", "outside of", "C:/secret.bin"),
        outside("onnx-inner-parent", "weights in a/../../secret.bin", "outside of",
                "a/../../secret.bin"),
        outside("onnx-fifo-name", "weights in the folder itself", r"missing|outside", "."),
        outside("onnx-long-offset", "weights behind the end of their file", "cut short",
                "weights.bin", offset="4096"),
        outside("onnx-negative-offset", "weights before the beginning", "offset",
                "weights.bin", offset="-4"),
        outside("onnx-negative-length", "weights of negative length", "length",
                "weights.bin", length="-1"),
        outside("onnx-no-number", "an offset that is no number", "", "weights.bin", offset="x"),
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
        _onnx("onnx-tree-feature", "a tree that asks for feature 2**31 - 1",
              lambda c: _tree(nodes_featureids=[2**31 - 1, 0, 0])),
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


def _booster() -> dict:
    import xgboost

    rows = np.random.default_rng(0).normal(size=(60, 3))
    booster = xgboost.train(
        {"max_depth": 2}, xgboost.DMatrix(rows, label=rows[:, 0]), num_boost_round=2
    )
    return json.loads(booster.save_raw("json"))


def _xgboost(change: Callable[[dict], None]) -> Callable[[Path], bytes]:
    def make(canary: Path) -> bytes:
        model = _booster()
        change(model)
        return json.dumps(model).encode()

    return make


def _first(**values: object) -> Callable[[dict], None]:
    """Change lists or parameters of the first tree."""

    def change(model: dict) -> None:
        tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
        for key, value in values.items():
            if key in tree["tree_param"]:
                tree["tree_param"][key] = value
            else:
                tree[key] = [value, *tree[key][1:]]

    return change


def _deep_json(canary: Path) -> bytes:
    return b'{"learner":{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}}"


def _giant_ubj(canary: Path) -> bytes:
    """A typed array of 2**60 numbers in UBJSON."""
    return (
        b"{L"
        + struct.pack(">q", 7)
        + b"learner{L"
        + struct.pack(">q", 1)
        + (b"a[$d#L" + struct.pack(">q", 1 << 60) + b"}}")
    )


def _lightgbm(*changes: tuple[str, str]) -> Callable[[Path], bytes]:
    def make(canary: Path) -> bytes:
        import re

        import lightgbm

        rows = np.random.default_rng(0).normal(size=(80, 3))
        model = lightgbm.LGBMRegressor(n_estimators=2, num_leaves=5, verbose=-1)
        text = model.fit(rows, rows[:, 0]).booster_.model_to_string()
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
            assert count, pattern
        return re.sub("^tree_sizes=.*\n", "", text, flags=re.MULTILINE).encode()

    return make


def _forest(
    title: str, tries: str, data: Callable[[Path], bytes], suffix: str, says: str = ""
) -> Hostile:
    needs = "lightgbm" if suffix == ".txt" else "xgboost"
    return Hostile(title, TREES, tries, of_bytes(f"{title}{suffix}", data), says,
                   error=(InvalidError, UnsupportedError), needs=needs)  # fmt: skip


def forests() -> tuple[Hostile, ...]:
    """Trees whose numbers lead nowhere, for parsers written in C++."""
    big = 2**31 - 2
    return (
        _forest("xgb-child", "a child that is not there",
                _xgboost(_first(left_children=999_999)), ".json"),
        _forest("xgb-cycle", "a tree that leads into itself",
                _xgboost(_first(left_children=0)), ".json"),
        _forest("xgb-negative-child", "a child before the first",
                _xgboost(_first(left_children=-5)), ".json"),
        _forest("xgb-feature", "a feature that is not there",
                _xgboost(_first(split_indices=big)), ".json"),
        _forest("xgb-nodes", "2**31 nodes announced",
                _xgboost(_first(num_nodes=str(big))), ".json"),
        _forest("xgb-deep", "JSON 200,000 deep", _deep_json, ".json"),
        _forest("xgb-ubj-giant", "2**60 numbers announced in UBJSON", _giant_ubj, ".ubj"),
        _forest("xgb-cut", "JSON cut in the middle",
                lambda c: json.dumps(_booster()).encode()[:1500], ".json"),
        _forest("lgb-child", "a child that is not there",
                _lightgbm((r"^left_child=\S+", "left_child=999999")), ".txt"),
        _forest("lgb-cycle", "a tree that leads into itself",
                _lightgbm((r"^left_child=\S+", "left_child=0"),
                          (r"^right_child=\S+", "right_child=0")), ".txt"),
        _forest("lgb-feature", "a feature that is not there",
                _lightgbm((r"^split_feature=\d+", f"split_feature={big}")), ".txt"),
        _forest("lgb-leaves", "2**31 leaves announced",
                _lightgbm((r"^num_leaves=\d+", f"num_leaves={big}")), ".txt"),
        _forest("lgb-negative-leaves", "fewer leaves than none",
                _lightgbm((r"^num_leaves=\d+", "num_leaves=-1")), ".txt"),
        _forest("lgb-features", "2**31 features announced",
                _lightgbm((r"^max_feature_idx=\d+", f"max_feature_idx={big}")), ".txt"),
        _forest("lgb-text-number", "a threshold that is no number",
                _lightgbm((r"^threshold=\S+", "threshold=__import__('os')")), ".txt"),
        _forest("lgb-cut", "cut in the middle",
                lambda c: _lightgbm()(c)[:700], ".txt"),
    )  # fmt: skip


def _fifo(folder: Path, canary: Path) -> Path:
    path = folder / "model.pkl"
    os.mkfifo(path)
    return path


def _fifo_inside(folder: Path, canary: Path) -> Path:
    made = _outside("weights.bin")(folder, canary)
    os.mkfifo(made / "pipe")
    return made


def _link(folder: Path, canary: Path) -> Path:
    (folder / "real.pkl").write_bytes(b"\x80\x04N.")
    path = folder / "model.pkl"
    path.symlink_to(folder / "real.pkl")
    return path


def _link_inside(folder: Path, canary: Path) -> Path:
    made = _outside("weights.bin")(folder, canary)
    (made / "linked").symlink_to("/etc")
    return made


def _device(folder: Path, canary: Path) -> Path:
    return Path("/dev/zero")


def _crowd(folder: Path, canary: Path) -> Path:
    made = folder / "model"
    made.mkdir()
    for number in range(10_050):
        (made / str(number)).touch()
    return made


def _named(file: str) -> Callable[[Path, Path], Path]:
    def make(folder: Path, canary: Path) -> Path:
        path = folder / file
        path.write_bytes(b"\x80\x04N.")
        return path

    return make


def folders() -> tuple[Hostile, ...]:
    """Things in a folder that are no files, and names that are no names."""

    def case(title: str, tries: str, make: Callable[[Path, Path], Path], says: str) -> Hostile:
        return Hostile(title, FOLDERS, tries, make, says, error=ANY)

    return (
        case("fifo", "a pipe that never ends to wait", _fifo, "neither a file nor a folder"),
        case("fifo-inside", "a pipe in the folder", _fifo_inside, "special files"),
        case("link", "a symbolic link", _link, "symbolic links"),
        case("link-inside", "a link in the folder", _link_inside, r"symbolic links|special files"),
        case("device", "a device without end", _device, "neither a file nor a folder"),
        case("crowd", "more than 10,000 files", _crowd, "more than 10000 files"),
        case("empty", "an empty file", _touch, "empty file"),
        case("name-with-newline", "a name of two lines", _named("a\nINFO: all is well.pkl"), ""),
        case("name-with-escape", "a name that colours the terminal", _named("\x1b[31mred.pkl"), ""),
    )


def _touch(folder: Path, canary: Path) -> Path:
    path = folder / "model.pkl"
    path.touch()
    return path
