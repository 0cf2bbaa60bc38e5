"""Linear models in closed form: a feature's weight times its distance from the background's mean.

Strumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature
contributions", equation for additive models.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import UnsupportedError
from modelworks.core.seams import Explanation
from modelworks.ext.explainers.asked import Asked, Counted, shaped
from modelworks.ext.explainers.graph import Node, deciding
from modelworks.ext.explainers.links import linked

_KINDS: Final = frozenset({"LinearClassifier", "LinearRegressor", "Gemm", "MatMul"})


class LinearExplainer:
    """See `core.seams.Explainer`: exact, for linear models that are served as ONNX."""

    name: ClassVar[str] = "linear"
    extra: ClassVar[str] = "platform"
    experimental: ClassVar[bool] = False

    def explain(
        self,
        predict: Callable[[Any], Any],
        rows: Any,
        background: Any,
        options: Mapping[str, Any],
    ) -> Explanation:
        """See `Explainer.explain`; the model is asked only whether the weights are its own."""
        asked, model = Asked.of(rows, background, options), Counted(predict)
        node = deciding(asked.artifact, _KINDS)
        weights, offset = _weights(node, asked.rows.shape[1])
        explained, known = (
            node.before(table).astype(np.float64) for table in (asked.rows, asked.background)
        )
        answers = np.concatenate([model(asked.rows), model(asked.background)])
        scores = np.concatenate([explained, known]) @ weights + offset
        link = linked(scores, answers)
        values = (explained - known.mean(axis=0))[:, :, None] * weights
        base = (known @ weights + offset).mean(axis=0)
        return Explanation(
            asked.features,
            shaped(link.base(base), flat=model.flat),
            shaped(link.values(node.ordered(values)), flat=model.flat),
            calls=model.calls,
            link=link.name,
        )


def _weights(node: Node, width: int) -> tuple[Any, Any]:
    """Features x scores, and what is added to each score."""
    if node.kind in {"Gemm", "MatMul"}:
        weights, offset = _product(node)
    else:
        flat = np.asarray(node.attributes["coefficients"], np.float64)
        if flat.size % width:
            raise UnsupportedError("the weights do not fit the features", field="artifact")
        weights = flat.reshape(-1, width).T
        offset = np.asarray(node.attributes.get("intercepts", 0.0), np.float64)
        two = node.kind == "LinearClassifier" and weights.shape[1] == 2
        if two and np.array_equal(weights[:, 0], -weights[:, 1]):  # one score, written twice
            weights, offset = weights[:, 1:], offset[1:]
    if weights.shape[0] != width:
        raise UnsupportedError("the weights do not fit the features", field="artifact")
    return weights, offset


def _product(node: Node) -> tuple[Any, Any]:
    if not node.constants or node.constants[0] is None:
        raise UnsupportedError(f"{node.kind} of two computed tensors", field="artifact")
    weights = np.asarray(node.constants[0], np.float64)
    if node.attributes.get("transA"):
        raise UnsupportedError("the input is transposed", field="artifact")
    weights = weights.T if node.attributes.get("transB") else weights
    weights = weights * float(node.attributes.get("alpha", 1.0))
    offset = node.constants[1] if len(node.constants) > 1 else None
    scale = float(node.attributes.get("beta", 1.0))
    return weights, 0.0 if offset is None else scale * np.asarray(offset, np.float64)
