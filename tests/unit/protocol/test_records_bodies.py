"""Bodies read back as columns: what a model was asked, and what it said."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.oip.request import decode_request
from modelworks.protocol.oip.response import encode_response
from modelworks.protocol.records.bodies import BodyReader, items, shaped

pytestmark = pytest.mark.unit


def signature(datatype=Datatype.FP32, shape=(None, 2), features=(), layout=Layout.TENSORS, **more):
    spec = TensorSpec("x", datatype, shape)
    return Signature((spec,), (TensorSpec("y", datatype, shape),), layout, features, **more)


TABLE = signature(features=("age", "income"), layout=Layout.MATRIX)


def asked(data, shape, datatype="FP32", **more):
    entry = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return json.dumps({"inputs": [entry], **more}).encode()


def binary(raw, shape, datatype):
    """A body whose tensor is raw, as its answer is to be, and how long its JSON is."""
    size = {"binary_data_size": len(raw)}
    entry = {"name": "x", "shape": shape, "datatype": datatype, "parameters": size}
    said = {"inputs": [entry], "parameters": {"binary_data_output": True}}
    head = json.dumps(said).encode()
    return head + raw, len(head)


def answered(made, arrays, body=b"", length=None):
    """What our server says, and the JSON in it."""
    request = decode_request(body or asked([1, 2], [1, 2]), length, made)
    said, _, headers = encode_response("m", "1", request, arrays, made)
    told = dict(headers).get(b"Inference-Header-Content-Length")
    return bytes(said), int(told) if told else 0


def test_a_matrix_with_features_is_columns_and_another_is_rows():
    body = asked([1, 2.5, 3, 4], [2, 2], id="r-1")
    request = BodyReader(TABLE).request(body, None)
    assert (request.id, request.rows) == ("r-1", 2)
    assert request.inputs == {"age": [1.0, 3.0], "income": [2.5, 4.0]}
    assert BodyReader(signature()).request(body, None).inputs == {"x": [[1.0, 2.5], [3.0, 4.0]]}


def test_a_body_reads_the_same_however_often_one_like_it_came():
    """After the first few, the reader knows the form."""
    reader = BodyReader(TABLE)
    for number in range(20):
        request = reader.request(asked([number, 2, 3, number], [2, 2], id=f"{number}"), None)
        assert request.inputs == {"age": [number, 3.0], "income": [2.0, number]}
        assert request.rows == 2


@pytest.mark.parametrize(
    ("datatype", "raw", "wanted"),
    [
        (Datatype.FP32, np.array([[1.1, np.nan]], "f4"), [[1.1, None]]),
        (Datatype.FP64, np.array([[0.1, np.inf]]), [[0.1, None]]),
        (Datatype.FP16, np.array([[0.5, -2]], "f2"), [[0.5, -2.0]]),
        (Datatype.BF16, np.array([[0x3F80, 0xC020]], "u2"), [[1.0, -2.5]]),
        (Datatype.INT64, np.array([[2**62, -1]]), [[2**62, -1]]),
        (Datatype.UINT8, np.array([[0, 255]], "u1"), [[0, 255]]),
        (Datatype.BOOL, np.array([[True, False]]), [[True, False]]),
    ],
)
def test_raw_tensors(datatype, raw, wanted):
    body, length = binary(raw.tobytes(), list(raw.shape), datatype)
    assert BodyReader(signature(datatype)).request(body, length).inputs == {"x": wanted}


def test_raw_texts():
    parts = [b"caf\xc3\xa9", b"\xff\x00"]
    raw = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    body, length = binary(raw, [2, 1], "BYTES")
    found = BodyReader(signature(Datatype.BYTES, (None, 1))).request(body, length)
    assert found.inputs == {"x": ["café", "\ufffd\x00"]}


def test_requests_of_several_lengths():
    made = signature(Datatype.INT64, (None, None))
    reader = BodyReader(made)
    for width in (1, 5, 3):
        data = list(range(2 * width))
        found = reader.request(asked(data, [2, width], "INT64"), None).inputs["x"]
        assert found == (data if width == 1 else [data[:width], data[width:]])


def test_plain_rows():
    rows = [{"age": 1, "income": 2.5}, {"age": 3, "income": 4}]
    reader = BodyReader(TABLE)
    for body in ({"rows": rows}, {"rows": [[1, 2.5], [3, 4]]}):
        found = reader.rows(json.dumps(body).encode())
        assert (found.rows, found.inputs) == (2, {"age": [1.0, 3.0], "income": [2.5, 4.0]})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"inputs": []}', b'{"inputs": 1}', asked([1], [2, 2])]
)
def test_what_the_model_would_not_take_is_not_read(body):
    with pytest.raises(ModelworksError):
        BodyReader(TABLE).request(body, None)
    with pytest.raises(ModelworksError):
        BodyReader(TABLE).rows(body)


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_answers_in_json_and_raw_read_as_the_arrays_were(rows, width, data):
    made = signature(Datatype.FP64, (None, width))
    number = st.floats(allow_nan=False, allow_infinity=False)
    values = data.draw(st.lists(number, min_size=rows * width, max_size=rows * width))
    array = np.array(values).reshape(rows, width)
    wanted = array.ravel().tolist() if width == 1 else array.tolist()
    reader = BodyReader(made)
    zeros = [0.0] * (rows * width)
    plain = answered(made, [array], asked(zeros, [rows, width], "FP64"))
    assert plain[1] == 0
    assert reader.answer(*plain)["y"] == wanted
    raw = answered(made, [array], *binary(array.tobytes(), [rows, width], "FP64"))
    assert raw[1]
    assert reader.answer(*raw)["y"] == wanted


@pytest.mark.parametrize(
    ("body", "length"),
    [(b"", 0), (b"[1]", 0), (b"{", 0), (b'{"outputs": [{"name": "y"}]}', 0)],
)
def test_an_answer_that_is_none_is_refused(body, length):
    with pytest.raises((InvalidError, KeyError)):
        BodyReader(TABLE).answer(body, length)


def test_a_raw_answer_that_is_cut_short_is_refused():
    size = {"binary_data_size": 16}
    entry = {"name": "y", "shape": [1, 2], "datatype": "FP64", "parameters": size}
    head = json.dumps({"outputs": [entry]}).encode()
    assert BodyReader(TABLE).answer(head + bytes(16), len(head)) == {"y": [[0.0, 0.0]]}
    with pytest.raises(ModelworksError):
        BodyReader(TABLE).answer(head + bytes(15), len(head))


def labelled(classes, datatype, width=2):
    outputs = (
        TensorSpec("label", datatype, (None,), Role.LABEL),
        TensorSpec("probabilities", Datatype.FP32, (None, width), Role.PROBABILITIES),
        TensorSpec("score", Datatype.FP32, (None,), Role.SCORE),
        TensorSpec("extra", Datatype.FP32, (None,)),
    )
    return Signature(TABLE.inputs, outputs, Layout.MATRIX, TABLE.features, classes)


def said(*answers):
    return json.dumps({"predictions": answers}).encode()


@pytest.mark.parametrize(
    ("classes", "datatype", "told", "wanted"),
    [
        (("no", "yes"), Datatype.INT64, "yes", 1),
        (("no", "yes"), Datatype.BYTES, "yes", "yes"),
        ((False, True), Datatype.INT64, True, 1),
        ((False, True), Datatype.BOOL, True, True),
        ((3, 7), Datatype.INT64, 7, 7),
        ((), Datatype.INT64, 4, 4),
    ],
)
def test_labels_are_as_the_model_gave_them(classes, datatype, told, wanted):
    found = BodyReader(labelled(classes, datatype)).predictions(said({"label": told}))
    assert found == {"label": [wanted]}
    assert type(found["label"][0]) is type(wanted)


def test_predictions_are_the_tensors_that_they_were_made_of():
    reader = BodyReader(labelled(("no", "yes"), Datatype.INT64))
    one = {
        "label": "yes",
        "probabilities": {"no": 0.25, "yes": 0.75},
        "score": 1.5,
        "outputs": {"extra": 9},
    }
    two = {**one, "label": "no"}
    assert reader.predictions(said(one, two)) == {
        "probabilities": [[0.25, 0.75]] * 2,
        "label": [1, 0],
        "score": [1.5, 1.5],
        "extra": [9, 9],
    }
    second = BodyReader(labelled(("no", "yes"), Datatype.INT64, width=1))
    assert second.predictions(said(one))["probabilities"] == [0.75]
    assert reader.predictions(b'{"predictions": []}') == {}
    with pytest.raises(InvalidError, match="no JSON"):
        reader.predictions(b"{")


@pytest.mark.parametrize(
    ("data", "shape", "wanted"),
    [
        ([1, 2], [2], [1, 2]),
        ([1, 2], [2, 1], [1, 2]),
        ([1, 2, 3, 4], [2, 2], [[1, 2], [3, 4]]),
        ([[1, 2], [3, 4]], [2, 2], [[1, 2], [3, 4]]),
        (list(range(8)), [2, 2, 2], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]),
        ([], [0, 3], []),
        ([5], [], [5]),
    ],
)
def test_flat_lists_take_their_shape(data, shape, wanted):
    assert shaped(data, shape) == wanted


@pytest.mark.parametrize(("data", "shape"), [([1, 2, 3], [2, 2]), ([1], [0, 2])])
def test_a_list_that_does_not_fit_is_refused(data, shape):
    with pytest.raises(InvalidError, match="have not the shape"):
        shaped(data, shape)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_of_four_bytes_stay_short_and_exact(values):
    array = np.array(values, "f4")
    found = items(TensorSpec("x", Datatype.FP32, (None,)), array)
    assert found == [float(str(value)) for value in array]
    assert np.array(found, "f4").tolist() == array.tolist()


def test_a_scalar_is_one_item():
    assert items(TensorSpec("x", Datatype.INT64, ()), np.array(7)) == [7]
