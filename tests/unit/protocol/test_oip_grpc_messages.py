"""Requests and answers as messages: tritonclient's are read, and it reads ours; what is refused."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip import decode_request
from modelworks.protocol.oip_grpc.requests import FIELDS, decode_message
from modelworks.protocol.oip_grpc.responses import MessageWriter, read_answer
from modelworks.protocol.oip_grpc.templates import MessageReader, parts_of
from modelworks.protocol.tensors import DTYPES, pack

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ml_dtypes
    import tritonclient.grpc as triton
    from tritonclient.grpc import service_pb2
    from tritonclient.grpc._utils import _get_inference_request

pytestmark = pytest.mark.unit

SAMPLES = {
    Datatype.BOOL: [[True, False], [False, True]],
    Datatype.FP16: [[1.5, -2], [0, 65504]],
    Datatype.FP32: [[1.5, -2], [0, 3e38]],
    Datatype.FP64: [[1.5, -2], [0, 1e300]],
    Datatype.BF16: [[1.5, -2], [0, 1]],
    Datatype.BYTES: [[b"a", b""], ["ö".encode(), b"\xff\x00d"]],
} | {
    t: [[np.iinfo(DTYPES[t]).min, 1], [2, np.iinfo(DTYPES[t]).max]] for t in Datatype if "INT" in t
}


def signature_of(datatype=Datatype.FP32, width=2, **more):
    shape = (None, width)
    return Signature(
        (TensorSpec("x", datatype, shape, **more),), (TensorSpec("y", datatype, shape),)
    )


def sample(datatype):
    if datatype is Datatype.BF16:  # the client's own type; the house keeps bit patterns
        given = np.array(SAMPLES[datatype], ml_dtypes.bfloat16)
        return given, given.view(np.uint16)
    array = np.array(SAMPLES[datatype], DTYPES[datatype])
    return array, array


def message(inputs, **more):
    """As tritonclient writes it."""
    asked = {
        "model_name": "m",
        "model_version": "",
        "request_id": "",
        "outputs": None,
        "sequence_id": 0,
        "sequence_start": False,
        "sequence_end": False,
        "priority": 0,
        "timeout": None,
        "parameters": None,
    }
    return _get_inference_request(inputs=inputs, **{**asked, **more}).SerializeToString()


def raw_input(name, array, datatype="FP32"):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def answer(data):
    return triton.InferResult(service_pb2.ModelInferResponse.FromString(data))


@pytest.mark.parametrize("datatype", list(Datatype))
def test_there_and_back(datatype):
    given, ours = sample(datatype)
    signature = signature_of(datatype)
    data = message([raw_input("x", given, str(datatype))], request_id="r")
    request = decode_message(data, signature)
    np.testing.assert_array_equal(request.inputs["x"], ours)
    assert (request.rows, request.id, request.binary_output) == (2, "r", True)
    told = MessageWriter("m", "1.0.0", signature).write(request, [ours], "r")
    found = answer(told)
    np.testing.assert_array_equal(found.as_numpy("y"), given)
    assert found.get_response().id == "r"
    own, [(spec, array)] = read_answer(told)
    assert (own, spec.name, spec.datatype) == ("r", "y", datatype)
    np.testing.assert_array_equal(array, ours)


@pytest.mark.parametrize("datatype", list(FIELDS))
def test_typed_contents_are_answered_typed(datatype):
    _, ours = sample(datatype)
    asked = service_pb2.ModelInferRequest(model_name="m")
    tensor = asked.inputs.add(name="x", datatype=str(datatype), shape=[2, 2])
    getattr(tensor.contents, FIELDS[datatype]).extend(ours.ravel().tolist())
    request = decode_message(asked.SerializeToString(), signature_of(datatype))
    np.testing.assert_array_equal(request.inputs["x"], ours)
    told = MessageWriter("m", "1.0.0", signature_of(datatype)).write(request, [ours])
    found = service_pb2.ModelInferResponse.FromString(told)
    assert not found.raw_output_contents
    assert list(getattr(found.outputs[0].contents, FIELDS[datatype])) == ours.ravel().tolist()
    _, [(_, array)] = read_answer(told)
    np.testing.assert_array_equal(array, ours)


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.BF16])
def test_halves_have_no_typed_form_and_are_answered_raw(datatype):
    asked = service_pb2.ModelInferRequest(model_name="m")
    tensor = asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    tensor.contents.fp32_contents.extend([1, 2])
    signature = Signature(
        signature_of().inputs, (TensorSpec("y", datatype, (None, 2)), signature_of().outputs[0])
    )
    request = decode_message(asked.SerializeToString(), signature)
    half = np.zeros((1, 2), DTYPES[datatype])
    told = MessageWriter("m", "1", signature).write(request, [half, np.ones((1, 2), "f4")])
    assert len(service_pb2.ModelInferResponse.FromString(told).raw_output_contents) == 2
    tensor.datatype = str(datatype)
    with pytest.raises(InvalidError, match="has no typed contents: send raw_input_contents"):
        decode_message(asked.SerializeToString(), signature_of(datatype))


def test_parameters_travel():
    data = message(
        [raw_input("x", np.ones((1, 2), "f4"))],
        priority=2,
        timeout=5_000,
        parameters={"a": 1, "b": "text", "c": True, "d": 0.5},
    )
    request = decode_message(data, signature_of())
    assert (request.priority, request.timeout_us) == (2, 5000)
    assert request.parameters == {"a": 1, "b": "text", "c": True, "d": 0.5}


def test_outputs_are_chosen_in_order_and_classified():
    signature = Signature(
        signature_of().inputs,
        (TensorSpec("a", Datatype.FP32, (None, 3)), TensorSpec("b", Datatype.INT64, (None,))),
    )
    wanted = [triton.InferRequestedOutput("b"), triton.InferRequestedOutput("a", class_count=2)]
    data = message([raw_input("x", np.ones((1, 2), "f4"))], outputs=wanted)
    request = decode_message(data, signature)
    outputs = [np.array([[0.1, 0.7, 0.2]], "f4"), np.array([5])]
    found = answer(MessageWriter("m", "1", signature).write(request, outputs))
    assert [output.name for output in found.get_response().outputs] == ["b", "a"]
    assert found.as_numpy("b").tolist() == [5]
    assert found.as_numpy("a").tolist() == [[b"0.700000:1", b"0.200000:2"]]


def test_several_inputs_in_any_order_by_template_too():
    specs = (
        TensorSpec("a", Datatype.FP32, (None, 2)),
        TensorSpec("b", Datatype.INT64, (None, 1)),
        TensorSpec("c", Datatype.FP64, (None,)),
    )
    signature = Signature(specs, specs)
    reader = MessageReader(signature)
    for turn in range(4):
        arrays = {
            "c": np.full(1, turn + 0.5),
            "a": np.full((1, 2), turn, "f4"),
            "b": np.full((1, 1), turn, "i8"),
        }
        inputs = [
            raw_input(name, array, str(next(s.datatype for s in specs if s.name == name)))
            for name, array in arrays.items()
        ]
        data = message(inputs, request_id=f"r{turn}")
        _, start, own = parts_of(data)
        assert own == f"r{turn}"
        template = reader.recognise(data, start)
        assert (template is not None) == (turn > 0)
        found = template.read(data, start) if template else reader.read(data, start).inputs
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


def test_a_template_fits_its_own_size_only():
    reader = MessageReader(signature_of(width=None))
    one = message([raw_input("x", np.ones((1, 2), "f4"))])
    _, start, _ = parts_of(one)
    reader.read(one, start)
    assert reader.recognise(one, start) is not None
    for other in (
        one[:-1],
        one + b"\x00",
        one + one,
        message([raw_input("x", np.ones((1, 4), "f4"))]),
    ):
        assert reader.recognise(other, start) is None


def test_what_varies_otherwise_is_never_read_by_template():
    reader = MessageReader(signature_of())
    plain = message([raw_input("x", np.ones((1, 2), "f4"))])
    start = parts_of(plain)[1]
    reader.read(plain, start)
    other = message([raw_input("x", np.ones((1, 2), "f4"))], timeout=7)
    assert reader.recognise(other, start) is None
    assert reader.read(other, start).timeout_us == 7
    # The same, with the model's name once more at its end, where it would count: who looked at the
    # beginning has asked another model.
    twice = plain + b"\x0a\x01z"
    with pytest.raises(InvalidError, match="stand once"):
        reader.read(twice, start)
    assert reader.recognise(twice, start) is None


def test_nan_is_seen_behind_a_template():
    signature = signature_of(allow_nan=False)
    reader = MessageReader(signature)
    good = message([raw_input("x", np.ones((1, 2), "f4"))])
    bad = message([raw_input("x", np.array([[1, np.nan]], "f4"))])
    start = parts_of(good)[1]
    reader.read(good, start)
    assert reader.recognise(bad, start).read(bad, start) is None
    with pytest.raises(InvalidError, match="NaN is not accepted"):
        reader.read(bad, start)


def test_templates_are_bounded():
    reader = MessageReader(signature_of(width=None))
    for width in range(1, 400):
        data = message([raw_input("x", np.ones((1, width), "f4"))])
        reader.read(data, parts_of(data)[1])
    assert len(reader._pieces) <= 64
    assert len(reader._sizes) <= 64


def made(**more):
    """A good request, by their own class, to be spoilt."""
    asked = service_pb2.ModelInferRequest(model_name="m", **more)
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    asked.raw_input_contents.append(np.ones(2, "f4").tobytes())
    return asked


def spoilt(act):
    asked = made()
    act(asked)
    return asked.SerializeToString()


def typed(asked, field, values, datatype="FP32"):
    del asked.raw_input_contents[:]
    asked.inputs[0].datatype = datatype
    getattr(asked.inputs[0].contents, field).extend(values)


REFUSED = [
    (lambda a: a.inputs[0].shape.append(3), "inputs[0].shape", "does not fit"),
    (lambda a: a.inputs[0].shape.__setitem__(0, -1), "inputs[0].shape", "-1 in its shape"),
    (lambda a: a.inputs[0].shape.extend([1] * 99), "inputs[0].shape", "a shape of 101 axes"),
    (lambda a: setattr(a.inputs[0], "name", "z"), "inputs[0].name", "no input is called 'z'"),
    (lambda a: setattr(a.inputs[0], "datatype", "FP64"), "inputs[0].datatype", "must be FP32"),
    (lambda a: setattr(a.inputs[0], "datatype", "FP99"), "inputs[0].datatype", "must be FP32"),
    (lambda a: a.inputs.pop(), "raw_input_contents", "0 inputs and 1 raw_input_contents"),
    (lambda a: a.raw_input_contents.append(b""), "raw_input_contents", "1 inputs and 2"),
    (lambda a: a.inputs.append(a.inputs[0]), "raw_input_contents", "2 inputs and 1"),
    (lambda a: a.raw_input_contents.__setitem__(0, b"abc"), "inputs[0].data", "3 bytes of data"),
    (lambda a: a.raw_input_contents.pop(), "inputs[0].data", "0 bytes of data"),
    (
        lambda a: a.inputs[0].contents.fp32_contents.append(1),
        "inputs[0].contents",
        "has contents beside raw_input_contents",
    ),
    (
        lambda a: typed(a, "int_contents", [1, 2]),
        "inputs[0].contents",
        "elements of FP32 belong into fp32_contents, not into int_contents",
    ),
    (lambda a: typed(a, "fp32_contents", [1.0]), "inputs[0].data", "4 bytes of data"),
    (lambda a: a.outputs.add(name="q"), "outputs[0].name", "no output is called 'q'"),
    (lambda a: a.parameters.get_or_create("k"), "parameters.k", "'k' has no value"),
    (
        lambda a: a.parameters["triton_x"].MergeFrom(service_pb2.InferParameter(bool_param=True)),
        "parameters.triton_x",
        "reserved",
    ),
    (
        lambda a: setattr(a.parameters["timeout"], "int64_param", -1),
        "parameters.timeout",
        "0 or more",
    ),
    (lambda a: setattr(a, "id", "x" * 2000), "id", "at most 1024"),
]


@pytest.mark.parametrize(
    ("act", "field", "words"), REFUSED, ids=lambda v: v if type(v) is str else ""
)
def test_what_is_wrong_is_said_with_its_place(act, field, words):
    with pytest.raises(InvalidError) as caught:
        decode_message(spoilt(act), signature_of())
    assert caught.value.field == field
    assert words in caught.value.message


def test_narrow_integers_are_held_to_their_range():
    for datatype, values in ((Datatype.INT8, [1, 128]), (Datatype.UINT16, [65536, 0])):
        asked = made()
        typed(asked, FIELDS[datatype], values, str(datatype))
        with pytest.raises(InvalidError, match=f"is out of {datatype}'s range"):
            decode_message(asked.SerializeToString(), signature_of(datatype))


def test_shared_memory_is_refused():
    asked = made()
    asked.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(UnsupportedError, match="shared memory"):
        decode_message(asked.SerializeToString(), signature_of())


def test_a_name_that_does_not_begin_as_usual():
    assert parts_of(b"") is None
    assert parts_of(b"\x12\x01v\x0a\x01m") is None  # another order: read, and never by template
    assert parts_of(b"\x0a\x05m") is None
    assert parts_of(b"\x0a\x01m\x12\x05v") is None
    assert parts_of(b"\x0a\x01m\x1a\x02\xff\xff") is None
    long = service_pb2.ModelInferRequest(model_name="m" * 200).SerializeToString()
    assert parts_of(long) is None
    assert parts_of(b"\x0a\x01m") == (3, 3, "")
    assert parts_of(b"\x0a\x01m\x1a\x02ab") == (3, 7, "ab")


def test_json_that_names_its_model_is_read():
    """As KServe's SDK writes it; other keys are refused as ever."""
    entry = b'{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}'
    body = b'{"model_name":"m","model_version":"1","inputs":[%b]%b}'
    assert decode_request(body % (entry, b""), None, signature_of()).rows == 1
    with pytest.raises(InvalidError, match="'other' is unknown"):
        decode_request(body % (entry, b',"other":1'), None, signature_of())


