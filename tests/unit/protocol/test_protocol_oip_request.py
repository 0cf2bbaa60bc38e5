"""Inference requests: what is accepted, and every way in which one can be wrong."""

import json
import struct

import numpy as np
import orjson
import pytest

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.protocol.oip import decode_request, parse_header_length

pytestmark = pytest.mark.unit

X = TensorSpec("x", Datatype.FP32, (None, 3))
STRICT = TensorSpec("x", Datatype.FP32, (None, 3), allow_nan=False)
LABEL = TensorSpec("label", Datatype.INT64, (None,), Role.LABEL)
PROBS = TensorSpec("probabilities", Datatype.FP32, (None, 2), Role.PROBABILITIES)
ONE = Signature((X,), (LABEL, PROBS))
TWO = Signature(
    (
        TensorSpec("age", Datatype.INT32, (None, 1)),
        TensorSpec("city", Datatype.BYTES, (None, 1)),
    ),
    (LABEL,),
)


def signature_of(datatype: Datatype, *, allow_nan: bool = True) -> Signature:
    return Signature((TensorSpec("x", datatype, (None, None), allow_nan=allow_nan),), (LABEL,))


def entry(data, *, name="x", shape=(1, 3), datatype="FP32", **more) -> dict:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": data, **more}


def body_of(*inputs, **more) -> bytes:
    return orjson.dumps({"inputs": list(inputs), **more})


def binary_of(raw: bytes, *, shape=(1, 3), datatype="FP32", size=None, **more):
    told = {"binary_data_size": len(raw) if size is None else size}
    item = {"name": "x", "shape": list(shape), "datatype": datatype, "parameters": told}
    head = orjson.dumps({"inputs": [item], **more})
    return head + raw, len(head)


@pytest.mark.parametrize(
    "data", [[1.5, 2, -3], [[1.5, 2, -3]]], ids=["flat, an integer among them", "nested"]
)
def test_json(data):
    request = decode_request(body_of(entry(data)), None, ONE)
    array = request.inputs["x"]
    assert array.dtype == np.float32
    assert array.tolist() == [[1.5, 2.0, -3.0]]
    assert request.rows == 1
    assert request.id == ""
    assert request.outputs is None
    assert not request.binary_output


def test_several_inputs_come_in_the_signatures_order():
    request = decode_request(
        body_of(
            entry(["Ulm", "Köln"], name="city", shape=(2, 1), datatype="BYTES"),
            entry([[41], [7]], name="age", shape=(2, 1), datatype="INT32"),
        ),
        None,
        TWO,
    )
    assert list(request.inputs) == ["age", "city"]
    assert request.rows == 2
    assert request.inputs["city"].ravel().tolist() == [b"Ulm", "Köln".encode()]


