"""Calls of gRPC: messages, statuses, half-closing, holding back, cancelling, time, bounds."""

from dataclasses import replace

import pytest

from http2_served import FEW, HASTY, Called
from http2_wire import (
    CALL,
    DATA,
    OPEN,
    PREFACE,
    WIDE,
    call_of,
    data,
    headers,
    message,
    reset,
    settings,
    window,
)
from modelworks.edge.head import Refusal
from modelworks.edge.http2.stream import STREAM_WINDOW
from modelworks.edge.journal import Journal

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def called():
    with Called() as it:
        yield it


@pytest.fixture
def wire(called):
    called.calls.clear()
    called.messages.clear()
    called.left.clear()
    wire = called.wire()
    with wire.sock:
        yield wire


def begun(called, wire, method, *further, stream=1):
    """A call whose headers have come, and nothing else."""
    wire.send(headers(call_of(method, *further), stream, last=False))
    called.until(lambda: called.calls)
    return called.calls[-1]


def test_an_answer_in_full(called, wire):
    wire.send(headers(CALL, last=False) + data(message(b"abc")))
    assert wire.answer() == message(b"abc")
    assert wire.fields[1] == [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "0"),
    ]
    call = called.calls[-1]
    assert (call.path, call.head.method, call.timeout_us) == (b"/x.X/Unary", b"POST", 0)
    assert call.headers[b"te"] == b"trailers"
    assert call.received_ns > 0
    assert (call.state, call.gone, call.waiting, call.trace) == (None, False, 0, None)
    assert call.request_id == call.request_id != ""


def test_the_second_answer_has_headers_of_a_few_bytes(wire):
    for number in (1, 3):
        wire.send(headers(CALL, number, last=False) + data(message(b"abc"), number))
        wire.answer(number)
    sizes = [len(f.payload) for f in wire.frames if f.kind == 1]
    assert sizes == [sizes[0], sizes[1], 2, 1]
    assert wire.fields[1] == wire.fields[3]


def test_a_status_and_its_words(wire):
    wire.send(headers(call_of(b"Nope")))
    wire.answer()
    found = dict(wire.fields[1])
    assert found["grpc-status"] == "5"
    assert found["grpc-message"] == "no such thing: 100 %25 gr%C3%B6%C3%9Fer"


def test_a_long_status_message_goes_over_several_frames(called, wire):
    call = begun(called, wire, b"Keep")
    called.call(call.finish, 3, "ö" * 5000, tuple((b"x-%d" % n, b"a" * 400) for n in range(40)))
    wire.until(lambda: 1 in wire.fields)
    assert len(dict(wire.fields[1])["grpc-message"]) == 3 * 4096
    assert dict(wire.fields[1])["x-39"] == "a" * 400
    assert any(f.kind == 9 for f in wire.frames)


def test_streams_of_messages(called, wire):
    wire.send(headers(call_of(b"Echo"), last=False) + data(message(b"a"), last=False))
    wire.until(lambda: wire.bodies.get(1) == message(b"a"))
    wire.send(data(message(b"b")[:3], last=False))
    wire.send(data(message(b"b")[3:] + message(b"") + message(b"c")[:2], last=False))
    wire.until(lambda: wire.bodies[1] == message(b"a") + message(b"b") + message(b""))
    wire.send(data(message(b"c")[2:]))
    assert wire.answer().endswith(message(b"c"))
    assert wire.events == ["gRPC 0"]


def test_an_answer_before_the_client_has_ended(called, wire):
    call = begun(called, wire, b"Keep")
    called.call(call.answer, b"early")
    assert wire.answer() == message(b"early")
    wire.send(data(message(b"late"), last=False) + data(message(b"late")))
    assert wire.rest() == ["gRPC 0", "RST_STREAM NO_ERROR"]
    assert called.messages == []


def test_answering_twice_is_an_error_of_the_service(called, wire):
    call = begun(called, wire, b"Keep")
    called.call(call.send, b"one")
    with pytest.raises(RuntimeError):
        called.call(call.answer, b"two")
    called.call(call.finish, 0)
    for again, given in ((call.send, (b"x",)), (call.answer, (b"x",)), (call.finish, (0,))):
        with pytest.raises(RuntimeError):
            called.call(again, *given)
    assert wire.answer() == message(b"one")