ROWS = st.lists(st.tuples(*[st.floats(width=32, allow_nan=False)] * 2), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_a_message_means_what_the_same_json_means(rows):
    array = np.array(rows, "f4")
    signature = signature_of()
    by_message = decode_message(message([raw_input("x", array)]), signature)
    entry = b'{"name":"x","datatype":"FP32","shape":[%d,2],"parameters":{"binary_data_size":%d}}'
    head = b'{"inputs":[%b]}' % (entry % (len(rows), array.nbytes))
    by_binary = decode_request(head + pack(Datatype.FP32, array), len(head), signature)
    assert by_message.inputs["x"].tobytes() == by_binary.inputs["x"].tobytes()
    assert by_message.rows == by_binary.rows


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(0, 255))
def test_damage_never_escapes(noise, place, value):
    data = bytearray(message([raw_input("x", np.ones((1, 2), "f4"))], request_id="abc"))
    data[place % len(data)] = value
    reader = MessageReader(signature_of())
    good = message([raw_input("x", np.ones((1, 2), "f4"))])
    reader.read(good, parts_of(good)[1])
    for damaged in (bytes(data), noise, bytes(data) + noise, bytes(data[: place % len(data)])):
        parts = parts_of(damaged)
        start = None if parts is None else parts[1]
        template = None if start is None else reader.recognise(damaged, start)
        if template is not None:
            template.read(damaged, start)
        try:
            reader.read(damaged, start)
        except ModelworksError as error:
            assert error.field
