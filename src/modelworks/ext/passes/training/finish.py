"""From a student's last numbers to the outputs of the model that it stands for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.ext.formats.onnx_types import ELEMENTS
from modelworks.ext.passes.training.aims import Aim, has_classes, width
from modelworks.ext.passes.training.graphs import Graph
from modelworks.ext.passes.training.rows import Array
from modelworks.ext.passes.training.students import Body, ends
from modelworks.protocol.tensors import DTYPES

_OPSET, _IR = 17, 9


def plan(
    signature: Signature, answers: Mapping[str, Array], told: Array | None
) -> tuple[list[Aim], Array | None]:
    """What a student has to learn, and the label of each column, where there are labels.

    Args:
        signature: of the model.
        answers: the teacher's.
        told: labels of rows, where somebody gave some.

    Raises:
        UnsupportedError: labels that no column stands for.
    """
    found = []
    for place, spec in enumerate(signature.outputs):
        if spec.role is Role.LABEL:
            continue
        if not spec.datatype.startswith("FP"):
            raise UnsupportedError(f"'{spec.name}' is of {spec.datatype}: no net learns to give it")
        classes = has_classes(spec, signature, told)
        found.append(Aim(spec, f"raw_{place}", classes=classes))
    label = signature.output(Role.LABEL)
    if label is None:
        return found, None
    if len([spec for spec in signature.outputs if spec.role is Role.LABEL]) > 1:
        raise UnsupportedError("a model with two labels: no student is made for that")
    column = _column(found)
    if column is None:
        raise UnsupportedError(
            "labels without probabilities: a student cannot learn how sure to be"
        )
    return found, _labels(label, column.output, signature, answers)


def _labels(
    label: TensorSpec, column: TensorSpec, signature: Signature, answers: Mapping[str, Array]
) -> Array:
    """The label of each column: as the signature says, and as the teacher answers."""
    said = answers[label.name].reshape(-1)
    best = answers[column.name].reshape(len(said), -1).argmax(axis=1)
    count = width(column)
    if len(signature.classes) == count:
        known: list[Any] = list(signature.classes)
    else:
        known = [next(iter(said[best == place].tolist()), None) for place in range(count)]
    if None in known:
        raise UnsupportedError(
            f"the labels of {known.count(None)} of {count} columns are told nowhere: no rows of "
            "theirs, no classes in the signature"
        )
    if label.datatype is Datatype.BYTES:
        texts = [one if isinstance(one, bytes) else str(one).encode() for one in known]
        found = np.empty(count, object)
        found[:] = texts
    else:
        found = np.array(known).astype(DTYPES[label.datatype])
    if (found[best] != said).mean() > 0.01:
        raise UnsupportedError("the model's labels are not those of its most probable column")
    return found


def assembled(body: Body, signature: Signature, aims: list[Aim], labels: Array | None) -> Graph:
    """The whole student."""
    for aim in aims:
        body.linear(body.hidden, body.wide, width(aim.output))
        body.nodes[-1].output[0] = aim.tensor
        _output(body, aim)
    label, column = signature.output(Role.LABEL), _column(aims)
    if label is not None and labels is not None and column is not None:
        best = body.node("ArgMax", [column.tensor], axis=1, keepdims=0)
        body.constants["student_labels"] = labels
        at = body.node("Gather", ["student_labels", best])
        shape = body.constant("student_label_shape", _shape(label))
        body.nodes.append(helper.make_node("Reshape", [at, shape], [label.name], label.name))
    tensors = [_tensor(name, value) for name, value in body.constants.items()]
    inner = helper.make_graph(
        body.nodes, "student", ends(signature.inputs), ends(signature.outputs), tensors
    )
    opset = [helper.make_opsetid("", _OPSET)]
    return Graph(helper.make_model(inner, opset_imports=opset, ir_version=_IR))


def _column(aims: Sequence[Aim]) -> Aim | None:
    """The probabilities that a label is the largest of."""
    return next((aim for aim in aims if aim.output.role is Role.PROBABILITIES), None)


def _output(body: Body, aim: Aim) -> None:
    spec, at = aim.output, aim.tensor
    if spec.role is Role.PROBABILITIES:
        at = body.node("Softmax", [at], axis=1)
    if len(spec.shape) != 2:
        at = body.node("Reshape", [at, body.constant(f"shape_{aim.tensor}", _shape(spec))])
    if spec.datatype is not Datatype.FP32:
        at = body.node("Cast", [at], to=ELEMENTS[spec.datatype])
    body.nodes.append(helper.make_node("Identity", [at], [spec.name], spec.name))


def _shape(spec: TensorSpec) -> Any:
    return np.array([-1, *(size or 1 for size in spec.shape[1:])], np.int64)


def _tensor(name: str, value: Any) -> onnx.TensorProto:
    if value.dtype == object:
        return helper.make_tensor(name, onnx.TensorProto.STRING, value.shape, value.tolist())
    return numpy_helper.from_array(np.ascontiguousarray(value), name)