def test_binary_is_a_view():
    raw = struct.pack("<6f", *range(6))
    body, length = binary_of(raw, shape=(2, 3))
    request = decode_request(body, length, ONE)
    assert request.inputs["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert request.inputs["x"].flags.aligned
    assert request.rows == 2


def test_binary_at_odd_addresses_is_copied():
    for pad in range(8):
        item = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
        item["parameters"] = {"binary_data_size": 12}
        head = orjson.dumps({"id": "a" * pad, "inputs": [item]})
        request = decode_request(head + struct.pack("<3f", 1, 2, 3), len(head), ONE)
        assert request.inputs["x"].flags.aligned
        assert request.inputs["x"].tolist() == [[1, 2, 3]]


def test_json_and_binary_in_one_request():
    head = orjson.dumps(
        {
            "inputs": [
                entry([41], name="age", shape=(1, 1), datatype="INT32"),
                {
                    "name": "city",
                    "shape": [1, 1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": 7},
                },
            ]
        }
    )
    request = decode_request(head + b"\3\0\0\0Ulm", len(head), TWO)
    assert request.inputs["age"].tolist() == [[41]]
    assert request.inputs["city"].tolist() == [[b"Ulm"]]


def test_null_is_nan_where_the_model_takes_it():
    request = decode_request(body_of(entry([1, None, 3])), None, ONE)
    assert np.isnan(request.inputs["x"]).tolist() == [[False, True, False]]


def test_everything_else_of_a_request():
    request = decode_request(
        body_of(
            entry([1, 2, 3]),
            id="seven",
            parameters={
                "timeout": 5000,
                "priority": 2,
                "binary_data_output": True,
                "sequence_id": 0,
                "mine": "kept",
            },
            outputs=[
                {"name": "probabilities", "parameters": {"classification": 2}},
                {"name": "label", "parameters": {"binary_data": False}},
            ],
        ),
        None,
        ONE,
    )
    assert (request.id, request.timeout_us, request.priority) == ("seven", 5000, 2)
    assert request.parameters == {"mine": "kept"}
    first, second = request.outputs
    assert (first.name, first.position, first.binary, first.classification) == (
        "probabilities",
        1,
        True,
        2,
    )
    assert (second.name, second.position, second.binary, second.classification) == (
        "label",
        0,
        False,
        0,
    )


def test_outputs_that_name_nothing_mean_all():
    assert decode_request(body_of(entry([1, 2, 3]), outputs=[]), None, ONE).outputs is None


def test_booleans_elsewhere_do_not_hide_numbers():
    body = body_of(entry([1, 2, 3]), parameters={"binary_data_output": True})
    assert decode_request(body, None, ONE).inputs["x"].tolist() == [[1, 2, 3]]


GOOD_X = entry([1, 2, 3])
WRONG = {
    # the body
    "no JSON": (b"{", "body", "no JSON"),
    "empty": (b"", "body", "no JSON"),
    "NaN literal": (b'{"inputs":[NaN]}', "body", "no JSON"),
    "Infinity literal": (b'{"inputs":[Infinity]}', "body", "no JSON"),
    "number beyond a double": (b'{"inputs":[1e999]}', "body", "no JSON"),
    "no UTF-8": (b'{"id":"\xff"}', "body", "no JSON"),
    "lone surrogate": (b'{"id":"\\ud800"}', "body", "no JSON"),
    "endless nesting": (b"[" * 100_000, "body", "no JSON"),
    "a list": (b"[]", "body", "object"),
    "a number": (b"3", "body", "object"),
    "no inputs": (b"{}", "inputs", "missing"),
    "inputs is an object": (b'{"inputs":{}}', "inputs", "list"),
    "unknown key": (body_of(GOOD_X, input=1), "input", "unknown"),
    "id is a number": (body_of(GOOD_X, id=7), "id", "string"),
    "id is endless": (body_of(GOOD_X, id="a" * 2000), "id", "string"),
    # inputs
    "input is a string": (b'{"inputs":["x"]}', "inputs[0]", "object"),
    "input is missing": (body_of(), "inputs", "'x' is missing"),
    "unknown input": (body_of(entry([1], name="y")), "inputs[0].name", "takes 'x'"),
    "name is a number": (body_of(entry([1], name=1)), "inputs[0].name", "takes 'x'"),
    "name is a list": (body_of(entry([1], name=[])), "inputs[0].name", "takes 'x'"),
    "no name": (b'{"inputs":[{"shape":[1,3]}]}', "inputs[0].name", "takes 'x'"),
    "input twice": (body_of(GOOD_X, GOOD_X), "inputs[1].name", "twice"),
    "unknown key of an input": (
        body_of(entry([1, 2, 3], dtype="x")),
        "inputs[0].dtype",
        "unknown",
    ),
    # datatype
    "another datatype": (body_of(entry([1, 2, 3], datatype="FP64")), "inputs[0].datatype", "FP32"),
    "numpy's name": (body_of(entry([1, 2, 3], datatype="float32")), "inputs[0].datatype", "FP32"),
    "datatype is null": (body_of(entry([1, 2, 3], datatype=None)), "inputs[0].datatype", "FP32"),
    # shape
    "no shape": (
        orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "data": [1, 2, 3]}]}),
        "inputs[0].shape",
        "list of lengths",
    ),
    "rank too low": (body_of(entry([1, 2, 3], shape=[3])), "inputs[0].shape", "[-1,3]"),
    "rank too high": (body_of(entry([1, 2, 3], shape=[1, 1, 3])), "inputs[0].shape", "[-1,3]"),
    "another width": (body_of(entry([1, 2, 3, 4], shape=[1, 4])), "inputs[0].shape", "[-1,3]"),
    "negative axis": (body_of(entry([1, 2, 3], shape=[-1, 3])), "inputs[0].shape", "-1"),
    "axis is a float": (body_of(entry([1, 2, 3], shape=[1.0, 3])), "inputs[0].shape", "1.0"),
    "axis is a boolean": (body_of(entry([1, 2, 3], shape=[True, 3])), "inputs[0].shape", "True"),
    "axis is a string": (body_of(entry([1, 2, 3], shape=["1", 3])), "inputs[0].shape", "'1'"),
    "huge axis": (body_of(entry([1, 2, 3], shape=[2**62, 3])), "inputs[0].shape", "fit"),
    "more than 64 bits": (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[99999999999999999999,3],"data":[]}]}',
        "inputs[0].shape",
        "no length",
    ),
    "no rows": (body_of(entry([], shape=[0, 3])), "inputs[0].shape", "no rows"),
    # data
    "no data": (
        orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3]}]}),
        "inputs[0].data",
        "neither",
    ),
    "no data and another key": (
        orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "date": 1}]}),
        "inputs[0].date",
        "unknown",
    ),
    "data is a number": (body_of(entry(1)), "inputs[0].data", "list"),
    "data is an object": (body_of(entry({})), "inputs[0].data", "list"),
    "too few": (body_of(entry([1, 2])), "inputs[0].data", "2 elements"),
    "too many": (body_of(entry([1, 2, 3, 4])), "inputs[0].data", "4 elements"),
    "ragged": (body_of(entry([[1, 2], [3]], shape=[2, 3])), "inputs[0].data", "nested"),
    "nested otherwise": (body_of(entry([[1], [2], [3]])), "inputs[0].data", "nested"),
    "nested too deep": (body_of(entry([[[1, 2, 3]]])), "inputs[0].data", "nested"),
    "a list among numbers": (body_of(entry([1, [2], 3])), "inputs[0].data", "element 1"),
    "numbers among lists": (body_of(entry([[1, 2, 3], 4], shape=[2, 3])), "inputs[0].data", "nest"),
    "a string": (body_of(entry([1, "2", 3])), "inputs[0].data", "element 1 is '2'"),
    "a boolean": (body_of(entry([1.5, True, 3])), "inputs[0].data", "element 1 is True"),
    "an object": (body_of(entry([1, {}, 3])), "inputs[0].data", "element 1"),
    "beyond FP32": (body_of(entry([1, 1e39, 3])), "inputs[0].data", "1e+39 is out of FP32"),
    # parameters
    "parameters is a list": (body_of(GOOD_X, parameters=[]), "parameters", "object"),
    "a parameter is a list": (body_of(GOOD_X, parameters={"a": []}), "parameters.a", "scalar|str"),
    "reserved": (body_of(GOOD_X, parameters={"triton_x": 1}), "parameters.triton_x", "reserved"),
    "timeout is a string": (
        body_of(GOOD_X, parameters={"timeout": "1"}),
        "parameters.timeout",
        "whole number",
    ),
    "negative timeout": (
        body_of(GOOD_X, parameters={"timeout": -1}),
        "parameters.timeout",
        "whole number",
    ),
    "priority is a float": (
        body_of(GOOD_X, parameters={"priority": 1.5}),
        "parameters.priority",
        "whole number",
    ),
    "flag is a number": (
        body_of(GOOD_X, parameters={"binary_data_output": 1}),
        "parameters.binary_data_output",
        "true or false",
    ),
    "input parameters is a list": (
        body_of(entry([1, 2, 3], parameters=[])),
        "inputs[0].parameters",
        "object",
    ),
    # outputs
    "outputs is an object": (body_of(GOOD_X, outputs={}), "outputs", "list"),
    "output is a string": (body_of(GOOD_X, outputs=["label"]), "outputs[0]", "object"),
    "unknown output": (body_of(GOOD_X, outputs=[{"name": "y"}]), "outputs[0].name", "'label'"),
    "output without a name": (body_of(GOOD_X, outputs=[{}]), "outputs[0].name", "'label'"),
    "output twice": (
        body_of(GOOD_X, outputs=[{"name": "label"}, {"name": "label"}]),
        "outputs",
        "twice",
    ),
    "unknown key of an output": (
        body_of(GOOD_X, outputs=[{"name": "label", "shape": [1]}]),
        "outputs[0].shape",
        "unknown",
    ),
    "binary_data is a number": (
        body_of(GOOD_X, outputs=[{"name": "label", "parameters": {"binary_data": 1}}]),
        "outputs[0].parameters.binary_data",
        "true or false",
    ),
    "negative classification": (
        body_of(GOOD_X, outputs=[{"name": "label", "parameters": {"classification": -1}}]),
        "outputs[0].parameters.classification",
        "number of classes",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    body, field, message = WRONG[name]
    with pytest.raises(InvalidError, match=None) as caught:
        decode_request(body, None, ONE)
    assert caught.value.field == field
    assert any(part in caught.value.message for part in message.split("|")), caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    if field in {"inputs[0].shape", "inputs[0].data", "inputs[0].datatype"}:
        assert "'x'" in caught.value.message


RAW = struct.pack("<3f", 1, 2, 3)
BOTH = body_of(entry([1, 2, 3], parameters={"binary_data_size": 12}))
WRONG_BINARY = {
    "truncated": (*binary_of(RAW[:-1], size=12), "inputs[0].parameters.binary_data_size"),
    "size too small": (*binary_of(RAW, size=8), "inputs[0].data"),
    "size too large": (*binary_of(RAW, size=13), "inputs[0].parameters.binary_data_size"),
    "negative size": (*binary_of(RAW, size=-1), "inputs[0].parameters.binary_data_size"),
    "size is a string": (*binary_of(RAW, size="12"), "inputs[0].parameters.binary_data_size"),
    "size is a boolean": (*binary_of(RAW, size=True), "inputs[0].parameters.binary_data_size"),
    "surplus bytes": (binary_of(RAW)[0] + b"x", binary_of(RAW)[1], "body"),
    "more rows than bytes": (*binary_of(RAW, shape=(2, 3)), "inputs[0].data"),
    "huge shape": (*binary_of(RAW, shape=(2**61, 3)), "inputs[0].shape"),
    "no header": (binary_of(RAW)[0], None, "body"),
    "header beyond the body": (binary_of(RAW)[0], 10_000, "Inference-Header-Content-Length"),
    "header of nothing": (binary_of(RAW)[0], 0, "Inference-Header-Content-Length"),
    "negative header": (binary_of(RAW)[0], -1, "Inference-Header-Content-Length"),
    "header too short": (binary_of(RAW)[0], 20, "body"),
    "header too long": (binary_of(RAW)[0], binary_of(RAW)[1] + 1, "body"),
    "binary without its header": (
        orjson.dumps(
            {
                "inputs": [
                    {
                        "name": "x",
                        "shape": [1, 3],
                        "datatype": "FP32",
                        "parameters": {"binary_data_size": 12},
                    }
                ]
            }
        ),
        None,
        "Inference-Header-Content-Length",
    ),
    "data and binary": (
        BOTH + RAW,
        len(BOTH),
        "inputs[0].data",
    ),
}


@pytest.mark.parametrize("name", WRONG_BINARY)
def test_wrong_binary(name):
    body, length, field = WRONG_BINARY[name]
    with pytest.raises(InvalidError) as caught:
        decode_request(body, length, ONE)
    assert caught.value.field == field


RANGES = {
    Datatype.UINT8: (0, 2**8 - 1),
    Datatype.UINT16: (0, 2**16 - 1),
    Datatype.UINT32: (0, 2**32 - 1),
    Datatype.UINT64: (0, 2**64 - 1),
    Datatype.INT8: (-(2**7), 2**7 - 1),
    Datatype.INT16: (-(2**15), 2**15 - 1),
    Datatype.INT32: (-(2**31), 2**31 - 1),
    Datatype.INT64: (-(2**63), 2**63 - 1),
}


@pytest.mark.parametrize("datatype", RANGES)
def test_integers_keep_their_bounds_and_all_their_bits(datatype):
    low, high = RANGES[datatype]
    signature = signature_of(datatype)
    values = [low, high, high - 1, 0]
    body = body_of(entry(values, shape=(1, 4), datatype=datatype))
    assert decode_request(body, None, signature).inputs["x"].tolist() == [values]
    for beyond in (low - 1, high + 1):
        text = '{"inputs":[{"name":"x","shape":[1,1],"datatype":"%s","data":[%d]}]}'
        with pytest.raises(InvalidError) as caught:
            decode_request((text % (datatype, beyond)).encode(), None, signature)
        assert caught.value.field == "inputs[0].data"
    for wrong in (1.0, 1.5, True, None, "1"):
        with pytest.raises(InvalidError, match=r"element 0 is .* an integer is wanted"):
            decode_request(
                body_of(entry([wrong], shape=(1, 1), datatype=datatype)), None, signature
            )


def test_bool_is_bool_only():
    signature = signature_of(Datatype.BOOL)
    body = body_of(entry([True, False], shape=(1, 2), datatype="BOOL"))
    array = decode_request(body, None, signature).inputs["x"]
    assert array.dtype == np.bool_
    assert array.tolist() == [[True, False]]
    for wrong in (0, 1, None, "true"):
        with pytest.raises(InvalidError, match="true or false"):
            decode_request(body_of(entry([wrong], shape=(1, 1), datatype="BOOL")), None, signature)
    body, length = binary_of(b"\0\2", shape=(1, 2), datatype="BOOL")
    with pytest.raises(InvalidError, match="0 or 1"):
        decode_request(body, length, signature)


@pytest.mark.parametrize("wrong", [1, None, True, ["a"], {}])
def test_bytes_are_strings_only(wrong):
    with pytest.raises(InvalidError):
        decode_request(
            body_of(entry(["a", wrong], shape=(1, 2), datatype="BYTES")),
            None,
            signature_of(Datatype.BYTES),
        )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\3\0\0",
        b"\3\0\0\0Ul",
        b"\3\0\0\0Ulm",
        b"\3\0\0\0Ulm\xff\xff\xff\xff",
        b"\3\0\0\0Ulm\0\0\0\0x",
        b"\3\0\0\0Ulm\0\0\0\0\0\0\0\0",
    ],
)
def test_wrong_bytes(raw):
    body, length = binary_of(raw, shape=(1, 2), datatype="BYTES")
    with pytest.raises(InvalidError, match="tensor 'x'") as caught:
        decode_request(body, length, signature_of(Datatype.BYTES))
    assert caught.value.field == "inputs[0].data"


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.BF16])
def test_half_floats_are_binary_only(datatype):
    signature = signature_of(datatype)
    with pytest.raises(InvalidError, match="no JSON form: send it as binary"):
        decode_request(body_of(entry([1], shape=(1, 1), datatype=datatype)), None, signature)
    body, length = binary_of(b"\x80\x3f", shape=(1, 1), datatype=datatype)
    assert decode_request(body, length, signature).inputs["x"].shape == (1, 1)


