"""The messages between a server and its logger: what is packed is what is read."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.protocol.records.calls import (
    CALLS,
    HEAD,
    LEFT_OUT,
    MODEL,
    Head,
    Told,
    pack_calls,
    pack_model,
    read_head,
    unpack_calls,
)

pytestmark = pytest.mark.unit
LONG = st.integers(-(2**63), 2**63 - 1)
SHORT = st.integers(0, 2**31 - 1)
TEXT = st.lists(st.binary(max_size=12).filter(lambda value: b"\0" not in value), min_size=4)
BODY = st.one_of(st.binary(max_size=60), st.just(LEFT_OUT))


@st.composite
def messages(draw):
    """The arguments of `pack_calls`, and what is to come out."""
    texts = [tuple(text) for text in draw(st.lists(TEXT, min_size=1, max_size=4))]
    calls, told = [], []
    for _ in range(draw(st.integers(1, 6))):
        times = tuple(draw(LONG) for _ in range(4))
        status = draw(st.sampled_from([0, 200, 400, 503]))
        members = draw(st.integers(0, 5))
        calls += [*times, status, members]
        for _ in range(members):
            heads = draw(st.sampled_from(texts))
            one = (draw(LONG), draw(LONG), status, heads, draw(BODY), draw(BODY), draw(SHORT))
            told.append(Told(times, *one))
    return texts, calls, told


def packed(texts, calls, told, model=3):
    parts = [one.request for one in told] + [one.answer for one in told]
    columns = (
        [one.received_ns for one in told],
        [one.queued_ns for one in told],
        [texts.index(one.headers) for one in told],
        [one.answer_json for one in told],
    )
    heads = [b"\0".join(text) for text in texts]
    return pack_calls(model, list(calls), columns, [*map(len, parts)], parts, heads)


@given(messages())
def test_a_message_reads_as_it_was_packed(made):
    texts, calls, told = made
    data = packed(*made)
    head = read_head(data)
    assert (head.kind, head.model) == (CALLS, 3)
    assert (head.calls, head.requests, head.headers) == (len(calls) // 6, len(told), len(texts))
    assert len(data) == HEAD.size + head.length
    assert list(unpack_calls(head, data[HEAD.size :])) == told


@given(messages(), st.data())
def test_a_message_of_another_length_is_refused(made, data):
    rest = packed(*made)[HEAD.size :]
    head = read_head(packed(*made))
    cut = data.draw(st.integers(0, len(rest) - 1))
    with pytest.raises(ValueError, match=r"length|buffer|offset|reshape"):
        list(unpack_calls(head, rest[:cut]))
    with pytest.raises(ValueError, match="another length than it says"):
        list(unpack_calls(head, rest + b"x"))


def test_a_time_becomes_utc_by_what_the_head_says():
    before = time.time_ns() - time.perf_counter_ns()
    head = read_head(packed([(b"",) * 4], [0, 0, 0, 0, 200, 0], []))
    after = time.time_ns() - time.perf_counter_ns()
    assert min(before, after) - 10**7 <= head.utc_ns <= max(before, after) + 10**7


def test_the_message_of_a_model():
    data = pack_model(9, b'{"name": "m"}')
    assert read_head(data) == Head(MODEL, 13, 9, 0, 0, 0, 0)
    assert data[HEAD.size :] == b'{"name": "m"}'
