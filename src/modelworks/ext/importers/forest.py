"""Writes boosted trees as ONNX: one tree-ensemble node, one link, one signature.

The importers of tree libraries fill a `Forest` from the library's own model format and say with a
`Task` what the sum of the leaves means. Nothing is guessed from a library's Python objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Ranges
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.ext.formats.onnx_types import ELEMENTS

_IR, _OPSET, _ML_OPSET = 8, 17, 3
_ML = "ai.onnx.ml"
_ZERO = 1e-35  # LightGBM: what is smaller counts as zero
_NUDGE = -1e-30  # vanishes in any float32 sum with a real leaf
MAX_NODES = 20_000_000

Label = str | int | float | bool


class Link(StrEnum):
    """How a sum of leaves becomes a score."""

    IDENTITY = "identity"
    EXP = "exp"
    SIGMOID = "sigmoid"
    SOFTPLUS = "softplus"
    SIGNED_SQUARE = "signed square"


class Kind(StrEnum):
    """What is predicted."""

    BINARY = "binary"  # label and two probabilities, from one sum through the logistic function
    SOFTMAX = "softmax"  # label and probabilities, from one sum a class
    ONE_VS_ALL = "one against all"  # the same, each class through its own logistic function
    SCORE = "score"  # one or more numbers


@dataclass(frozen=True, slots=True)
class Task:
    """What the sums mean.

    Attributes:
        kind: of prediction.
        base: added to the sum, one a target.
        classes: labels, for the kinds that have any.
        link: for scores.
        raw: whether `probabilities` holds the sums instead, as a decision function has them: for
            two classes the sum with and without a minus.
    """

    kind: Kind
    base: tuple[float, ...]
    classes: tuple[Label, ...] = ()
    link: Link = Link.IDENTITY
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """What goes in.

    Attributes:
        width: number of features.
        names: theirs; empty = the model never knew any.
        layout: matrix, or one input a name.
        double: whether thresholds need float64 inputs to be told apart.
        missing: a value that stands for "missing" besides NaN.
        zero_missing: by feature: whether zero counts as missing.
        categorical: by feature: whether it is a category code, of which the fraction is cut off.
        toward_zero: how: -0.5 becomes 0 (or else -1, which is no category).
    """

    width: int
    names: tuple[str, ...] = ()
    layout: Layout = Layout.MATRIX
    double: bool = False
    missing: float | None = None
    zero_missing: tuple[bool, ...] = ()
    categorical: tuple[bool, ...] = ()
    toward_zero: bool = False

    def __post_init__(self) -> None:
        if self.layout is Layout.TENSORS:
            raise InvalidError("trees take one matrix or named columns", field="layout")
        if self.layout is Layout.COLUMNS and not self.names:
            raise InvalidError(
                "the model knows no feature names, so its input is one matrix", field="layout"
            )
        if self.width < 1 or (self.names and len(self.names) != self.width):
            raise InvalidError(f"{len(self.names)} feature names for {self.width} features")
        if len(set(self.names)) < len(self.names):
            raise InvalidError("two features have one name")


@dataclass(slots=True)
class Forest:
    """Nodes of all trees in flat lists, as ONNX wants them."""

    targets: int
    trees: int = 0
    splits: dict[str, list[Any]] = field(
        default_factory=lambda: {
            "treeids": [], "nodeids": [], "featureids": [], "modes": [], "values": [],
            "truenodeids": [], "falsenodeids": [], "missing_value_tracks_true": [],
        }
    )  # fmt: skip
    leaves: dict[str, list[Any]] = field(
        default_factory=lambda: {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    )

    def split(
        self, node: int, feature: int, mode: str, value: float, yes: int, no: int, *, missing: bool
    ) -> None:
        """A split of the present tree: `yes` where `x mode value`, NaN goes there if `missing`."""
        row = (self.trees, node, feature, mode, value, yes, no, int(missing))
        for column, item in zip(self.splits.values(), row, strict=True):
            column.append(item)
        if len(self.splits["treeids"]) > MAX_NODES:
            raise UnsupportedError(f"more than {MAX_NODES} nodes")

    def members(
        self,
        node: int,
        feature: int,
        values: Sequence[int],
        yes: int,
        no: int,
        spare: int,
        *,
        missing: bool,
    ) -> int:
        """`x in values` as a chain of equalities that share `yes`; ids from `spare` on are free.

        Returns:
            The next free id.
        """
        for position, value in enumerate(values):
            last = position == len(values) - 1
            self.split(
                node, feature, "BRANCH_EQ", value, yes, no if last else spare, missing=missing
            )
            node, spare = spare, spare + (0 if last else 1)
        return spare

    def leaf(self, node: int, target: int, weight: float) -> None:
        """A leaf of the present tree."""
        self.split(node, 0, "LEAF", 0.0, 0, 0, missing=False)
        for column, item in zip(
            self.leaves.values(), (self.trees, node, target, weight), strict=True
        ):
            column.append(item)

    def end_tree(self) -> None:
        """The next node begins the next tree."""
        self.trees += 1


@dataclass(frozen=True, slots=True)
class Step:
    """A fitted wrapper inside a pipeline, whose features are positions.

    Attributes:
        forest: its trees.
        task: what their sums mean.
        columns: one matrix.
        ranges: of training values, one a feature.
    """

    forest: Forest
    task: Task
    columns: Columns
    ranges: tuple[Ranges, ...]


def at_most(value: float) -> float:
    """The largest float32 that is `<= value`: `x <= value` stays true for the same float32 x."""
    single = np.float32(value)
    if float(single) > value:  # as float64: numpy would compare in float32
        single = np.nextafter(single, np.float32(-np.inf), dtype=np.float32)
    return float(single)


def write(forest: Forest, task: Task, columns: Columns, path: Path) -> Signature:
    """Write the model to `path`; the same forest gives the same bytes.

    Returns:
        Its signature, as `build` has it.
    """
    model, signature = build(forest, task, columns)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return signature


def build(forest: Forest, task: Task, columns: Columns) -> tuple[onnx.ModelProto, Signature]:
    """The model in memory.

    Returns:
        It, and its signature. Outputs are `label` and `probabilities`, or `score` of shape
        [rows, targets].
    """
    graph = _Graph()
    inputs, ready = _inputs(graph, columns)
    outputs = _outputs(graph, _Trees(forest, task.base, columns.double, ready), task)
    dtype = TensorProto.DOUBLE if columns.double else TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "forest",
            [
                helper.make_tensor_value_info(spec.name, dtype, ["rows", *spec.shape[1:]])
                for spec in inputs
            ],
            [
                helper.make_tensor_value_info(spec.name, ELEMENTS[spec.datatype], _shape(spec))
                for spec in outputs
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_ML, _ML_OPSET)],
        ir_version=_IR,
        producer_name="modelworks",
    )
    onnx.checker.check_model(model)
    return model, Signature(inputs, outputs, columns.layout, columns.names, task.classes)


def _shape(spec: TensorSpec) -> list[str | int | None]:
    return ["rows", *spec.shape[1:]]


class _Graph:
    """Nodes and constants in order."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _inputs(graph: _Graph, columns: Columns) -> tuple[tuple[TensorSpec, ...], str]:
    """The inputs, and the matrix made from them, with NaN wherever a value is missing."""
    datatype = Datatype.FP64 if columns.double else Datatype.FP32
    real = np.float64 if columns.double else np.float32
    if columns.layout is Layout.MATRIX:
        specs: tuple[TensorSpec, ...] = (TensorSpec("X", datatype, (None, columns.width)),)
        name = "X"
    else:
        specs = tuple(TensorSpec(name, datatype, (None, 1)) for name in columns.names)
        name = graph.node("Concat", columns.names, "columns.joined", axis=1)
    nan = graph.constant("nan", real(np.nan)) if columns.missing is not None else ""
    if columns.missing is not None:
        marker = graph.constant("missing.value", real(columns.missing))
        hit = graph.node("Equal", [name, marker], "missing.hit")
        name = graph.node("Where", [hit, nan, name], "missing.gone")
    if any(columns.zero_missing):
        nan = nan or graph.constant("nan", real(np.nan))
        size = graph.node("Abs", [name], "zero.size")
        small = graph.node(
            "LessOrEqual", [size, graph.constant("zero.limit", real(_ZERO))], "zero.small"
        )
        mask = graph.constant("zero.columns", np.array(columns.zero_missing, bool))
        hit = graph.node("And", [small, mask], "zero.hit")
        name = graph.node("Where", [hit, nan, name], "zero.gone")
    if any(columns.categorical):
        name = _whole(graph, name, columns)
    return specs, name


