"""Inference answers, and the way there and back for every datatype."""

import json
import math
import string

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.protocol.oip import (
    InferRequest,
    RequestedOutput,
    decode_request,
    encode_response,
)
from modelworks.protocol.oip.caller import build_request, datatype_of, read_response
from modelworks.protocol.tensors import DTYPES
from properties import examples

pytestmark = pytest.mark.unit

LABEL = TensorSpec("label", Datatype.INT64, (None,), Role.LABEL)
PROBS = TensorSpec("p", Datatype.FP32, (None, 3), Role.PROBABILITIES)
TEXT = TensorSpec("text", Datatype.BYTES, (None,))
SIGNATURE = Signature((), (LABEL, PROBS, TEXT), classes=("a", "b", "c"))
OUTPUTS = (
    np.array([1, 0]),
    np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]], np.float32),
    np.array([b"x", "ö".encode()], dtype=object),
)


def asked(*outputs: tuple[str, bool, int], **more) -> InferRequest:
    names = [spec.name for spec in SIGNATURE.outputs]
    wanted = tuple(RequestedOutput(name, names.index(name), b, c) for name, b, c in outputs)
    return InferRequest({}, 2, outputs=wanted or None, **more)


def answer_of(request: InferRequest, outputs=OUTPUTS, signature=SIGNATURE):
    return encode_response("m", "1.2.3", request, outputs, signature)


def test_json():
    body, kind, headers = answer_of(asked(id="seven"))
    assert kind == b"application/json"
    assert headers == ()
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "1.2.3",
        "id": "seven",
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]},
            {
                "name": "p",
                "datatype": "FP32",
                "shape": [2, 3],
                "data": [0.1, 0.7, 0.2, 0.5, 0.5, 0.0],
            },
            {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["x", "ö"]},
        ],
    }


def test_no_id_without_one():
    assert "id" not in json.loads(answer_of(asked())[0])


def test_only_what_was_asked_for_in_that_order():
    body, _, _ = answer_of(asked(("text", False, 0), ("label", False, 0)))
    assert [item["name"] for item in json.loads(body)["outputs"]] == ["text", "label"]


def test_binary_and_json_in_one_answer():
    body, kind, headers = answer_of(asked(("text", True, 0), ("label", False, 0), ("p", True, 0)))
    assert kind == b"application/octet-stream"
    ((name, value),) = headers
    assert name == b"Inference-Header-Content-Length"
    head = json.loads(body[: int(value)])
    sizes = [item.get("parameters", {}).get("binary_data_size") for item in head["outputs"]]
    assert sizes == [11, None, 24]
    assert body[int(value) :] == b"\1\0\0\0x\2\0\0\0\xc3\xb6" + OUTPUTS[1].tobytes()
    read = read_response(body, int(value))
    assert (read.model, read.version) == ("m", "1.2.3")
    assert list(read.outputs) == ["text", "label", "p"]
    assert read.outputs["p"].tolist() == OUTPUTS[1].tolist()
    assert read.outputs["text"].tolist() == [b"x", "ö".encode()]


@pytest.mark.parametrize("binary", [False, True])
def test_classification(binary):
    body, _, headers = answer_of(asked(("p", binary, 2)))
    read = read_response(body, int(headers[0][1]) if headers else None)
    assert read.outputs["p"].tolist() == [
        [b"0.700000:1:b", b"0.200000:2:c"],
        [b"0.500000:0:a", b"0.500000:1:b"],
    ]


def test_classification_without_labels_of_integers_and_beyond_the_classes():
    scores = TensorSpec("s", Datatype.INT32, (None, 2))
    signature = Signature((), (scores,))
    request = InferRequest({}, 1, outputs=(RequestedOutput("s", 0, False, 9),))
    body, _, _ = answer_of(request, [np.array([[3, 8]], np.int32)], signature)
    (item,) = json.loads(body)["outputs"]
    assert item == {"name": "s", "datatype": "BYTES", "shape": [1, 2], "data": ["8:1", "3:0"]}
    flat = TensorSpec("s", Datatype.FP64, (2,))
    body, _, _ = answer_of(request, [np.array([3.0, 8.0])], Signature((), (flat,)))
    assert json.loads(body)["outputs"][0]["shape"] == [2]


