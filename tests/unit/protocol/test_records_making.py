"""From what a server tells to a record: ids, times, headers, what could not be read."""

import json
import uuid
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.records import Act, FieldPolicy, RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.records.calls import CACHED, HEADERS, LEFT_OUT, Told
from modelworks.protocol.records.making import RecordMaker, made_id
from modelworks.serving.outbox import told_of

pytestmark = pytest.mark.unit
UTC = 1_790_000_000_000_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 2)),),
    (TensorSpec("y", Datatype.FP32, (None,), Role.SCORE),),
    Layout.MATRIX,
    ("age", "income"),
)
ASKED = (
    b'{"id": "own", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [3, 4]}]}'
)
SAID = b'{"outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [0.5]}]}'


def heads(*more, **given):
    """What is told of a request's headers; those that the policy names come last."""
    named = {name.replace("_", "-").encode(): value for name, value in given.items()}
    return (*(named.get(name, b"") for name in HEADERS), b"", *more)


ANSWERED = Told((100, 110, 150, 160), 40, 60, 200, heads(), ASKED, SAID, 0)


def no_vault():
    raise UnavailableError("the vault cannot be used")


def maker(vault=no_vault, signature=SIGNATURE, **policy):
    model = ServedModel("fraud", "1.2.0", "/m", "", revision="fraud/3", variant="int8", tenant="t")
    text = orjson.dumps(told_of(model, signature, RecordPolicy(1.0, **policy)))
    return RecordMaker(text, b"k" * 32, vault, lambda given: given.decode().removeprefix("Bearer "))


def made(told=ANSWERED, **policy):
    return maker(**policy).make(told, UTC)


def test_an_answer_that_had_been_kept():
    assert not made().record.cached
    kept = made(replace(ANSWERED, times=(CACHED, CACHED, CACHED, 160))).record
    assert kept.cached
    assert (kept.total_ns, kept.decode_ns, kept.queue_ns, kept.compute_ns) == (120, 0, 0, 0)


def test_an_answered_request():
    found = made()
    assert found.readable
    one = found.record
    assert (one.id, one.at_ns, one.status, one.error, one.rows) == ("own", UTC + 40, 200, "", 1)
    assert (one.model, one.version, one.revision) == ("fraud", "1.2.0", "fraud/3")
    assert (one.variant, one.tenant, one.caller, one.trace) == ("int8", "t", "", "")
    assert (one.total_ns, one.decode_ns, one.queue_ns, one.compute_ns) == (120, 20, 40, 40)
    assert one.inputs == {"age": [3.0], "income": [4.0]}
    assert one.outputs == {"y": [0.5]}
    assert one.left_out == ()


def test_a_request_without_a_call_has_no_parts():
    one = made(replace(ANSWERED, times=(0, 0, 0, 160))).record
    assert (one.total_ns, one.decode_ns, one.queue_ns, one.compute_ns) == (120, 0, 0, 0)
    early = replace(ANSWERED, times=(50, 55, 58, 39))  # decoded in its batch: as late as that
    one = made(early).record
    assert (one.total_ns, one.queue_ns, one.compute_ns) == (0, 0, 3)


def test_plain_rows():
    body, answer = b'{"rows": [[1, 2], [3, 4]]}', b'{"predictions": [{"score": 1}, {"score": 2}]}'
    found = made(replace(ANSWERED, status=0, request=body, answer=answer))
    assert (found.record.status, found.record.rows) == (200, 2)
    assert found.record.inputs == {"age": [1.0, 3.0], "income": [2.0, 4.0]}
    assert found.record.outputs == {"y": [1, 2]}
    assert found.readable


def test_a_binary_answer():
    size = {"binary_data_size": 4}
    entry = {"name": "y", "shape": [1], "datatype": "FP32", "parameters": size}
    head = json.dumps({"outputs": [entry]}).encode()
    told = replace(ANSWERED, answer=head + np.float32(2.5).tobytes(), answer_json=len(head))
    assert made(told).record.outputs == {"y": [2.5]}


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        (heads(x_request_id=b"h-1"), {"id": "h-1"}),
        (heads(traceparent=f"00-{TRACE}-b7ad6b7169203331-01".encode()), {"trace": TRACE}),
        (heads(traceparent=f"00-{'0' * 32}-b7ad6b7169203331-01".encode()), {"trace": ""}),
        (heads(traceparent=f"00-{TRACE.upper()}-b7ad6b7169203331-01".encode()), {"trace": ""}),
        (heads(traceparent=b"00-short"), {"trace": ""}),
        (heads(authorization=b"Bearer shop"), {"caller": "shop"}),
        (heads(x_request_id=b"x" * 999), {"id": "x" * 200}),
    ],
)
def test_what_headers_say(headers, wanted):
    body = ASKED.replace(b'"id": "own", ', b"")
    one = made(replace(ANSWERED, headers=headers, request=body)).record
    assert {name: getattr(one, name) for name in wanted} == wanted