def test_a_service_that_fails_at_a_message(called, wire, caplog):
    call = begun(called, wire, b"Keep")

    def fail(*_):
        raise ValueError("a secret of the server")

    call.on_message = fail
    wire.send(data(message(b"a")))
    wire.answer()
    assert wire.events == ["gRPC 13"]
    assert "secret" not in dict(wire.fields[1])["grpc-message"]
    assert "a secret of the server" in caplog.text


def test_a_service_that_fails_at_the_end(called, wire, caplog):
    call = begun(called, wire, b"Keep")
    call.on_half_closed = lambda _: 1 / 0
    wire.send(data(b""))
    wire.answer()
    assert wire.events == ["gRPC 13"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("stage", ["headers", "half a message", "messages", "ended", "answered"])
@pytest.mark.parametrize("by", ["reset", "close"])
def test_a_client_that_leaves_at_every_stage(called, wire, stage, by):
    call = begun(called, wire, b"Keep")
    if stage == "half a message":
        wire.send(data(message(b"abc")[:6], last=False))
    elif stage != "headers":
        wire.send(data(message(b"abc"), last=stage in {"ended", "answered"}))
        called.until(lambda: called.messages)
    if stage == "answered":
        called.call(call.send, b"part of it")
    if by == "reset":
        wire.send(reset(1))
    else:
        wire.sock.close()
    called.until(lambda: call in called.left)
    assert call.gone
    called.call(call.send, b"for nobody")
    called.call(call.finish, 0)
    hub = called.listener._hub
    called.until(lambda: hub.in_flight == 0 and hub.buffered == 0)
    if by == "reset":
        assert wire.rest() == []


def test_messages_that_are_held_back(called, wire):
    call = begun(called, wire, b"Slow")
    wire.send(data(message(b"one") + message(b"two"), last=False) + data(message(b"three")))
    wire.rest()
    assert called.messages == []
    assert called.call(lambda: called.listener._hub.buffered) == 11
    called.call(call.go_on)
    wire.answer()
    assert called.messages == [b"one", b"two", b"three"]
    assert wire.events == ["gRPC 0"]
    assert called.call(lambda: called.listener._hub.buffered) == 0


def test_holding_back_again_between_two_messages(called, wire):
    call = begun(called, wire, b"Slow")

    def one(call, given):
        called.messages.append(given)
        call.hold()

    call.on_message = one
    wire.send(data(message(b"one") + message(b"two")))
    wire.rest()
    called.call(call.go_on)
    called.until(lambda: called.messages == [b"one"])
    called.call(call.go_on)
    called.until(lambda: called.messages == [b"one", b"two"])
    assert wire.rest() == []
    called.call(call.go_on)
    wire.answer()
    assert wire.events == ["gRPC 0"]


def test_the_window_of_a_held_call():
    with Called(replace(FEW, max_body_bytes=1 << 22)) as called:
        wire = called.wire()
        with wire.sock:
            call = begun(called, wire, b"Slow")
            piece = message(b"a" * 16_379)
            for _ in range(STREAM_WINDOW // len(piece)):
                wire.send(data(piece, last=False))
            assert wire.rest() == []
            assert not any(f.kind == 8 and f.stream == 1 for f in wire.frames)
            called.call(call.go_on)
            wire.until(lambda: any(f.kind == 8 and f.stream == 1 for f in wire.frames))
            assert len(called.messages) == STREAM_WINDOW // len(piece)
            called.call(call.hold)
            for _ in range(STREAM_WINDOW // len(piece) + 1):
                wire.send(data(piece, last=False))
            assert wire.rest() == ["RST_STREAM FLOW_CONTROL_ERROR"]
            assert call in called.left
            assert called.call(lambda: called.listener._hub.buffered) == 0


def test_a_message_of_many_frames():
    with Called(replace(FEW, max_body_bytes=1 << 22)) as called:
        wire = called.wire(WIDE)
        with wire.sock:
            body = bytes(range(256)) * 8192
            sent = message(body)
            wire.send(headers(CALL, last=False))
            left, at = STREAM_WINDOW, 0
            while at < len(sent):
                piece = sent[at : at + 16_384]
                if left < len(piece):
                    seen = len(wire.frames)
                    wire.until(
                        lambda seen=seen: any(
                            f.kind == 8 and f.stream == 1 for f in wire.frames[seen:]
                        )
                    )
                    grants = [f for f in wire.frames[seen:] if f.kind == 8 and f.stream == 1]
                    left += sum(int.from_bytes(f.payload, "big") for f in grants)
                wire.send(data(piece, last=at + len(piece) == len(sent)))
                at, left = at + len(piece), left - len(piece)
            assert wire.answer() == sent
            assert max(len(f.payload) for f in wire.frames if f.kind == DATA) == 16_384


def test_trailers_wait_behind_a_message_that_waits(called):
    wire = called.wire(PREFACE + settings((4, 4)))
    with wire.sock:
        wire.send(headers(CALL, last=False) + data(message(b"abc")))
        wire.send(headers(call_of(b"Nope"), 3))
        wire.answer(
            3
        )  # its header block is written after that of the first, and before its trailers
        assert wire.events == ["gRPC 5"]
        wire.send(window(1, 100))
        assert wire.answer(1) == message(b"abc")
        assert wire.fields[1][-1] == ("grpc-status", "0")


def test_whoever_sends_is_told_of_what_waits(called, wire):
    wire.send(settings((4, 8)))
    call = begun(called, wire, b"Keep")
    drained = []
    call.on_drained = lambda: drained.append(call.waiting)
    called.call(call.send, b"abcdef")
    assert called.call(lambda: call.waiting) == 3
    wire.send(window(1, 3))
    wire.until(lambda: wire.bodies.get(1) == message(b"abcdef"))
    called.until(lambda: drained == [0])


# -- time


@pytest.mark.parametrize(
    ("given", "microseconds"),
    [(b"1H", 3_600_000_000), (b"2M", 120_000_000), (b"3S", 3_000_000), (b"4m", 4000), (b"5u", 5),
     (b"6000n", 6), (b"1n", 1), (b"0S", 1), (b"99999999H", 99_999_999 * 3_600_000_000)],
)  # fmt: skip
def test_the_time_that_a_call_has(called, wire, given, microseconds):
    assert begun(called, wire, b"Keep", (b"grpc-timeout", given)).timeout_us == microseconds


@pytest.fixture(scope="module")
def hasty():
    with Called(HASTY) as it:
        yield it


def test_time_of_a_call_passes(hasty):
    wire = hasty.wire()
    with wire.sock:
        wire.send(headers(call_of(b"Keep", (b"grpc-timeout", b"10m")), last=False))
        wire.send(data(message(b"abc")))
        wire.answer()
        assert wire.events == ["gRPC 4"]
        call = hasty.calls[-1]
        hasty.until(lambda: call in hasty.left)
        assert call.gone
        hasty.call(call.answer, b"late")


def test_a_slow_message_and_a_stream_without_one(hasty):
    wire = hasty.wire()
    with wire.sock:
        wire.send(headers(call_of(b"Keep"), last=False) + data(message(b"abc"), last=False))
        wire.send(headers(call_of(b"Keep"), 3, last=False))
        wire.send(data(message(b"abc")[:6], 3, last=False))
        wire.answer(3)
        assert wire.rest() == ["gRPC 4", "RST_STREAM NO_ERROR"]
        hasty.until(lambda: hasty.calls[-1] in hasty.left)
        assert not hasty.calls[-2].gone


def test_a_call_that_waits_for_its_only_message_does_not_wait_for_ever(hasty):
    wire = hasty.wire()
    with wire.sock:
        before = len(hasty.calls)
        wire.send(headers(call_of(b"Keep"), last=False))
        hasty.until(lambda: len(hasty.calls) > before)
        quiet = hasty.calls[-1]
        wire.send(headers(call_of(b"Await"), 3, last=False))
        wire.answer(3)
        assert dict(wire.fields[3])["grpc-status"] == "4"
        hasty.until(lambda: len(hasty.calls) == before + 2 and hasty.calls[-1] in hasty.left)
        assert not quiet.gone  # a stream that has said nothing yet
        heard = len(hasty.messages)
        call = headers(call_of(b"Await"), 5, last=False)
        wire.send(call + data(message(b"abc"), 5, last=False))
        hasty.until(lambda: len(hasty.messages) > heard)
        assert not hasty.calls[-1].awaited


# -- calls that the edge ends


WRONG = {
    "too long": (message(b"")[:1] + b"\xff\xff\xff\xff", False, "8"),
    "compressed somehow": (message(b"abc", flag=1), False, "13"),
    "half a message at the end": (message(b"abc")[:6], True, "13"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_who_is_at_work_is_told_when_the_edge_ends_a_call(called, wire, wrong):
    call = begun(called, wire, b"Keep")
    wire.send(data(message(b"abc"), last=False))
    called.until(lambda: called.messages)
    sent, last, status = WRONG[wrong]
    wire.send(data(sent, last=last))
    wire.answer()
    assert dict(wire.fields[1])["grpc-status"] == status
    called.until(lambda: called.left == [call])
    assert call.gone
    called.call(call.send, b"for nobody")
    called.call(call.finish, 0)
    assert called.call(lambda: called.listener._hub.in_flight) == 0


def test_who_is_at_work_is_told_when_a_further_message_makes_the_service_fail(called, wire, caplog):
    call = begun(called, wire, b"Keep")
    call.on_message = lambda *_: 1 / 0
    wire.send(data(message(b"abc"), last=False))
    wire.answer()
    called.until(lambda: called.left == [call])
    called.call(call.answer, b"for nobody")
    assert "ZeroDivisionError" in caplog.text


# -- who may call


def refuse(head):
    if head.headers.get(b"authorization") != b"Bearer good":
        raise Refusal(401, "no key, or a wrong one")


def test_keys_are_asked_for_before_the_service():
    with Called() as called:
        called.call(lambda: setattr(called.listener._hub, "admit", refuse))
        wire = called.wire()
        with wire.sock:
            wire.send(headers(CALL, last=False) + data(message(b"abc")))
            wire.answer()
            assert dict(wire.fields[1])["grpc-status"] == "16"
            assert called.calls == []
            good = headers((*CALL, (b"authorization", b"Bearer good")), 3, last=False)
            wire.send(good + data(message(b"abc"), 3))
            assert wire.answer(3) == message(b"abc")
            health = (*CALL[:2], (b":path", b"/grpc.health.v1.Health/Check"), *CALL[3:])
            wire.send(headers(health, 5))
            called.until(lambda: len(called.calls) == 2)


def test_without_a_service_calls_are_refused():
    with Called() as called:
        called.call(lambda: setattr(called.listener._hub, "grpc", None))
        wire = called.wire()
        with wire.sock:
            wire.send(headers(CALL, last=False) + data(message(b"abc")))
            wire.answer()
            assert dict(wire.fields[1])["grpc-status"] == "12"


def test_too_many_unfinished_messages_at_once():
    with Called(replace(FEW, max_buffered_bytes=100)) as called:
        wire = called.wire()
        with wire.sock:
            wire.send(headers(CALL, last=False) + data(message(b"a" * 300)[:200], last=False))
            wire.answer()
            assert wire.rest() == ["gRPC 14", "RST_STREAM NO_ERROR"]
        assert called.call(lambda: called.listener._hub.buffered) == 0


def test_calls_are_noted():
    journal = Journal()
    with Called(journal=journal) as called:
        wire = called.wire(OPEN)
        with wire.sock:
            wire.send(headers(CALL, last=False) + data(message(b"abc")))
            wire.send(headers(call_of(b"Nope"), 3) + headers(call_of(b"Keep"), 5) + reset(5))
            wire.rest()
        called.until(lambda: len(journal.entries) == 3)
        found = {(e.path, int(e.modern), e.status, e.taken, e.given) for e in journal.take(9)}
        assert found == {
            (b"/x.X/Unary", 2, 200, 8, 3),
            (b"/x.X/Nope", 2, 404, 0, 0),
            (b"/x.X/Keep", 2, 499, 0, 0),
        }