NANS = {
    Datatype.FP16: struct.pack("<e", float("nan")),
    Datatype.FP32: struct.pack("<f", float("nan")),
    Datatype.FP64: struct.pack("<d", float("nan")),
    Datatype.BF16: b"\xc0\xff",
}


@pytest.mark.parametrize("datatype", NANS)
def test_nan_only_where_the_model_takes_it(datatype):
    raw = b"\0" * len(NANS[datatype]) + NANS[datatype]
    body, length = binary_of(raw, shape=(1, 2), datatype=datatype)
    decode_request(body, length, signature_of(datatype))
    with pytest.raises(InvalidError, match="NaN is not accepted"):
        decode_request(body, length, signature_of(datatype, allow_nan=False))
    infinite = {2: b"\x80\x7f", 4: struct.pack("<f", float("inf"))}.get(len(NANS[datatype]))
    if infinite and datatype is not Datatype.FP16:
        body, length = binary_of(infinite, shape=(1, 1), datatype=datatype)
        decode_request(body, length, signature_of(datatype, allow_nan=False))


def test_null_is_refused_where_nan_is():
    with pytest.raises(InvalidError, match="element 1 is None"):
        decode_request(body_of(entry([1, None, 3])), None, Signature((STRICT,), (LABEL,)))


def test_rows_must_agree_between_inputs():
    with pytest.raises(InvalidError, match="2 rows where the inputs before it have 1") as caught:
        decode_request(
            body_of(
                entry([1], name="age", shape=(1, 1), datatype="INT32"),
                entry(["a", "b"], name="city", shape=(2, 1), datatype="BYTES"),
            ),
            None,
            TWO,
        )
    assert caught.value.field == "inputs[1].shape"


