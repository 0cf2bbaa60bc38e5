"""What users give `infer`, as the server reads it."""

import numpy as np
import pytest

from modelworks.client import tensors
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip.caller import build_request
from modelworks.protocol.oip.request import decode_request
from modelworks.protocol.tensors import DTYPES

pytestmark = pytest.mark.unit

NUMBERS = [d for d in Datatype if d not in {Datatype.BYTES, Datatype.BF16}]


def _sent(datatype: Datatype, value: object) -> np.ndarray:
    spec = TensorSpec("x", datatype, (None, None))
    arrays = tensors.cast({"x": value}, {"x": spec})
    body, _, headers = build_request(arrays, datatypes={"x": datatype})
    return decode_request(body, int(headers[0][1]), Signature((spec,), ())).inputs["x"]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_arrives(datatype):
    array = np.array([[0, 1], [1, 0]], dtype=DTYPES[datatype])
    seen = _sent(datatype, array)
    assert seen.dtype == DTYPES[datatype]
    assert np.array_equal(seen, array)


def test_text_arrives_as_bytes():
    seen = _sent(Datatype.BYTES, [["a", "\u00e9\u4e2d"], ["", "z"]])
    assert seen.tolist() == [[b"a", "\u00e9\u4e2d".encode()], [b"", b"z"]]


def test_bf16_is_rounded_to_nearest_even():
    seen = _sent(Datatype.BF16, np.array([[1.0, -2.5, 3.1415927]], np.float32))
    back = (seen.astype(np.uint32) << 16).view(np.float32)
    assert back.tolist() == [[1.0, -2.5, 3.140625]]


def test_what_numpy_reads_as_doubles_becomes_the_models_floats():
    assert _sent(Datatype.FP32, [[1, 2.5]]).dtype == np.float32


def test_a_strided_big_endian_array_is_sent_in_order():
    array = np.arange(8, dtype=">f8").reshape(2, 4)[:, ::2]
    assert _sent(Datatype.FP32, array).tolist() == [[0, 2], [4, 6]]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (Datatype.FP32, [["a"]]),
        (Datatype.INT64, [[1.5]]),
        (Datatype.BOOL, [[2]]),
        (Datatype.INT8, [[300]]),
        (Datatype.UINT8, [[-1]]),
        (Datatype.BYTES, [[1]]),
        (Datatype.FP32, [[1], [1, 2]]),
        (Datatype.FP32, [[None]]),
    ],
)
def test_values_of_another_kind_are_refused_here(datatype, value):
    with pytest.raises(InvalidError) as caught:
        _sent(datatype, value)
    assert caught.value.field == "x"


@pytest.mark.parametrize("inputs", [{}, {"y": [1]}, {"x": [[1]], "y": [1]}])
def test_names_are_checked(inputs):
    with pytest.raises(InvalidError):
        tensors.cast(inputs, {"x": TensorSpec("x", Datatype.FP32, (None, 1))})
