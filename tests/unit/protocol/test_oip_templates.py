"""Templates never differ from the general way: same arrays, same bytes, same refusals."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip import decode_request, encode_response
from modelworks.protocol.oip.request import InferRequest
from modelworks.protocol.oip.templates import AnswerWriter, RequestReader
from modelworks.protocol.tensors import DTYPES

pytestmark = pytest.mark.unit


def signature(datatype=Datatype.FP32, shape=(None, 3), outputs=()):
    return Signature((TensorSpec("x", datatype, shape),), tuple(outputs))


def request(data, shape=(1, 3), datatype="FP32", **more):
    entry = {"name": "x", "shape": list(shape), "datatype": datatype, "data": data}
    return json.dumps({"inputs": [entry], **more}).encode()


def outcome(read):
    try:
        found = read()
    except ModelworksError as error:
        return type(error), error.message, error.field
    arrays = {n: (a.dtype, a.shape, a.tobytes()) for n, a in found.inputs.items()}
    return arrays, found.rows, found.id, found.outputs, found.timeout_us, found.binary_output


def agree(reader, body, of):
    assert outcome(lambda: reader.read(body, None)) == outcome(
        lambda: decode_request(body, None, of)
    )


HARD = [
    b"1,2,3",
    b"1,2",
    b"1,2,3,4",
    b"",
    b"1,2,true",
    b"1,2,false",
    b"null,2,3",
    b"[1,2,3]",
    b"[1],[2],[3]",
    b'1,2,"3"',
    b"1,2,1e39",
    b"1,2,1e400",
    b"1,2,-0.0",
    b"NaN,1,2",
    b"1,2,3.5e-3",
    b" 1 , 2\n, 3 ",
    b"1,2,3,",
    b'1,2,3],"x":[1',
    b'1,2,3],"data":[4,5,6',
    b"1,2,18446744073709551616",
    b"{}",
    b'1,2,3]}],"id":"7","inputs":[{"data":[1,2,3',
]


@pytest.mark.parametrize("datatype", [d for d in Datatype if d is not Datatype.BYTES])
@pytest.mark.parametrize(
    "frame",
    [
        b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"%b","data":[%b]}]}',
        b'{"inputs": [{"data": [%b], "shape": [1, 3], "name": "x", "datatype": "%b"}]}\n',
        b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"%b","data":[[%b]]}]}',
        b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"%b","data":[ [ %b ] ]}]}',
    ],
)
def test_a_learnt_template_reads_as_the_general_way(datatype, frame):
    of = signature(datatype)
    reader = RequestReader(of)
    kind = datatype.encode()
    first = frame.find(b"%b") < frame.find(b'"datatype"')
    for numbers in [b"1,2,3", *HARD, *HARD]:
        agree(reader, frame % ((numbers, kind) if first else (kind, numbers)), of)


@pytest.mark.parametrize("allow_nan", [True, False])
def test_null_keeps_its_meaning(allow_nan):
    spec = TensorSpec("x", Datatype.FP32, (None, 3), allow_nan=allow_nan)
    of = Signature((spec,), ())
    reader = RequestReader(of)
    for data in ([1, 2, 3], [None, 2, 3], [1, 2, 3]):
        agree(reader, request(data), of)


def test_it_is_used_and_bounded():
    of = signature(shape=(None, None))
    reader = RequestReader(of)
    for width in range(1, 200):
        agree(reader, request([1] * width, (1, width)), of)
    assert 0 < len(reader._templates) <= 4
    body = request([4, 5, 6], (1, 3))
    for _ in range(40):
        agree(reader, body, of)
    assert reader._templates[0].read(body) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"id": "7"},
        {"outputs": []},
        {"parameters": {"timeout": 5}},
        {"parameters": {"binary_data_output": True}},
    ],
)
def test_whatever_else_is_asked_is_never_lost(more):
    of = signature()
    reader = RequestReader(of)
    for _ in range(40):
        agree(reader, request([1, 2, 3], **more), of)
    assert reader._templates == []


def test_a_key_that_is_written_twice_or_in_disguise_is_not_learnt():
    of = signature()
    frame = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32",%b}]}'
    for pair in (
        b'"data":[1,2,3],"data":[4,5,6]',
        b'"data":[1,2,3],"d\\u0061ta":[4,5,6]',
        b'"d\\u0061ta":[4,5,6],"data":[1,2,3]',
    ):
        reader = RequestReader(of)
        for _ in range(40):
            agree(reader, frame % pair, of)


NUMBERS = st.lists(
    st.floats(width=32) | st.integers(-(2**70), 2**70) | st.none() | st.booleans() | st.just("a"),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=6), st.sampled_from(list(Datatype)))
def test_any_numbers_read_as_the_general_way(lists, datatype):
    of = signature(datatype)
    reader = RequestReader(of)
    for data in ([1, 2, 3], *lists):
        agree(reader, request(data, datatype=datatype), of)


def test_several_inputs_go_the_general_way():
    of = Signature(
        (TensorSpec("a", Datatype.FP32, (None,)), TensorSpec("b", Datatype.FP32, (None,))), ()
    )
    entries = [{"name": n, "shape": [1], "datatype": "FP32", "data": [1]} for n in "ab"]
    body = json.dumps({"inputs": entries}).encode()
    reader = RequestReader(of)
    for _ in range(3):
        agree(reader, body, of)


def test_a_model_without_a_json_form_of_its_output_refuses_every_time():
    of = signature(outputs=[TensorSpec("y", Datatype.FP16, (None, 3))])
    reader = RequestReader(of)
    for _ in range(40):
        with pytest.raises(InvalidError, match="no JSON form"):
            reader.read(request([1, 2, 3]), None)


def split(results, rows):
    start = 0
    for count in rows:
        yield [array[start : start + count] for array in results]
        start += count


PLAIN = [d for d in Datatype if d not in {Datatype.BYTES, Datatype.FP16, Datatype.BF16}]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(PLAIN), st.lists(st.integers(1, 3), max_size=3)),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.integers(0, 2**32),
)
def test_answers_are_the_same_bytes(outputs, rows, seed):
    generator = np.random.default_rng(seed)
    specs = tuple(
        TensorSpec(f'o%{i}"', kind, (None, *shape)) for i, (kind, shape) in enumerate(outputs)
    )
    of = Signature((), specs)
    results = []
    for kind, shape in outputs:
        dtype = DTYPES[kind]
        array = np.frombuffer(
            generator.bytes(int(np.prod([sum(rows), *shape])) * dtype.itemsize), dtype
        )
        if kind is Datatype.BOOL:
            array = np.frombuffer(array.tobytes(), np.uint8) > 127
        results.append(array.reshape(sum(rows), *shape))
    writer = AnswerWriter("m%s", "1.0.0", of)
    for _ in range(2):
        found = writer.write(results, rows)
        wanted = [
            encode_response("m%s", "1.0.0", InferRequest({}, 1), part, of)[0]
            for part in split(results, rows)
        ]
        assert found == wanted


@pytest.mark.parametrize(
    ("datatype", "shape", "array"),
    [
        (Datatype.BYTES, (None,), np.array([b"a"], object)),
        (Datatype.FP16, (None,), np.ones(1, np.float16)),
        (Datatype.FP32, (), np.float32(1).reshape(())),
        (Datatype.FP32, (None, None), np.ones((1, 0), np.float32)),
        (Datatype.FP32, (None,), np.ones(3, np.float32)),
    ],
)
def test_what_has_no_plain_rows_is_left_to_the_general_way(datatype, shape, array):
    writer = AnswerWriter("m", "1", Signature((), (TensorSpec("y", datatype, shape),)))
    assert writer.write([array], [1]) is None


@pytest.mark.parametrize(
    ("change", "taken"),
    [({}, True), ({"id": "7"}, False), ({"binary_output": True}, False), ({"outputs": ()}, False)],
)
def test_only_plain_requests_are_answered_by_template(change, taken):
    asked = InferRequest({}, 1)
    for key, value in change.items():
        setattr(asked, key, value)
    assert AnswerWriter.takes(asked) is taken


def test_frames_are_bounded():
    of = Signature((), (TensorSpec("y", Datatype.FP32, (None, None)),))
    writer = AnswerWriter("m", "1", of)
    for width in range(1, 600):
        assert writer.write([np.zeros((1, width), np.float32)], [1])
    assert len(writer._frames) <= 256
