"""Long lists of numbers: the array that the general way gives, or the general way's own words."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip import decode_request, long_lists, request
from properties import examples

pytestmark = pytest.mark.unit
SIZE = 8192  # as text always long enough for the short way


def signature(datatype):
    return Signature(
        (TensorSpec("x", datatype, (None, SIZE)),), (TensorSpec("y", Datatype.FP32, (None,)),)
    )


def body(numbers, datatype="FP32", shape=(1, SIZE), tail=b"}]}"):
    head = {"name": "x", "shape": list(shape), "datatype": datatype}
    text = numbers if isinstance(numbers, bytes) else json.dumps(numbers).encode()
    return b'{"inputs": [' + json.dumps(head).encode()[:-1] + b', "data": ' + text + tail


def general(monkeypatch, data, kind):
    with monkeypatch.context() as patch:
        patch.setattr(request, "LONG", 1 << 60)
        return decode_request(data, None, kind)


@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.FP64])
@examples(20)
@given(values=st.lists(st.one_of(st.floats(-3e38, 3e38), st.integers(-(2**60), 2**60)), max_size=9))
def test_the_numbers_are_those_of_the_general_way(datatype, values):
    numbers = (values or [0.1]) * SIZE
    data = body(numbers[:SIZE], datatype.value)
    assert len(data) >= long_lists.LONG
    kind = signature(datatype)
    with pytest.MonkeyPatch.context() as patch:
        wanted = general(patch, data, kind).inputs["x"]
    found = decode_request(data, None, kind).inputs["x"]
    assert found.dtype == wanted.dtype
    assert found.shape == (1, SIZE)
    assert found.tobytes() == wanted.tobytes()


def test_the_short_way_is_taken():
    data = body([0.25] * SIZE)
    document = long_lists.with_long_list(data)
    assert isinstance(document["inputs"][0]["data"], np.ndarray)


FULL = b"[" + b"1.5," * (SIZE - 1)


@pytest.mark.parametrize(
    "data",
    [
        body(FULL + b"true]"),
        body(FULL + b'"1"]'),
        body(FULL + b"[1]]"),
        body(FULL + b"1e39]"),
        body(FULL + b"1e999]"),
        body(FULL + b"01]"),
        body(FULL + b"NaN]"),
        body(FULL + b"1,2]"),
        body(FULL + b"]"),
        body(FULL + b"1"),
        body(FULL + b"1]", shape=(1, 7)),
        body(FULL + b"1]", shape=(1, -SIZE)),
        body(FULL + b"1]", datatype="FP64"),
        body(FULL + b"1]", datatype="INT32"),
        body(FULL + b"1]", datatype="FP8"),
        body(FULL + b"1]", tail=b', "data": [1]}]}'),
        body(FULL + b"1]", tail=b', "more": 1}]}'),
        body(FULL + b"1]", tail=b'}], "id": 7}'),
        body(FULL + b"1]", tail=b"}, 1]}"),
        body(FULL + b"1]", tail=b"}]"),
    ],
)
def test_what_is_wrong_is_told_in_the_general_way(monkeypatch, data):
    kind = signature(Datatype.FP32)
    assert len(data) >= long_lists.LONG
    with pytest.raises(InvalidError) as wanted:
        general(monkeypatch, data, kind)
    with pytest.raises(InvalidError) as found:
        decode_request(data, None, kind)
    assert (found.value.message, found.value.field) == (wanted.value.message, wanted.value.field)


@pytest.mark.parametrize(
    "data",
    [
        body([[0.5] * SIZE]),  # nested
        body(FULL + b"null]"),  # NaN
        body(FULL + b"1]", tail=b'}], "parameters": {"wish": true}}'),
        body(FULL + b"1]", tail=b', "parameters": {"binary_data": false}}]}'),
        body(FULL + b"1]", tail=b'}], "id": "\\"data\\": [1]"}'),
        body(FULL + b"1]", tail=b'}], "id": "a"}'),
        body(FULL + b"1]").replace(b'"data"', b'"d\\u0061ta"', 1),
        body(FULL + b"1]", tail=b'}], "id": "x"}').replace(b'"data"', b'"d\\u0061ta"', 1),
    ],
)
def test_what_is_right_stays_right(monkeypatch, data):
    kind = signature(Datatype.FP32)
    wanted, found = general(monkeypatch, data, kind), decode_request(data, None, kind)
    np.testing.assert_array_equal(found.inputs["x"], wanted.inputs["x"])
    assert (found.id, found.parameters) == (wanted.id, wanted.parameters)


def test_a_list_in_a_string_is_no_data():
    """The key is written with an escape, and a string holds what looks like the data."""
    numbers = "[" + "1.5," * SIZE + "1.5]"
    text = body(FULL + b"2.5]").replace(b'"data"', b'"d\\u0061ta"', 1)
    told = b'], "parameters": {"note": "x \\"data\\": ' + numbers.encode() + b'"}}'
    found = decode_request(text[:-2] + told, None, signature(Datatype.FP32))
    assert found.inputs["x"][0, -1] == 2.5
    assert found.parameters["note"].endswith("1.5]")
