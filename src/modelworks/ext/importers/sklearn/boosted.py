"""XGBoost's and LightGBM's estimators as steps of a pipeline, converted by our own tree writer.

skl2onnx knows neither. It is given a converter that reads the library's own model format and emits
one exact tree ensemble. Both libraries are imported only when a file names them.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import onnx
from onnx import TensorProto, compose
from skl2onnx import update_registered_converter
from skl2onnx.common._apply_operation import apply_cast, apply_identity
from skl2onnx.common.data_types import (
    DoubleTensorType,
    Int64TensorType,
    StringTensorType,
    guess_tensor_type,
)
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

from modelworks.core.errors import UnsupportedError
from modelworks.core.imports import Ranges
from modelworks.core.tensor import Datatype, Tensors
from modelworks.ext.importers import forest
from modelworks.ext.importers.sklearn.source import Source, quiet
from modelworks.ext.importers.sklearn.walk import every

_CLASSES = {
    "xgboost": (
        "XGBClassifier",
        "XGBRegressor",
        "XGBRanker",
        "XGBRFClassifier",
        "XGBRFRegressor",
    ),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor", "LGBMRanker"),
}
_SPARSE, _RAW = "zero_missing", "raw_scores"
_CLASSIFIER = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
_ASKED = ("predict", "predict_proba")


def steps(estimator: Any) -> list[Any]:
    """The parts of an estimator that are boosted trees of another library."""
    return [part for part in every(estimator) if _framework(part) in _CLASSES]


def versions(estimator: Any) -> dict[str, str]:
    """Library -> version, of the libraries that made parts of an estimator."""
    names = {_framework(part) for part in steps(estimator)}
    return {name: sys.modules[name].__version__ for name in sorted(names)}


def ranges(part: Any) -> tuple[Ranges, ...]:
    """What the training values of each feature looked like; empty for any other estimator."""
    return _step(part, double=False).ranges if _framework(part) in _CLASSES else ()


def register() -> None:
    """Tell skl2onnx how the estimators of the libraries that are loaded are converted."""
    for framework, names in _CLASSES.items():
        for name in names if framework in sys.modules else ():
            kind = getattr(sys.modules[framework], name)
            options: dict[str, Any] = {_SPARSE: [False, True]}
            if name.endswith("Classifier"):
                options |= _CLASSIFIER
            if hasattr(kind, "decision_function"):  # LightGBM since 4.7
                options[_RAW] = [False, True]
            update_registered_converter(
                kind, f"Modelworks{name}", _shapes, _convert, options=options
            )


def sparse_fed(source: Source, rows: Tensors) -> list[Any]:
    """XGBoost steps that are given sparse matrices, whose zeros XGBoost takes for missing values.

    Args:
        source: fitted.
        rows: a few that it accepts.
    """
    watched = [part for part in steps(source.estimator) if _framework(part) == "xgboost"]
    fed: dict[int, Any] = {}
    with ExitStack() as stack:
        for part in watched:
            stack.enter_context(_watch(part, fed))
        name = next((n for n in ("predict", "transform") if hasattr(source.estimator, n)), "")
        if watched and name:
            with quiet():
                getattr(source.estimator, name)(source.table(rows))
    return list(fed.values())


def options_for(fed: list[Any]) -> dict[int, dict[str, Any]]:
    """Options of skl2onnx for steps that are given sparse matrices."""
    return {
        id(part): {_SPARSE: True, **({"zipmap": False} if hasattr(part, "classes_") else {})}
        for part in fed
    }


def _framework(part: Any) -> str:
    return type(part).__module__.partition(".")[0]


@contextmanager
def _watch(part: Any, fed: dict[int, Any]) -> Iterator[None]:
    """Note in `fed` whether an estimator is asked about a sparse matrix."""

    def noting(method: Any) -> Any:
        def call(rows: Any, *args: Any, **kwargs: Any) -> Any:
            if hasattr(rows, "toarray"):
                fed[id(part)] = part
            return method(rows, *args, **kwargs)

        return call

    names = [name for name in _ASKED if hasattr(part, name)]
    for name in names:
        vars(part)[name] = noting(getattr(part, name))
    try:
        yield
    finally:
        for name in names:
            del vars(part)[name]


def _step(part: Any, *, double: bool) -> forest.Step:
    """By the importer of the library, which is loaded, as `part` is an instance of it."""
    reader = importlib.import_module(f"modelworks.ext.importers.{_framework(part)}.read")
    options = {"double": double} if _framework(part) == "lightgbm" else {}  # XGBoost is float32
    step: forest.Step = reader.step(part, **options)
    return step


def _shapes(operator: Any) -> None:
    """Skl2onnx's shape inference for one step."""
    if len(operator.outputs) > 1:
        calculate_linear_classifier_output_shapes(operator)
        return
    given = operator.inputs[0]
    kind = guess_tensor_type(given.type)
    kind.shape = [given.get_first_dimension(), None]
    operator.outputs[0].set_type(kind)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Skl2onnx's conversion of one step: our graph, between casts to the types around it."""
    part, given = operator.raw_operator, operator.inputs[0]
    step = _step(part, double=isinstance(given.type, DoubleTensorType))
    columns = step.columns
    if container.get_options(part, {_SPARSE: False})[_SPARSE]:
        columns = replace(columns, zero_missing=(True,) * columns.width)
    # a calibration asks for the decision function of whatever has one
    raw = hasattr(part, "decision_function") and container.get_options(part, {_RAW: False})[_RAW]
    model, signature = forest.build(step.forest, replace(step.task, raw=raw), columns)
    if len(signature.outputs) != len(operator.outputs):
        raise UnsupportedError(
            f"the {type(part).__name__} gives scores instead of labels and probabilities: its "
            "objective or number of targets is not converted inside a pipeline",
            field="file",
        )
    prefix = scope.get_unique_operator_name(type(part).__name__) + "."
    model = compose.add_prefix(model, prefix)
    real = TensorProto.DOUBLE if columns.double else TensorProto.FLOAT
    apply_cast(scope, given.full_name, model.graph.input[0].name, container, to=real)
    _inline(scope, container, model)
    values, wanted = model.graph.output[-1].name, operator.outputs[-1]
    wide = isinstance(wanted.type, DoubleTensorType)
    to = TensorProto.DOUBLE if wide else TensorProto.FLOAT
    apply_cast(scope, values, wanted.full_name, container, to=to)
    if len(operator.outputs) > 1:
        text = signature.outputs[0].datatype is Datatype.BYTES
        label = operator.outputs[0]
        if not isinstance(label.type, StringTensorType if text else Int64TensorType):
            raise UnsupportedError(
                f"the labels of the {type(part).__name__} are neither texts nor whole numbers",
                field="file",
            )
        apply_identity(scope, model.graph.output[0].name, label.full_name, container)


def _inline(scope: Any, container: Any, model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.name = scope.get_unique_operator_name(node.op_type)
        container.nodes.append(node)
    container.initializers.extend(model.graph.initializer)
    for opset in model.opset_import:
        container.node_domain_version_pair_sets.add((opset.domain, opset.version))