def _whole(graph: _Graph, name: str, columns: Columns) -> str:
    """Category codes without their fractions, as the libraries cast them to integers."""
    if columns.toward_zero:
        size = graph.node("Floor", [graph.node("Abs", [name], "code.abs")], "code.size")
        code = graph.node("Mul", [graph.node("Sign", [name], "code.sign"), size], "code")
    else:
        code = graph.node("Floor", [name], "code")
    mask = graph.constant("code.columns", np.array(columns.categorical, bool))
    return graph.node("Where", [mask, code, name], "code.whole")


@dataclass(frozen=True, slots=True)
class _Trees:
    """What one tree-ensemble node is made of."""

    forest: Forest
    base: tuple[float, ...]
    double: bool
    ready: str

    def ensemble(self, graph: _Graph, outputs: list[str], **attributes: Any) -> None:
        """Add the node; two outputs make it a classifier."""
        prefix = "class_" if len(outputs) == 2 else "target_"
        splits = {f"nodes_{key}": column for key, column in self.forest.splits.items()}
        leaves = {f"{prefix}{key}": column for key, column in self.forest.leaves.items()}
        attributes |= splits | leaves
        if any(self.base):
            attributes["base_values"] = list(self.base)
        if self.double:
            for key in {"nodes_values", f"{prefix}weights", "base_values"} & attributes.keys():
                column = np.array(attributes.pop(key), np.float64)
                attributes[f"{key}_as_tensor"] = numpy_helper.from_array(column, key)
        if len(outputs) == 1:
            attributes["n_targets"] = self.forest.targets
        operator = "TreeEnsembleClassifier" if len(outputs) == 2 else "TreeEnsembleRegressor"
        graph.nodes.append(
            helper.make_node(operator, [self.ready], outputs, domain=_ML, **attributes)
        )


