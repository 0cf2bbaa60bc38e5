"""Steps as ONNX nodes: numbers in float64, categories by matrix, whatever the model's own types."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from modelworks.core.outer import Part, Target
from modelworks.core.stepped import MADE
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import Datatype
from modelworks.ext.formats.onnx_types import ELEMENTS

_ML = "ai.onnx.ml"


@dataclass(slots=True)
class Nodes:
    """Collects the nodes of a graph.

    Attributes:
        types: outer input -> datatype.
        nodes: in order.
        constants: by name.
    """

    types: dict[str, Datatype]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def target(self, target: Target) -> None:
        """Make one input of the model, as the tensor `modelworks/NAME`."""
        wanted = target.spec.datatype
        parts = [self._part(part, wanted) for part in target.parts]
        if len(parts) > 1:
            parts = [self._add("Concat", parts, axis=1)]
        if target.order:
            order = self._constant(np.array(target.order, np.int64))
            parts = [self._add("Gather", [parts[0], order], axis=1)]
        self._add("Identity", parts, to=f"{MADE}{target.spec.name}")

    def _part(self, part: Part, wanted: Datatype) -> str:
        if part.one_hot:
            return self._one_hot(part, wanted)
        if wanted is Datatype.BYTES:
            return self._text(part)
        work = wanted if part.idle else Datatype.FP64
        columns = [self._cast(s, self.types[s], work) for s in part.sources]
        x = columns[0] if len(columns) == 1 else self._add("Concat", columns, axis=1)
        return x if part.idle else self._cast(self._numbers(x, part.items), work, wanted)

    def _numbers(self, x: str, items: Sequence[InputSteps]) -> str:
        """Fill and scale; one item alone is for every element, several are one a column."""
        fills, affine, limits = parameters(items)
        if not np.isnan(fills).all():
            missing = self._add("IsNaN", [x])
            x = self._add("Where", [missing, self._constant(fills), x])
        idle = (0.0, 1.0, 1.0, 0.0)
        for operator, values, nothing in zip(
            ("Sub", "Div", "Mul", "Add"), affine, idle, strict=True
        ):
            if not (values == nothing).all():
                x = self._add(operator, [x, self._constant(values)])
        for operator, values in zip(("Less", "Greater"), limits, strict=True):
            if not np.isinf(values).all():
                limit = self._constant(values)
                x = self._add("Where", [self._add(operator, [x, limit]), limit, x])
        return x

    def _one_hot(self, part: Part, wanted: Datatype) -> str:
        item = part.items[0]
        step = item.one_hot
        if step is None:
            raise TypeError("a part without categories is no one-hot")
        text = isinstance(step.categories[0], str)
        cells = list(step.categories)
        if text and "" not in cells:
            cells.append("")  # where what is missing goes
        matrix = np.zeros((len(cells), len(step.columns)), np.float32)
        for column, category in enumerate(step.columns):
            matrix[cells.index(category), column] = 1
        source = part.sources[0]
        if text:
            if item.impute is not None and "" not in step.categories:
                value = item.impute.value
                matrix[-1] = matrix[cells.index(value)] if value in cells else 0
            words = [str(cell) for cell in cells]
            flags = self._add("OneHotEncoder", [source], domain=_ML, cats_strings=words, zeros=1)
            shape = self._constant(np.array([-1, len(cells)], np.int64))
            flags = self._add("Reshape", [flags, shape])
        else:
            x = self._cast(source, self.types[source], Datatype.FP64)
            x = self._numbers(x, part.items)
            known = self._constant(np.array([cells], np.float64))
            equal = self._add("Equal", [x, known])
            flags = self._cast(equal, Datatype.BOOL, Datatype.FP32)
        if part.columns:
            matrix = matrix[:, list(part.columns)]
        result = self._add("MatMul", [flags, self._constant(matrix)])
        return self._cast(result, Datatype.FP32, wanted)

    def _text(self, part: Part) -> str:
        x = part.sources[0]
        impute = part.items[0].impute
        if impute is None:
            return x
        empty = self._add("Equal", [x, self._constant(np.array("", object))])
        return self._add("Where", [empty, self._constant(np.array(impute.value, object)), x])

    def _cast(self, x: str, now: Datatype, wanted: Datatype) -> str:
        return x if now is wanted else self._add("Cast", [x], to_=ELEMENTS[wanted])

    def _constant(self, value: Any) -> str:
        name = f"{MADE}steps/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def _add(
        self,
        operator: str,
        inputs: Sequence[str],
        to: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> str:
        output = to or f"{MADE}steps/{operator.lower()}_{len(self.nodes)}"
        told = {name.rstrip("_"): value for name, value in attributes.items()}
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=output, domain=domain, **told)
        )
        return output


def parameters(items: Sequence[InputSteps]) -> tuple[Any, list[Any], list[Any]]:
    """Fills (NaN = none), the four vectors of `(x - a) / b * c + d`, and the limits.

    Scalars where one item is for every element.
    """
    shape = () if len(items) == 1 else (len(items),)
    fills = [
        np.nan if i.impute is None or isinstance(i.impute.value, str) else i.impute.value
        for i in items
    ]
    rows = [i.scale.affine if i.scale else (0.0, 1.0, 1.0, 0.0) for i in items]
    lows = [min(i.scale.range) if i.scale and i.scale.clip else -np.inf for i in items]
    highs = [max(i.scale.range) if i.scale and i.scale.clip else np.inf for i in items]

    def vector(values: Sequence[float]) -> Any:
        return np.array(values, np.float64).reshape(shape)

    affine = [vector(column) for column in zip(*rows, strict=True)]
    return vector(fills), affine, [vector(lows), vector(highs)]
