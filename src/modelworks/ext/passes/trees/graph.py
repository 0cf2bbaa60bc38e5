"""What stands around the trees of an ONNX graph: what is done to the rows, and to the sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.ext.formats.onnx_model import weights_of
from modelworks.ext.formats.trees import Before, Change, Ending
from modelworks.ext.passes.trees.nodes import text

KINDS: Final = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")
_LINKS: Final = {"Exp": Ending.EXP, "Sigmoid": Ending.SIGMOID, "Softplus": Ending.SOFTPLUS}
_TENSOR: Final = "_as_tensor"  # behind the name of an attribute of float64


@dataclass(frozen=True, slots=True)
class Around:
    """A graph with one node of trees.

    Attributes:
        kind: its operator.
        attributes: its own, tensors as arrays.
        inputs: of the graph, as they stand beside each other in a row.
        before: done to the rows.
        link: done to the sums of a regressor; `Ending.EACH_LABEL` and `Ending.CLASSES` where the
            largest one gives a label.
        label: name of the output with the labels; empty = there is none.
        output: name of the output with numbers.
        labels: of the classes.
    """

    kind: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    before: tuple[Change, ...]
    link: Ending
    label: str
    output: str
    labels: tuple[int | str, ...]


def read(model: onnx.ModelProto) -> Around:
    """What the graph is.

    Raises:
        UnsupportedError: there is not one node of trees, or something else stands around it.
    """
    return _Reader(model).read()


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._constants = weights_of(model)
        self._nodes = [node for node in graph.node if node.output[0] not in self._constants]
        self._makers = {name: node for node in self._nodes for name in node.output}
        given = [value for value in graph.input if value.name not in self._constants]
        self._types = {value.name: value.type.tensor_type.elem_type for value in given}
        self._ends = [value.name for value in graph.output]
        self._used: set[int] = set()
        self._real = onnx.TensorProto.FLOAT

    def read(self) -> Around:
        trees = [node for node in self._nodes if node.op_type in KINDS]
        if len(trees) != 1:
            raise UnsupportedError(f"{len(trees)} nodes of trees in the graph, and not one")
        node = trees[0]
        self._used.add(id(node))
        attributes = {one.name.removesuffix(_TENSOR): _value(one) for one in node.attribute}
        double = getattr(attributes.get("nodes_values"), "dtype", None) == np.float64
        double |= getattr(attributes.get("nodes_splits"), "dtype", None) == np.float64
        self._real = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
        inputs, before = self._before(node.input[0])
        if before and any(self._types[name] != self._real for name in inputs):
            raise UnsupportedError("rows that are changed in another precision than the trees'")
        if node.op_type == "TreeEnsembleClassifier":
            label, output = (self._end(name) for name in node.output)
            labels = attributes.get("classlabels_strings") or attributes.get("classlabels_int64s")
            link, classes = Ending.SCORE, _labels(labels or ())
        else:
            link, label, output, classes = self._after(node.output[0])
        left = [one.op_type for one in self._nodes if id(one) not in self._used]
        if left:
            raise UnsupportedError(f"besides the trees the graph has {left[0][:60]}")
        return Around(node.op_type, attributes, inputs, before, link, label, output, classes)

    # -- what is done to the rows

    def _before(self, name: str) -> tuple[tuple[str, ...], tuple[Change, ...]]:
        changes: list[Change] = []
        while name not in self._types:
            node = self._made(name)
            if node.op_type == "Concat":
                if _attribute(node, "axis") not in {1, -1}:
                    raise UnsupportedError("inputs that are put below each other")
                if whole := self._split(node):
                    name = whole
                    continue
                return tuple(map(self._column, node.input)), tuple(reversed(changes))
            name = self._earlier(node, changes)
        self._number(name)
        return (name,), tuple(reversed(changes))

    def _split(self, joined: onnx.NodeProto) -> str:
        """The rows that were taken apart and are joined as they were; empty = they were not."""
        node = self._makers.get(joined.input[0])
        if node is None or node.op_type != "Split" or node.output != joined.input:
            return ""
        if _attribute(node, "axis") not in {1, -1}:
            return ""
        self._used.add(id(node))
        return str(node.input[0])

    def _earlier(self, node: onnx.NodeProto, changes: list[Change]) -> str:
        """Where the rows of a node come from; what it does to them is noted."""
        if node.op_type == "Scaler" and self._real == onnx.TensorProto.FLOAT:
            offset, factor = (
                tuple(_attribute(node, name) or (default,))
                for name, default in (("offset", 0.0), ("scale", 1.0))
            )
            changes.append(Change(Before.SCALE, offset=offset, factor=factor))
        elif node.op_type == "Where":
            return self._marked(node, changes)
        elif node.op_type != "Identity" and not self._cast(node):
            raise UnsupportedError(f"before the trees the graph has {node.op_type[:60]}")
        return str(node.input[0])

    def _marked(self, node: onnx.NodeProto, changes: list[Change]) -> str:
        """`Where(x == value, NaN, x)`: a value that means that there is none."""
        hit, gone, rows = node.input
        test = self._made(hit)
        marker = [self._constants[name] for name in test.input if name in self._constants]
        nan = self._constants.get(gone)
        fits = test.op_type == "Equal" and test.input[0] == rows and len(marker) == 1
        if not fits or nan is None or nan.size != 1 or not np.isnan(nan) or marker[0].size != 1:
            raise UnsupportedError("before the trees the graph has Where")
        changes.append(Change(Before.MISSING, value=float(marker[0].ravel()[0])))
        return str(rows)

    def _column(self, name: str) -> str:
        while name not in self._types:
            node = self._made(name)
            if node.op_type != "Identity" and not self._cast(node):
                raise UnsupportedError(f"before the trees the graph has {node.op_type[:60]}")
            name = node.input[0]
        self._number(name)
        return name

    def _cast(self, node: onnx.NodeProto) -> bool:
        """Whether a node makes of numbers what the trees take."""
        return node.op_type == "Cast" and _attribute(node, "to") == self._real

    def _number(self, name: str) -> None:
        if self._types[name] in {onnx.TensorProto.STRING, onnx.TensorProto.BFLOAT16}:
            raise UnsupportedError(f"input '{name[:60]}' is no number")

    def _made(self, name: str) -> onnx.NodeProto:
        node = self._makers.get(name)
        if node is None:
            raise UnsupportedError(f"'{name[:60]}' is made of constants alone")
        self._used.add(id(node))
        return node

    # -- what is done to the sums

    def _end(self, name: str) -> str:
        """The output that a tensor becomes unchanged; empty = none."""
        if name in self._ends:
            return name
        for node in self._readers(name):
            if node.op_type == "Identity":
                self._used.add(id(node))
                return self._end(node.output[0])
        return ""

    def _readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self._nodes if name in node.input]

    def _after(self, name: str) -> tuple[Ending, str, str, tuple[int | str, ...]]:
        """Link, label, output and classes of a regressor."""
        link, name = self._linked(name)
        output = self._end(name)
        chosen = [node for node in self._readers(name) if node.op_type == "ArgMax"]
        if not chosen:
            return link, "", output, ()
        best = chosen[0]
        if _attribute(best, "axis") not in {1, -1} or link not in {Ending.SCORE, Ending.SIGMOID}:
            raise UnsupportedError("after the trees the graph has ArgMax")
        takers = self._readers(best.output[0])
        classes = self._constants.get(takers[0].input[0]) if takers else None
        if len(takers) != 1 or takers[0].op_type != "Gather" or classes is None:
            raise UnsupportedError("after the trees the graph has ArgMax without labels")
        self._used |= {id(best), id(takers[0])}
        link = Ending.CLASSES if link is Ending.SCORE else Ending.EACH_LABEL
        return link, self._end(takers[0].output[0]), output, _labels(classes.ravel().tolist())

    def _linked(self, name: str) -> tuple[Ending, str]:
        readers = self._readers(name)
        kinds = sorted(node.op_type for node in readers)
        if name in self._ends:
            return Ending.SCORE, name
        if len(readers) == 1 and kinds[0] in _LINKS:
            self._used.add(id(readers[0]))
            return _LINKS[kinds[0]], readers[0].output[0]
        if kinds == ["Abs", "Mul"]:
            size, product = sorted(readers, key=lambda node: node.op_type)
            if sorted(product.input) == sorted([name, size.output[0]]):
                self._used |= {id(size), id(product)}
                return Ending.SIGNED_SQUARE, product.output[0]
        if readers and set(kinds) <= {"Identity", "ArgMax"}:
            for node in readers:
                if node.op_type == "Identity" and node.output[0] in self._ends:
                    self._used.add(id(node))
                    return Ending.SCORE, name if "ArgMax" in kinds else node.output[0]
        after = kinds[0] if kinds else "nothing"
        raise UnsupportedError(f"after the trees the graph has {after[:60]}")


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((_value(one) for one in node.attribute if one.name == name), None)


def _value(attribute: onnx.AttributeProto) -> Any:
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError as error:
        raise InvalidError(f"an attribute of the trees is damaged: {error}"[:200]) from error
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _labels(values: Any) -> tuple[int | str, ...]:
    return tuple(one if isinstance(one, int) else text(one) for one in values)
