"""Templates never differ from the general way: same arrays, same bytes, same refusals."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip import decode_request, encode_response
from modelworks.protocol.oip.answers import AnswerWriter, Form
from modelworks.protocol.oip.caller import build_request
from modelworks.protocol.oip.request import InferRequest, RequestedOutput
from modelworks.protocol.oip.templates import RequestReader
from modelworks.protocol.tensors import DTYPES
from properties import examples

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


def through(reader, body, length=None):
    """As a server reads it: by template where one fits and can."""
    found = reader.recognise(body, length)
    if found is not None:
        template, varying = found
        inputs = template.read((varying,))
        if inputs is not None:
            return replace(template.request, inputs=inputs)
    return reader.read(body, length)


def agree(reader, body, of, length=None):
    assert outcome(lambda: through(reader, body, length)) == outcome(
        lambda: decode_request(body, length, of)
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
    assert 0 < len(reader._numbers) <= 4
    body = request([4, 5, 6], (1, 3))
    for _ in range(40):
        agree(reader, body, of)
    assert reader.recognise(body, None) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"id": "7"},
        {"outputs": []},
        {"outputs": [{"name": "y"}]},
        {"parameters": {"data": [1, 2, 3]}},
        {"parameters": {"timeout": 5}},
        {"parameters": {"binary_data_output": True}},
    ],
)
def test_whatever_else_is_asked_is_never_lost(more):
    of = signature(outputs=[TensorSpec("y", Datatype.FP32, (None,))])
    reader = RequestReader(of)
    for _ in range(20):
        agree(reader, request([1, 2, 3], **more), of)
        agree(reader, request([4, 5, 6]), of)


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


@examples(150)
@given(st.lists(NUMBERS, min_size=1, max_size=6), st.sampled_from(list(Datatype)))
def test_any_numbers_read_as_the_general_way(lists, datatype):
    of = signature(datatype)
    reader = RequestReader(of)
    for data in ([1, 2, 3], *lists):
        agree(reader, request(data, datatype=datatype), of)


def frame(numbers):
    return b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[%b]}]}' % numbers


def together(bodies, of):
    """Read in one go; None where that is refused."""
    reader = RequestReader(of)
    reader.read(frame(b"7,8,9"), None)
    found = [reader.recognise(body, None) for body in bodies]
    if None in found:
        return None
    (template,) = {template for template, _ in found}
    return template.read([varying for _, varying in found])


def test_rows_read_together_are_the_rows():
    bodies = [frame(b"%d,%d.5,%d" % (i, i, -i)) for i in range(64)]
    rows = together(bodies, signature())["x"]
    wanted = [decode_request(body, None, signature()).inputs["x"] for body in bodies]
    np.testing.assert_array_equal(rows, np.concatenate(wanted))


EVIL = [*HARD, b'1,2,"', b'",1,2', b'1,2,3],["', b'"],[1,2,3', b"1,2,3,4,5,6", b"1],[2,3,4", b"{"]


@pytest.mark.parametrize("pair", list(product(EVIL, EVIL)))
def test_no_request_reaches_into_its_neighbours(pair):
    bodies = [frame(numbers) for numbers in (pair[0], b"4,5,6", pair[1], b"7,8,9")]
    found = together(bodies, signature())
    if found is None:
        return
    for place, body in enumerate(bodies):
        wanted = decode_request(body, None, signature()).inputs["x"]
        np.testing.assert_array_equal(found["x"][place : place + 1], wanted)


@examples(150)
@given(st.lists(st.text(alphabet='123.,[]"{}: \\e-tn', max_size=8), min_size=1, max_size=5))
def test_no_text_reaches_into_its_neighbours(texts):
    bodies = [frame(text.encode()) for text in texts]
    found = together(bodies, signature())
    if found is not None:
        wanted = [decode_request(body, None, signature()).inputs["x"] for body in bodies]
        np.testing.assert_array_equal(found["x"], np.concatenate(wanted))


RAW = [d for d in Datatype if d not in {Datatype.BYTES, Datatype.BOOL}]


@pytest.mark.parametrize("datatype", RAW)
def test_binary_bodies_are_read_together_and_alone(datatype):
    specs = (TensorSpec("a", datatype, (None, 3)), TensorSpec("b", Datatype.INT64, (None,)))
    of = Signature(specs, ())
    reader = RequestReader(of)
    kinds = {"a": datatype}
    made = [
        build_request({"a": np.full((2, 3), i, DTYPES[datatype]), "b": np.array([i, i])},
                      datatypes=kinds)
        for i in range(5)
    ]  # fmt: skip
    lengths = {int(headers[0][1]) for _, _, headers in made}
    (length,) = lengths
    for body, _, _ in made * 5:
        agree(reader, body, of, length)
        agree(reader, body + b"x", of, length)
        agree(reader, body[:-1], of, length)
        agree(reader, body, of, length - 1)
    found = [reader.recognise(body, length) for body, _, _ in made]
    (template,) = {template for template, _ in found}
    read = template.read([varying for _, varying in found])
    wanted = [decode_request(body, length, of).inputs for body, _, _ in made]
    for name in ("a", "b"):
        np.testing.assert_array_equal(read[name], np.concatenate([w[name] for w in wanted]))
        assert read[name].dtype == wanted[0][name].dtype


@pytest.mark.parametrize("size", [3, 5000])
def test_nan_in_a_binary_body_is_still_refused(size):
    of = Signature((TensorSpec("x", Datatype.FP32, (None, size), allow_nan=False),), ())
    reader = RequestReader(of)
    good, bad = (
        build_request({"x": np.full((1, size), value, np.float32)}) for value in (1, np.nan)
    )
    length = int(good[2][0][1])
    for body in (good[0], bad[0], good[0], bad[0]):
        agree(reader, body, of, length)
    template, varying = reader.recognise(bad[0], length)
    assert template.read([varying]) is None


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
            through(reader, request([1, 2, 3]))


def split(results, rows):
    start = 0
    for count in rows:
        yield [array[start : start + count] for array in results]
        start += count


PLAIN = [d for d in Datatype if d not in {Datatype.BYTES, Datatype.FP16, Datatype.BF16}]


@examples(100)
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
    places = list(generator.permutation(len(specs)))[: generator.integers(1, len(specs) + 1)]
    some = tuple(RequestedOutput(specs[p].name, int(p), binary=True, classification=0)
                 for p in places)  # fmt: skip
    for asked in (
        InferRequest({}, 1),
        InferRequest({}, 1, binary_output=True),
        InferRequest({}, 1, outputs=some),
        InferRequest({}, 1, outputs=tuple(replace(item, binary=False) for item in some)),
    ) * 2:
        bodies, kind, headers = writer.write(Form.of(asked, len(specs)), results, rows)
        wanted = [encode_response("m%s", "1.0.0", asked, part, of) for part in split(results, rows)]
        assert bodies == [body for body, _, _ in wanted]
        assert {kind} == {kind for _, kind, _ in wanted}
        assert list(headers) == [extra for _, _, extra in wanted if extra]
        form = Form.of(asked, len(specs))
        for part, count, alone in zip(split(results, rows), rows, wanted, strict=True):
            assert writer.write_one(form, part, count) == alone


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
    form = Form.of(InferRequest({}, 1), 1)
    assert writer.write(form, [array], [1]) is None
    assert writer.write_one(form, [array], 1) is None


MIXED = (
    RequestedOutput("a", 0, binary=True, classification=0),
    RequestedOutput("b", 1, binary=False, classification=0),
)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "7"},
        {"outputs": ()},
        {"outputs": MIXED},
        {"outputs": (replace(MIXED[0], classification=3),)},
    ],
)
def test_what_only_one_request_asks_for_is_not_written_for_all(change):
    assert Form.of(replace(InferRequest({}, 1), **change), 2) is None


def test_frames_are_bounded():
    of = Signature((), (TensorSpec("y", Datatype.FP32, (None, None)),))
    writer = AnswerWriter("m", "1", of)
    for width in range(1, 600):
        for binary in (False, True):
            form = Form.of(InferRequest({}, 1, binary_output=binary), 1)
            assert writer.write(form, [np.zeros((1, width), np.float32)], [1])
    assert len(writer._frames) <= 256