def test_what_json_cannot_say_is_null():
    spec = TensorSpec("y", Datatype.FP32, (None,))
    values = np.array([math.nan, math.inf, -math.inf, 1], np.float32)
    body, _, _ = answer_of(InferRequest({}, 4), [values], Signature((), (spec,)))
    assert json.loads(body)["outputs"][0]["data"] == [None, None, None, 1.0]
    body, _, headers = answer_of(
        InferRequest({}, 4, binary_output=True), [values], Signature((), (spec,))
    )
    read = read_response(body, int(headers[0][1]))
    np.testing.assert_array_equal(read.outputs["y"], values)


def test_bytes_that_are_no_text_need_binary():
    signature = Signature((), (TEXT,))
    outputs = [np.array([b"\xff"], dtype=object)]
    with pytest.raises(InvalidError, match='"binary_data": true'):
        answer_of(InferRequest({}, 1), outputs, signature)
    body, _, headers = answer_of(InferRequest({}, 1, binary_output=True), outputs, signature)
    assert read_response(body, int(headers[0][1])).outputs["text"].tolist() == [b"\xff"]


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.BF16])
def test_half_floats_need_binary(datatype):
    signature = Signature((), (TensorSpec("y", datatype, (None,)),))
    outputs = [np.ones(2, DTYPES[datatype])]
    with pytest.raises(InvalidError, match="binary_data_output"):
        answer_of(InferRequest({}, 2), outputs, signature)
    body, _, headers = answer_of(InferRequest({}, 2, binary_output=True), outputs, signature)
    assert read_response(body, int(headers[0][1])).outputs["y"].tolist() == [1, 1]


def test_arrays_in_any_memory_order():
    spec = TensorSpec("y", Datatype.FP32, (None, 2))
    outputs = [np.asfortranarray([[1, 2], [3, 4]], np.float32)[::-1]]
    body, _, _ = answer_of(InferRequest({}, 2), outputs, Signature((), (spec,)))
    assert json.loads(body)["outputs"][0]["data"] == [3, 4, 1, 2]
    body, _, headers = answer_of(
        InferRequest({}, 2, binary_output=True), outputs, Signature((), (spec,))
    )
    assert body[int(headers[0][1]) :] == np.array([3, 4, 1, 2], "<f4").tobytes()


# -- there and back

TEXTS = st.text(alphabet=string.printable + "äß漢🙂", max_size=8)


@st.composite
def arrays(draw, datatype: Datatype, *, binary: bool):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4))
    if datatype is Datatype.BYTES:
        item = st.binary(max_size=8) if binary else TEXTS.map(str.encode)
        flat = draw(st.lists(item, min_size=math.prod(shape), max_size=math.prod(shape)))
        array = np.empty(len(flat), dtype=object)
        array[:] = flat
        return array.reshape(shape)
    dtype = DTYPES[datatype]
    elements = None
    if dtype.kind == "f":
        # JSON knows no infinity; NaN travels as null.
        elements = hnp.from_dtype(dtype, allow_infinity=binary, allow_nan=True)
    return draw(hnp.arrays(dtype, shape, elements=elements))


def check_round_trip(data, datatype: Datatype, *, binary: bool) -> None:
    array = data.draw(arrays(datatype, binary=binary))
    spec = TensorSpec("x", datatype, (None,) * array.ndim)
    signature = Signature((spec,), (TensorSpec("y", datatype, spec.shape),))
    body, _, headers = build_request(
        {"x": array}, datatypes={"x": datatype}, binary=binary, request_id="r"
    )
    request = decode_request(body, int(headers[0][1]) if headers else None, signature)
    assert request.rows == len(array)
    np.testing.assert_array_equal(request.inputs["x"], array)
    assert request.inputs["x"].dtype == DTYPES[datatype]
    body, _, headers = encode_response("m", "1.0.0", request, [request.inputs["x"]], signature)
    read = read_response(body, int(headers[0][1]) if headers else None)
    np.testing.assert_array_equal(read.outputs["y"], array)
    assert read.id == "r"


@pytest.mark.parametrize("datatype", list(Datatype))
@examples(15)
@given(data=st.data())
def test_there_and_back_in_binary(datatype, data):
    check_round_trip(data, datatype, binary=True)


@pytest.mark.parametrize("datatype", [t for t in Datatype if t not in {"FP16", "BF16"}])
@examples(15)
@given(data=st.data())
def test_there_and_back_in_json(datatype, data):
    check_round_trip(data, datatype, binary=False)