def test_the_requests_own_id_comes_first_and_ours_last():
    body = ASKED.replace(b'"id": "own", ', b"")
    told = replace(ANSWERED, headers=heads(x_request_id=b"h-1"))
    assert made(told).record.id == "own"
    one = made(replace(ANSWERED, request=body)).record
    assert one.id == made_id(UTC + 40, 100, body)


@given(st.integers(0, 2**61), st.integers(0, 2**40), st.binary(max_size=50), st.binary(max_size=50))
def test_ids_of_ours_are_of_the_request_alone(at_ns, started, body, other):
    found = uuid.UUID(made_id(at_ns, started, body))
    assert str(found) == made_id(at_ns, started, body)
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == at_ns // 10**6
    assert (str(found) == made_id(at_ns, started, other)) is (body == other)
    assert str(found) != made_id(at_ns, started + 1, body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": []}', b"[" * 100_000])
def test_a_body_that_cannot_be_read_is_left_out_and_said(body):
    found = made(replace(ANSWERED, request=body))
    assert not found.readable
    one = found.record
    assert (one.inputs, one.left_out, one.rows) == (None, ("inputs",), 1)
    assert one.outputs == {"y": [0.5]}
    assert one.id == made_id(UTC + 40, 100, body)


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b'{"outputs": [1]}', b'{"outputs": 1}'])
def test_an_answer_that_cannot_be_read_is_left_out_and_said(answer):
    found = made(replace(ANSWERED, answer=answer))
    assert not found.readable
    assert (found.record.outputs, found.record.left_out) == (None, ("outputs",))
    assert found.record.inputs == {"age": [3.0], "income": [4.0]}


def test_what_was_too_large_is_left_out_and_no_fault():
    found = made(replace(ANSWERED, request=LEFT_OUT, answer=LEFT_OUT))
    assert found.readable
    assert (found.record.inputs, found.record.outputs) == (None, None)
    assert found.record.left_out == ("inputs", "outputs")


@pytest.mark.parametrize(
    ("request_body", "inputs"),
    [
        (ASKED, {"age": [3.0], "income": [4.0]}),
        (b'{"rows": [[3, 4]]}', {"age": [3.0], "income": [4.0]}),
        (b"{", None),
    ],
)
def test_a_refusal_has_what_it_was_told_for(request_body, inputs):
    told = replace(ANSWERED, status=400, request=request_body, answer=b'{"error": "age: no"}')
    found = made(told)
    assert found.readable  # that it could not be read may be why it was refused
    one = found.record
    assert (one.status, one.error, one.outputs, one.inputs) == (400, "age: no", None, inputs)
    assert made(replace(told, answer=b"oops")).record.error == "400"
    hidden = made(told, fields=(FieldPolicy("age", Act.DROP),)).record
    assert (hidden.error, hidden.inputs) == ("400", inputs and {"income": [4.0]})


def test_the_policy_is_kept():
    told = replace(ANSWERED, headers=heads("Ana Ñ".encode(), b"\xff"))
    policy = {
        "fields": (FieldPolicy("header:X-Name", Act.KEEP), FieldPolicy("income", Act.DROP)),
        "key": "header:X-Order",
        "subject": "age",
        "outputs": False,
    }
    one = made(told, **policy).record
    assert one.headers == {"x-name": "Ana Ñ"}
    assert (one.key, one.subject, one.outputs) == ("ÿ", "3", None)
    assert one.inputs == {"age": [3.0]}
    with pytest.raises(ValueError, match="zip"):  # a server that says more than it told of
        made(replace(told, headers=(*told.headers, b"not asked for")), **policy)


def test_the_key_of_several_items_is_the_first_ones():
    body = b'{"rows": [[7, 2], [3, 4]]}'
    answer = b'{"predictions": [{"score": 1}, {"score": 2}]}'
    told = replace(ANSWERED, status=0, request=body, answer=answer)
    assert made(told, key="age").record.key == "7"
    assert made(replace(told, request=b"{"), key="age").record.key == ""


def test_no_token_without_a_vault():
    with pytest.raises(UnavailableError, match="the vault cannot be used"):
        made(fields=(FieldPolicy("age", Act.TOKENIZE),))


def test_a_model_of_which_the_server_says_too_little():
    with pytest.raises((InvalidError, KeyError)):
        RecordMaker(b"{}", b"k", no_vault, str)


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=5), min_size=1, max_size=8))
def test_requests_of_several_lengths_are_kept_as_long_as_they_were(requests):
    shape = (None, None)
    specs = [TensorSpec(name, Datatype.INT64, shape) for name in "xy"]
    make = maker(signature=Signature((specs[0],), (specs[1],)))
    for ids in requests:
        entry = {"shape": [1, len(ids)], "datatype": "INT64", "data": ids}
        body = json.dumps({"inputs": [{"name": "x", **entry}]}).encode()
        answer = json.dumps({"outputs": [{"name": "y", **entry}]}).encode()
        one = make.make(replace(ANSWERED, request=body, answer=answer), UTC).record
        assert one.inputs == {"x": ids if len(ids) == 1 else [ids]}
        assert one.outputs == {"y": ids if len(ids) == 1 else [ids]}
