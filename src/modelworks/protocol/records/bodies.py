"""Bodies as they were sent, as columns: name of a feature or a tensor -> a value an item.

Only a logger comes here, on another core than the server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.kserve_v1 import decode_instances
from modelworks.protocol.oip.templates import RequestReader
from modelworks.protocol.oip_grpc.responses import read_answer
from modelworks.protocol.oip_grpc.templates import MessageReader
from modelworks.protocol.rows import decode_rows
from modelworks.protocol.tensors import Array, from_binary

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a request's body said.

    Attributes:
        id: its own; empty = it had none.
        rows: items of it.
        inputs: columns.
    """

    id: str
    rows: int
    inputs: Columns


class BodyReader:
    """Reads the requests and the answers of one model.

    Args:
        signature: of the model.
    """

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._reader = RequestReader(signature)
        self._messages = MessageReader(signature)
        self._outputs = {spec.name: spec for spec in signature.outputs}
        one = len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 2
        self._split = one and signature.layout is not Layout.TENSORS
        self._features = list(signature.features) if self._split else []

    def request(self, body: bytes, json_length: int | None) -> Request:
        """Columns of a request of the Open Inference Protocol.

        Raises:
            ModelworksError: the model would not take it either.
        """
        found = self._reader.recognise(body, json_length)
        if found is not None:
            template, varying = found
            inputs = template.read((varying,))
            if inputs is not None:
                return Request(template.request.id, template.rows, self._columns(inputs))
        request = self._reader.read(body, json_length)
        return Request(request.id, request.rows, self._columns(request.inputs))

    def message(self, body: bytes) -> Request:
        """Columns of a request that came by gRPC.

        Raises:
            ModelworksError: the model would not take it either.
        """
        request = self._messages.read(body, None)
        return Request(request.id, request.rows, self._columns(request.inputs))

    def told(self, body: bytes) -> Columns:
        """Columns of the answer to one.

        Raises:
            ModelworksError: it is none.
        """
        _, outputs = read_answer(body)
        return {spec.name: items(spec, array) for spec, array in outputs}

    def rows(self, body: bytes) -> Request:
        """Columns of plain rows, or of instances of KServe's first protocol.

        Raises:
            ModelworksError: the model would not take them either.
        """
        try:
            rows = decode_rows(body, self._signature)
        except InvalidError:
            rows = decode_instances(body, self._signature)
        return Request("", rows.rows, self._columns(rows.inputs))

    def answer(self, body: bytes, json_length: int) -> Columns:
        """Columns of an answer of the Open Inference Protocol.

        Raises:
            ModelworksError: it is none.
        """
        told = _object(body[:json_length] if json_length else body)
        raw = memoryview(body)[json_length:] if json_length else memoryview(b"")
        found: dict[str, Sequence[Any]] = {}
        for entry in told.get("outputs", ()):
            name, shape = entry["name"], entry["shape"]
            size = entry.get("parameters", {}).get("binary_data_size")
            if size is None:
                found[name] = shaped(entry["data"], shape)
                continue
            spec = TensorSpec(name, Datatype(entry["datatype"]), tuple(shape))
            found[name] = items(spec, from_binary(spec, raw[:size], tuple(shape), name))
            raw = raw[size:]
        return found

    def predictions(self, body: bytes) -> Columns:
        """Columns of the answer to plain rows, as the tensors were that it was made of.

        Raises:
            ModelworksError: it is none.
        """
        answers: list[dict[str, Any]] = _object(body).get("predictions", [])
        found: dict[str, Sequence[Any]] = {}
        signature = self._signature
        label, score = signature.output(Role.LABEL), signature.output(Role.SCORE)
        probabilities = signature.output(Role.PROBABILITIES)
        if not answers:
            return found
        if probabilities is not None and "probabilities" in answers[0]:
            one = probabilities.shape[-1:] == (1,)  # of the second class only
            rows = [list(answer["probabilities"].values()) for answer in answers]
            found[probabilities.name] = [row[-1] for row in rows] if one else rows
        if label is not None and "label" in answers[0]:
            found[label.name] = [self._label(label, answer["label"]) for answer in answers]
        if score is not None and "score" in answers[0]:
            found[score.name] = [answer["score"] for answer in answers]
        for name in answers[0].get("outputs", {}):
            found[name] = [answer["outputs"][name] for answer in answers]
        return found

    def _label(self, spec: TensorSpec, label: Any) -> Any:
        """As the model gave it, before it was put in words."""
        classes = self._signature.classes
        if spec.datatype is Datatype.BYTES or not classes:
            return label
        if isinstance(classes[0], str) and label in classes:
            return classes.index(label)
        return int(label) if isinstance(label, bool) and spec.datatype != Datatype.BOOL else label

    def _columns(self, inputs: Mapping[str, Array]) -> Columns:
        if self._split:
            (spec,) = self._signature.inputs
            array = inputs[spec.name]
            if array.ndim == 2 and array.shape[1] == len(self._features):
                if len(self._features) == 1:  # an item of one value is no list
                    return {self._features[0]: items(spec, array)}
                columns = zip(*items(spec, array), strict=True)
                return dict(zip(self._features, map(list, columns), strict=True))
        return {spec.name: items(spec, inputs[spec.name]) for spec in self._signature.inputs}


def items(spec: TensorSpec, array: Array) -> list[Any]:
    """A plain value an item: a scalar where an item has one element, else nested lists.

    FP32 stays as short as it reads back to the same; NaN and the infinities are None.
    """
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim > 1 and array.size == len(array):
        array = array.ravel()
    if spec.datatype is Datatype.BYTES:
        texts = np.frompyfunc(_text, 1, 1)(array)
        rows: list[Any] = texts.tolist()
        return rows
    if spec.datatype is Datatype.BF16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    elif spec.datatype is Datatype.FP16:
        array = array.astype(np.float32)
    contiguous = np.ascontiguousarray(array)
    numbers: list[Any] = orjson.loads(orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY))
    return numbers


def shaped(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """The flat list of a JSON tensor as a value an item.

    Raises:
        InvalidError: they do not fit.
    """
    if not shape:
        return data
    if len(data) == shape[0]:
        return data
    width = len(data) // shape[0] if shape[0] else 0
    if width * shape[0] != len(data):
        raise InvalidError(f"{len(data)} values have not the shape {list(shape)}", field="data")
    rows = [data[start : start + width] for start in range(0, len(data), width)]
    return [shaped(row, shape[1:]) for row in rows] if len(shape) > 2 else rows


def _text(item: Any) -> str:
    return item if isinstance(item, str) else bytes(item).decode(errors="replace")


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"an answer is no JSON: {error}", field="body") from error
    if not isinstance(told, dict):
        raise InvalidError("an answer is no object", field="body")
    return told