def _outputs(graph: _Graph, trees: _Trees, task: Task) -> tuple[TensorSpec, ...]:
    if task.kind is Kind.SCORE:
        return _score(graph, trees, task)
    label = TensorSpec("label", _label_type(task.classes), (None,), Role.LABEL)
    probabilities = TensorSpec(
        "probabilities", Datatype.FP32, (None, len(task.classes)), Role.PROBABILITIES
    )
    if task.kind is Kind.ONE_VS_ALL:
        trees.ensemble(graph, ["sums"])
        graph.node("Identity" if task.raw else "Sigmoid", ["sums"], "probabilities")
        best = graph.node("ArgMax", ["probabilities"], "best", axis=1, keepdims=0)
        graph.node("Gather", [graph.constant("classes", _labels(task.classes)), best], "label")
        return label, probabilities
    binary = task.kind is Kind.BINARY
    if binary and min(trees.forest.leaves["weights"], default=0.0) >= 0:
        # onnxruntime takes leaves that are all positive for probabilities; a negative one tells
        # it that they are not
        trees.forest.leaf(0, 0, _NUDGE)
        trees.forest.end_tree()
    key = "classlabels_strings" if label.datatype is Datatype.BYTES else "classlabels_int64s"
    transform = "LOGISTIC" if binary else "SOFTMAX"
    transform = "NONE" if task.raw else transform
    labels = {key: list(task.classes)}
    trees.ensemble(graph, ["label", "probabilities"], post_transform=transform, **labels)
    return label, probabilities


def _score(graph: _Graph, trees: _Trees, task: Task) -> tuple[TensorSpec, ...]:
    trees.ensemble(graph, ["score" if task.link is Link.IDENTITY else "sums"])
    simple = {Link.EXP: "Exp", Link.SIGMOID: "Sigmoid", Link.SOFTPLUS: "Softplus"}
    if task.link in simple:
        graph.node(simple[task.link], ["sums"], "score")
    elif task.link is Link.SIGNED_SQUARE:
        graph.node("Mul", ["sums", graph.node("Abs", ["sums"], "sums.size")], "score")
    return (TensorSpec("score", Datatype.FP32, (None, trees.forest.targets), Role.SCORE),)


def _label_type(classes: tuple[Label, ...]) -> Datatype:
    return Datatype.BYTES if any(isinstance(item, str) for item in classes) else Datatype.INT64


def _labels(classes: tuple[Label, ...]) -> Any:
    if _label_type(classes) is Datatype.BYTES:
        return np.array([str(item).encode() for item in classes], object)
    return np.array(classes, np.int64)


def known_labels(values: Sequence[Any]) -> tuple[Label, ...]:
    """Class labels as JSON and ONNX know them: integers stay, whole floats and booleans become so.

    Anything else becomes its text.
    """
    items = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(isinstance(item, int | float) and float(item).is_integer() for item in items):
        return tuple(int(item) for item in items)
    return tuple(item.decode() if isinstance(item, bytes) else str(item) for item in items)
