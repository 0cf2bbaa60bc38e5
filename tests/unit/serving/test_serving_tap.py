"""What a tap notes of a model's requests, read back as its logger reads it."""

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.protocol.records.calls import HEADERS, LEFT_OUT, read_head, unpack_calls
from modelworks.serving.tap import PORTION, ROWS, Tap

pytestmark = pytest.mark.unit
MUCH = 1 << 20
LENGTH = b"Inference-Header-Content-Length"


class Bench:
    """A tap, and how much room it finds."""

    def __init__(self, sample=1.0, max_bytes=MUCH, headers=(), room=MUCH):
        self.room = room
        self.begun = 0
        self.tap = Tap(self._begin, lambda: self.room, 7, sample, max_bytes, headers)

    def _begin(self):
        self.begun += 1

    def take(self):
        """What was noted: heads, requests."""
        heads, told = [], []
        for data, count in self.tap.take():
            head = read_head(data)
            found = list(unpack_calls(head, data[-head.length :]))
            assert len(found) == count == head.requests
            assert head.model == 7
            heads.append(head)
            told += found
        return heads, told


def heads_of(**given):
    """As they are told of: those that are always, the JSON's length, those of the policy."""
    last = (b"inference-header-content-length", b"x-customer")
    named = {name.replace("_", "-").encode(): value for name, value in given.items()}
    return tuple(named.get(name, b"") for name in (*HEADERS, *last))


def member(name=b"r", headers=None, received=1):
    exchange = SimpleNamespace(body=name, headers=headers or {}, received_ns=received)
    return SimpleNamespace(exchange=exchange, queued_ns=received + 1)


def call(started=10):
    return SimpleNamespace(started=started, joined=started + 1, inferred=started + 2)


def test_each_way_of_an_answer_is_told_with_its_times():
    bench = Bench()
    heads = {b"x-request-id": b"id-1", b"traceparent": b"t"}
    tap = bench.tap
    tap.answered(call(10), [member(b"a", heads, 5), member(b"b", heads, 6)], [b"A", b"B"], ())
    tap.one(member(b"rows", heads, 7), b"ROWS", (), ROWS)
    tap.within(lambda _: tap.one(member(b"c", heads, 8), b"C", (), 200), call(20))
    tap.refused(member(b"bad", heads, 9).exchange, b'{"error": "no"}', 400)
    [head], told = bench.take()
    assert (head.calls, head.requests, head.headers) == (4, 5, 1)
    assert [one.request for one in told] == [b"a", b"b", b"rows", b"c", b"bad"]
    assert [one.answer for one in told] == [b"A", b"B", b"ROWS", b"C", b'{"error": "no"}']
    assert [one.status for one in told] == [200, 200, 0, 200, 400]
    calls = [(10, 11, 12), (10, 11, 12), (0, 0, 0), (20, 21, 22), (0, 0, 0)]
    assert [one.times[:3] for one in told] == calls
    assert [one.received_ns for one in told] == [5, 6, 7, 8, 9]
    assert [one.queued_ns for one in told[:4]] == [6, 7, 8, 9]
    assert all(one.times[3] > 0 for one in told)
    assert {one.headers for one in told} == {heads_of(x_request_id=b"id-1", traceparent=b"t")[:-1]}


def test_a_call_that_could_not_be_answered_is_forgotten():
    bench = Bench()

    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.tap.within(broken, call())
    bench.tap.one(member(), b"A", (), 200)
    assert bench.take()[1][0].times[:3] == (0, 0, 0)


def test_messages_are_made_by_portions_and_asked_for_once():
    bench = Bench()
    for number in range(2 * PORTION + 3):
        bench.tap.one(member(b"%d" % number), b"A", (), 200)
    bench.tap.answered(call(), [member()] * (PORTION + 9), [b"A"] * (PORTION + 9), ())
    heads, told = bench.take()
    assert [head.requests for head in heads] == [PORTION, PORTION, PORTION + 12]
    numbers = [int(one.request) for one in told if one.request != b"r"]
    assert numbers == list(range(2 * PORTION + 3))
    assert bench.begun == 1
    assert bench.take() == ([], [])
    bench.tap.one(member(), b"A", (), 200)
    assert bench.begun == 2


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_sample_keeps_each_request_with_its_own_call(one_by_one):
    bench, chance, asked = Bench(sample=0.5), random.Random(1), 0
    for number in range(1, 400):
        several = chance.randint(1, 9)
        asked += several
        members = [member(b"%d/%d" % (number, n), {}, number) for n in range(several)]
        bodies = [b"{}%d" % number + b"." * n for n in range(several)]
        headers = [((LENGTH, b"%d" % len(body)),) for body in bodies]
        if one_by_one:
            for each, body, extra in zip(members, bodies, headers, strict=True):
                bench.tap.within(
                    lambda _, e=each, b=body, x=extra: bench.tap.one(e, b, x, 200), call(number)
                )
        else:
            bench.tap.answered(call(number), members, bodies, headers)
    _, told = bench.take()
    assert 0.4 < len(told) / asked < 0.6
    assert len({one.request for one in told}) == len(told)
    for one in told:
        number, place = map(int, one.request.split(b"/"))
        assert one.received_ns == one.times[0] == number
        assert one.answer == b"{}%d" % number + b"." * place
        assert one.answer_json == len(one.answer)
    assert bench.tap.lost == 0


