"""What the outputs of an ONNX graph mean, as far as its classifier nodes say so."""

from dataclasses import replace

import onnx
from onnx import TensorProto, helper

from modelworks.core.tensor import Datatype, Role, TensorSpec

Labels = tuple[int | str, ...]
_CLASSIFIERS = {"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"}
_REGRESSORS = {"TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor", "TreeEnsemble"}
_MANY = 10_000


def strip_zipmap(model: onnx.ModelProto) -> Labels | None:
    """Replace each ZipMap by the matrix that goes into it, in place.

    A ZipMap turns a matrix into a list of dictionaries, which is no tensor and cannot be served.

    Returns:
        The class labels of the last one; None where there is no ZipMap.
    """
    labels: Labels | None = None
    for node in model.graph.node:
        if node.op_type != "ZipMap":
            continue
        labels = _labels(node) or ()
        output = node.output[0]
        node.op_type, node.domain = "Identity", ""
        del node.attribute[:]
        for info in model.graph.output:
            if info.name == output:
                width = len(labels) or None
                fresh = helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, width])
                info.CopyFrom(fresh)
    return labels


def meaning(
    model: onnx.ModelProto, outputs: tuple[TensorSpec, ...], classes: Labels | None
) -> tuple[tuple[TensorSpec, ...], Labels]:
    """Outputs with their roles, and the class labels.

    Args:
        model: the graph.
        outputs: as the engine sees them.
        classes: from a ZipMap that was removed; None = there was none.
    """
    names = {node.op_type for node in model.graph.node}
    if classes is None:
        found = {labels for node in model.graph.node if (labels := _labels(node))}
        classes = found.pop() if len(found) == 1 else ()
    if not classes:
        numeric = len(outputs) == 1 and outputs[0].datatype in {Datatype.FP32, Datatype.FP64}
        if numeric and names & _REGRESSORS:
            return (replace(outputs[0], role=Role.SCORE),), ()
        return outputs, ()
    return tuple(_with_role(spec, len(classes)) for spec in outputs), classes


def _with_role(spec: TensorSpec, classes: int) -> TensorSpec:
    rank = len(spec.shape)
    if spec.datatype in {Datatype.INT64, Datatype.BYTES} and (
        rank == 1 or (rank == 2 and spec.shape[1] == 1)
    ):
        return replace(spec, role=Role.LABEL)
    numbers = spec.datatype in {Datatype.FP32, Datatype.FP64} and rank == 2
    if numbers and "prob" in spec.name.lower() and spec.shape[1] in {classes, None}:
        return replace(spec, role=Role.PROBABILITIES)
    return spec


def _labels(node: onnx.NodeProto) -> Labels:
    if node.op_type not in _CLASSIFIERS | {"ZipMap"}:
        return ()
    for attribute in node.attribute:
        if attribute.name in {"classlabels_int64s", "classlabels_ints"} and attribute.ints:
            return tuple(int(i) for i in attribute.ints[:_MANY])
        if attribute.name == "classlabels_strings" and attribute.strings:
            return tuple(s.decode("utf-8", "replace") for s in attribute.strings[:_MANY])
    return ()