def test_datatypes_of_arrays():
    assert datatype_of(np.array(["a"])) is Datatype.BYTES
    assert datatype_of(np.array([1], ">i4")) is Datatype.INT32
    assert datatype_of(np.array([1], np.float16)) is Datatype.FP16
    with pytest.raises(InvalidError, match="complex"):
        datatype_of(np.array([1j]))


def test_a_request_of_the_client():
    body, kind, headers = build_request(
        {"x": np.array([["a", "b"]])},
        outputs=["y"],
        binary=False,
        request_id="r",
        parameters={"timeout": 5},
    )
    assert (kind, headers) == (b"application/json", ())
    assert json.loads(body) == {
        "id": "r",
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "b"]}],
        "parameters": {"timeout": 5},
        "outputs": [{"name": "y"}],
    }
    with pytest.raises(InvalidError, match="send it as binary"):
        build_request({"x": np.ones((1, 1), np.float16)}, binary=False)
    with pytest.raises(InvalidError, match="UTF-8"):
        build_request({"x": np.array([b"\xff"], dtype=object)}, binary=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"outputs":3}',
        b'{"outputs":[3],"model_name":"m"}',
        b'{"outputs":[{"name":"y","datatype":"FP99","shape":[1],"data":[1]}],"model_name":"m"}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}],"model_name":"m"}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":3,"data":[1]}],"model_name":"m"}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1]}],"model_name":"m"}',
        (
            b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],'
            b'"parameters":{"binary_data_size":4}}],"model_name":"m"}'
        ),
    ],
)
def test_an_answer_of_something_else(body):
    with pytest.raises(InvalidError):
        read_response(body, None)


def test_a_truncated_answer():
    body, _, headers = answer_of(asked(binary_output=True))
    for length in range(len(body)):
        with pytest.raises(InvalidError):
            read_response(body[:length], int(headers[0][1]))


# -- fuzz

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["x", "city", "FP32", "BYTES", "label"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "shape",
                    "datatype",
                    "data",
                    "parameters",
                    "inputs",
                    "outputs",
                    "id",
                    "binary_data_size",
                    "classification",
                    "timeout",
                    "binary_data",
                    "sequence_id",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)
TARGET = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 2)), TensorSpec("city", Datatype.BYTES, (None,))),
    (LABEL,),
)
VALID = {
    "id": "a",
    "inputs": [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]},
        {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Ulm"]},
    ],
    "outputs": [{"name": "label", "parameters": {"binary_data": True}}],
    "parameters": {"timeout": 3},
}


def quietly(body: bytes, length: int | None) -> None:
    try:
        request = decode_request(body, length, TARGET)
    except ModelworksError as error:
        assert error.message
        assert "\n" not in error.message
    else:
        assert set(request.inputs) == {"x", "city"}
        assert request.inputs["x"].dtype == np.float32


@examples(60)
@given(body=JSON, length=st.none() | st.integers(-1, 60))
def test_any_json(body, length):
    quietly(json.dumps(body).encode(), length)


@examples(60)
@given(data=st.data())
def test_a_valid_request_with_one_part_replaced(data):
    document = json.loads(json.dumps(VALID))
    spot = document
    while True:
        key = data.draw(
            st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot)))
        )
        if not isinstance(spot[key], dict | list) or not spot[key] or data.draw(st.booleans()):
            break
        spot = spot[key]
    if data.draw(st.booleans()) and isinstance(spot, dict):
        del spot[key]
    else:
        spot[key] = data.draw(JSON)
    quietly(json.dumps(document).encode(), None)


@examples(60)
@given(data=st.data())
def test_mutated_binary_requests(data):
    inputs = {
        "x": np.array([[1, 2]], np.float32),
        "city": np.array([b"Ulm"], dtype=object),
    }
    body, _, headers = build_request(inputs)
    at = data.draw(st.integers(0, len(body)))
    drop = data.draw(st.integers(0, 9))
    body = body[:at] + data.draw(st.binary(max_size=9)) + body[at + drop :]
    length = int(headers[0][1]) + data.draw(st.integers(-2, 2))
    quietly(body, length)


@given(body=st.binary(max_size=60), length=st.none() | st.integers(0, 60))
def test_any_bytes(body, length):
    quietly(body, length)
    with pytest.raises(ModelworksError):
        read_response(body, length)


def test_orjson_limits_are_known():
    # What decoding relies on: no NaN, no infinity, bounded nesting.
    for text in (b"[NaN]", b"[1e999]", b"[" * 2000 + b"]" * 2000):
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(text)