def test_of_a_small_sample_there_is_often_nothing_to_tell():
    bench = Bench(sample=1e-12)
    bench.tap.answered(call(), [member()] * 5, [b"A"] * 5, ())
    assert bench.tap.take() == []
    assert bench.tap.lost == 0


def test_what_finds_no_room_is_counted_and_later_ones_are_told_again():
    bench = Bench(room=600)
    for _ in range(PORTION):
        bench.tap.one(member(b"r" * 20), b"A" * 20, (), 200)
    assert bench.tap.lost == PORTION
    bench.tap.answered(call(), [member()], [b"A"], ())
    assert len(bench.take()[1]) == 1
    bench.room = 0
    bench.tap.answered(call(), [member()], [b"A"], ())
    assert bench.tap.take() == []
    assert bench.tap.lost == PORTION + 1


def test_refusals_take_half_of_the_room():
    bench = Bench(room=100_000)
    refused = answered = 0
    for _ in range(3):
        for _ in range(1000):
            bench.tap.refused(member(b"r" * 500).exchange, b"no", 400)
        _, told = bench.take()
        refused += len(told)
    assert bench.tap.lost == 3000 - refused
    assert 3 * 50 < refused < 3 * (100 + PORTION)
    for _ in range(3 * PORTION):
        bench.tap.one(member(b"r" * 500), b"A", (), 200)
    answered = len(bench.take()[1])
    assert answered == 3 * PORTION
    assert bench.tap.lost == 3000 - refused


def test_the_json_of_binary_answers_is_measured():
    bench = Bench()
    binary = ((b"Content-Type", b"x"), (LENGTH, b"11"))
    bench.tap.answered(call(), [member(b"1")], [b"json"], ())
    bench.tap.answered(call(), [member(b"2"), member(b"3")], [b"B", b"C"], ((), binary))
    bench.tap.one(member(b"4"), b"D", ((LENGTH, b"12"),), 200)
    bench.tap.one(member(b"5"), b"E", (), 200)
    assert [one.answer_json for one in bench.take()[1]] == [0, 0, 11, 12, 0]


def test_headers_that_requests_share_are_told_once():
    bench = Bench(headers=(b"x-customer",))
    shared = {b"x-request-id": b"s", b"x-customer": b"ana", b"cookie": b"secret"}
    other = {b"authorization": b"Bearer k", b"inference-header-content-length": b"9"}
    for heads in (shared, shared, other, {}, shared):
        bench.tap.one(member(b"r", heads), b"A", (), 200)
    [head], told = bench.take()
    assert head.headers <= 4
    ana = heads_of(x_request_id=b"s", x_customer=b"ana")
    key = heads_of(authorization=b"Bearer k", inference_header_content_length=b"9")
    none = heads_of()
    assert [one.headers for one in told] == [ana, ana, key, none, ana]


def test_bodies_that_are_too_large_are_left_out_each_for_itself():
    bench = Bench(max_bytes=10)
    bench.tap.answered(call(), [member(b"r" * 10), member(b"r" * 11)], [b"A" * 11, b"A"], ())
    told = bench.take()[1]
    assert [one.request for one in told] == [b"r" * 10, LEFT_OUT]
    assert [one.answer for one in told] == [LEFT_OUT, b"A"]


BODY = st.binary(max_size=40)
NOTE = st.tuples(
    st.sampled_from(["answered", "one", "rows", "refused"]), st.lists(BODY, min_size=1, max_size=60)
)


@given(st.lists(NOTE, max_size=12), st.sets(st.integers(0, 11), max_size=4))
def test_everything_is_told_once_and_in_order(notes, takes):
    bench, wanted, told = Bench(), [], []
    for number, (way, bodies) in enumerate(notes):
        answers = [body[::-1] for body in bodies]
        status = {"rows": ROWS, "refused": 400}.get(way, 200)
        if way == "answered":
            bench.tap.answered(call(number), [member(body) for body in bodies], answers, ())
        else:
            for body, answer in zip(bodies, answers, strict=True):
                if way == "refused":
                    bench.tap.refused(member(body).exchange, answer, 400)
                else:
                    bench.tap.one(member(body), answer, (), status)
        wanted += [(body, answer, status) for body, answer in zip(bodies, answers, strict=True)]
        if number in takes:
            told += bench.take()[1]
    told += bench.take()[1]
    assert [(one.request, one.answer, one.status) for one in told] == wanted