@pytest.mark.parametrize(
    "more",
    [
        {"outputs": [{"name": "label", "parameters": {"shared_memory_region": "a"}}]},
    ],
)
def test_what_is_not_offered(more):
    with pytest.raises(UnsupportedError, match="not offered"):
        decode_request(body_of(GOOD_X, **more), None, ONE)


def test_shared_memory_is_not_offered():
    item = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
    item["parameters"] = {"shared_memory_region": "a", "shared_memory_byte_size": 12}
    with pytest.raises(UnsupportedError, match="shared memory") as caught:
        decode_request(body_of(item), None, ONE)
    assert caught.value.field == "inputs[0].parameters"


def test_half_float_outputs_are_refused_before_the_model_runs():
    half = TensorSpec("y", Datatype.FP16, (None,))
    signature = Signature((X,), (LABEL, half))
    for more in ({}, {"outputs": [{"name": "y"}]}):
        with pytest.raises(InvalidError, match="binary_data_output"):
            decode_request(body_of(GOOD_X, **more), None, signature)
    for more in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "label"}]},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
    ):
        decode_request(body_of(GOOD_X, **more), None, signature)


def test_classification_needs_numbers():
    text = TensorSpec("y", Datatype.BYTES, (None,))
    body = body_of(GOOD_X, outputs=[{"name": "y", "parameters": {"classification": 1}}])
    with pytest.raises(InvalidError, match="classification"):
        decode_request(body, None, Signature((X,), (text,)))


def test_scalars_and_fixed_axes():
    signature = Signature((TensorSpec("x", Datatype.FP32, ()),), (LABEL,))
    body = body_of(entry([1.5], shape=()))
    assert decode_request(body, None, signature).inputs["x"].shape == ()
    with pytest.raises(InvalidError, match="nested"):
        decode_request(body_of(entry([[1.5]], shape=())), None, signature)


def test_header_length():
    assert parse_header_length(None) is None
    assert parse_header_length(b"12") == 12
    for wrong in (b"", b"-1", b"+1", b"1.0", b"1, 1", b"0x1", b"9" * 30, "²".encode()):
        with pytest.raises(InvalidError):
            parse_header_length(wrong)


def test_many_signatures_do_not_mix_up():
    body = body_of(entry([1, 2, 3]))
    other = json.loads(body)
    other["inputs"][0]["name"] = "z"
    for i in range(3000):
        signature = Signature((TensorSpec("xz"[i % 2], Datatype.FP32, (None, 3)),), (LABEL,))
        request = decode_request(body if i % 2 == 0 else orjson.dumps(other), None, signature)
        assert list(request.inputs) == ["xz"[i % 2]]
