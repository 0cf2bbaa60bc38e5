"""Requests over HTTP/2: for the handler of HTTP/1.1; answers in pieces, windows, time, the end."""

import itertools
import ssl
import threading
from dataclasses import replace

import pytest

from certificates import Authority
from edge_served import SMALL
from http2_served import FEW, HASTY, Called
from http2_wire import (
    DATA,
    GET,
    GOAWAY,
    HEADERS,
    OPEN,
    PING,
    POST,
    PREFACE,
    SETTINGS,
    WIDE,
    Wire,
    block,
    data,
    frame,
    headers,
    reset,
    settings,
    window,
)
from modelworks.edge.access_lines import Form, Lines
from modelworks.edge.http2.stream import STREAM_WINDOW
from modelworks.edge.journal import Journal
from modelworks.edge.tls import TlsFiles
from modelworks.edge.tls_gate import TlsGate

pytestmark = pytest.mark.unit


def get(path, *further):
    return (*GET[:2], (b":path", path), GET[3], *further)


@pytest.fixture(scope="module")
def called():
    with Called() as it:
        yield it


@pytest.fixture
def wire(called):
    called.streams.clear()
    wire = called.wire()
    with wire.sock:
        yield wire


def test_the_application_sees_what_was_sent(called, wire):
    fields = (
        *((b":method", b"PUT"), GET[1], (b":path", b"/a%20b?x=1&y=%2F"), GET[3]),
        *((b"x-twice", b"1"), (b"x-twice", b"2"), (b"cookie", b"a=1"), (b"cookie", b"b=2")),
    )
    wire.send(headers(fields, last=False) + data(b"\0\xff\n"))
    assert wire.answer() == b"PUT /a%20b?x=1&y=%2F \0\xff\n"
    exchange = called.seen[-1]
    assert (exchange.path, exchange.query) == (b"/a%20b", b"x=1&y=%2F")
    assert exchange.headers[b"x-twice"] == b"1, 2"
    assert exchange.headers[b"cookie"] == b"a=1; b=2"
    assert exchange.headers[b"host"] == b"a"
    assert exchange.received_ns > 0


def test_an_answer_in_full(wire):
    wire.send(headers(get(b"/extra", (b"x-request-id", b"mine"))))
    assert wire.answer() == b"{}"
    fields = dict(wire.fields[1])
    assert fields.pop("date").endswith(" GMT")
    assert fields == {
        ":status": "200",
        "content-type": "application/json",
        "content-length": "2",
        "x-one": "1",
        "x-two": "2",
        "x-request-id": "mine",
    }


def test_no_body_where_there_is_none(wire):
    wire.send(headers(get(b"/empty")) + headers(((b":method", b"HEAD"), *GET[1:]), 3))
    assert (wire.answer(1), wire.answer(3)) == (b"", b"")
    assert "content-length" not in dict(wire.fields[1])
    assert dict(wire.fields[3])["content-length"] == "10"


def test_a_handler_that_fails_tells_no_secret(wire, caplog):
    wire.send(headers(get(b"/boom")) + headers(GET, 3))
    assert b"secret" not in wire.answer(1)
    assert wire.answer(3)
    assert wire.events == ["500", "200"]
    assert "a secret of the server" in caplog.text


def test_answers_leave_as_they_come(called, wire):
    wire.send(headers(get(b"/hold")) + headers(GET, 3))
    wire.answer(3)
    called.call(called.held.pop().reply, 200, b"late", b"text/plain")
    assert wire.answer(1) == b"late"


def test_a_request_that_is_taken_back(called, wire):
    wire.send(headers(get(b"/hold")))
    called.until(lambda: called.held)
    exchange = called.held.pop()
    left = []
    exchange.on_gone = lambda: left.append(1)
    wire.send(reset(1))
    assert wire.rest() == []
    assert left == [1]
    assert exchange.gone
    called.call(exchange.reply, 200, b"for nobody", b"text/plain")
    assert wire.rest() == []


def test_a_client_that_closes(called):
    wire = called.wire()
    wire.send(headers(get(b"/hold")) + headers(get(b"/hold"), 3) + headers(get(b"/stream"), 5))
    called.until(lambda: len(called.held) == 2 and called.streams)
    held, stream = called.held[:], called.streams.pop()
    called.held.clear()
    left = []
    for one in (*held, stream):
        one.on_gone = lambda one=one: left.append(one)
    wire.sock.close()
    called.until(lambda: len(left) == 3)
    called.until(lambda: called.listener.in_flight == 0 and called.listener.connections == 0)
    called.call(stream.write, b"for nobody")


# -- answers in pieces


def test_pieces_leave_when_they_are_written(called, wire):
    wire.send(headers(get(b"/stream")))
    stream = called.stream()
    called.call(stream.write, b"one")
    wire.until(lambda: wire.bodies.get(1) == b"one")
    called.call(stream.write, b"")
    called.call(stream.write, b"two")
    wire.until(lambda: wire.bodies[1] == b"onetwo")
    assert 1 not in wire.ended
    called.call(stream.end)
    assert wire.answer() == b"onetwo"
    assert "content-length" not in dict(wire.fields[1])
    with pytest.raises(RuntimeError):
        called.call(stream.write, b"three")
    with pytest.raises(RuntimeError):
        called.call(stream.end)


def test_an_answer_that_cannot_be_made_whole(called, wire):
    wire.send(headers(get(b"/stream")))
    stream = called.stream()
    called.call(stream.write, b"one")
    called.call(stream.cut)
    wire.answer()
    assert wire.events == ["200", "RST_STREAM INTERNAL_ERROR"]
    called.call(stream.cut)
    wire.send(headers(GET, 3))
    assert wire.answer(3)


def test_a_handler_that_fails_in_the_middle_of_a_stream(called, wire, caplog):
    wire.send(headers(get(b"/stream-boom")))
    wire.answer()
    assert wire.events == ["200", "RST_STREAM INTERNAL_ERROR"]
    assert "in the middle" in caplog.text


def test_whoever_writes_is_told_of_what_waits(called):
    called.streams.clear()
    wire = called.wire(PREFACE + settings((4, 10)))
    with wire.sock:
        wire.send(headers(get(b"/stream")))
        stream = called.stream()
        drained = []
        stream.on_drained = lambda: drained.append(stream.waiting)
        called.call(stream.write, b"a" * 25)
        wire.until(lambda: wire.bodies.get(1) == b"a" * 10)
        assert called.call(lambda: stream.waiting) == 15
        wire.send(window(1, 10))
        wire.until(lambda: wire.bodies[1] == b"a" * 20)
        assert drained == []
        wire.send(window(1, 10))
        wire.until(lambda: wire.bodies[1] == b"a" * 25)
        called.until(lambda: drained == [0])
        called.call(stream.write, b"b" * 5)
        called.call(stream.write, b"c")
        called.call(stream.end)
        assert 1 not in wire.ended
        wire.send(window(1, 1))
        assert wire.answer() == b"a" * 25 + b"b" * 5 + b"c"


def test_head_of_a_stream_has_no_body(called, wire):
    wire.send(headers(((b":method", b"HEAD"), *get(b"/stream")[1:])))
    assert wire.answer() == b""
    stream = called.stream()
    called.call(stream.write, b"unseen")
    called.call(stream.end)
    assert wire.rest() == ["200"]


# -- windows and large things


def test_a_large_answer_keeps_to_the_windows(called):
    wire = called.wire(PREFACE + settings((4, 100_000), (5, 20_000)))
    with wire.sock:
        wire.send(headers(get(b"/big")))
        granted = {0: 65_535, 1: 100_000}
        while 1 not in wire.ended:
            found = wire.read()
            if found.kind != DATA:
                continue
            assert len(found.payload) <= 20_000
            for stream in (0, 1):
                granted[stream] -= len(found.payload)
                assert granted[stream] >= 0
                if granted[stream] < 30_000:
                    wire.send(window(stream, 60_000))
                    granted[stream] += 60_000
        assert wire.bodies[1] == b"x" * 3_000_000


def test_a_large_body_is_granted_its_way(called):
    with Called(replace(FEW, max_body_bytes=5_000_000)) as large:
        wire = large.wire(WIDE)
        with wire.sock:
            wire.send(headers((*POST, (b"content-length", b"4000000")), last=False))
            wire.until(lambda: any(f.kind == SETTINGS for f in wire.frames))
            left, sent, more = STREAM_WINDOW, 0, itertools.count()
            while sent < 4_000_000:
                if left < 16_000:
                    seen = len(wire.frames)
                    wire.until(lambda seen=seen: wire.frames[seen:] and wire.frames[-1].kind == 8)
                    grants = [f for f in wire.frames[seen:] if f.kind == 8 and f.stream == 1]
                    left += sum(int.from_bytes(f.payload, "big") for f in grants)
                    next(more)
                    continue
                wire.send(data(b"y" * 16_000, last=sent + 16_000 == 4_000_000))
                sent, left = sent + 16_000, left - 16_000
            assert len(wire.answer()) == 4_000_000 + len(b"POST /ok? ")
            assert next(more) > 2
        assert large.call(lambda: large.listener._hub.buffered) == 0


def test_windows_of_streams(called):
    wire = called.wire(PREFACE + settings((4, 0)) + window(0, 2**30))
    with wire.sock:
        wire.send(b"".join(headers(GET, n) for n in (1, 3, 5)) + window(3, 1000))
        assert wire.answer(3) == b"GET /ok? "
        assert wire.rest() == ["200", "200", "200"]
        assert set(wire.ended) == {3}
        wire.send(window(1, 1000) + window(5, 1000))
        assert wire.answer(1) == wire.answer(5) == b"GET /ok? "


def test_a_refusal_waits_for_room_as_any_answer_does(called):
    strange = (
        headers(get(b"/ok", (b"expect", b"tea"))),
        headers(get(b"/ok", (b"expect", b"tea")), 3),
    )
    wire = called.wire(PREFACE + settings((4, 0)))
    with wire.sock:
        wire.send(b"".join(strange))
        assert wire.rest() == ["417", "417"]
        wire.send(reset(3) + window(1, 1000) + window(3, 1000))
        assert b"the only expectation" in wire.answer(1)
        assert wire.rest() == ["417", "417"]
        assert 3 not in wire.bodies


def test_a_refusal_that_is_not_taken_is_given_up_once(hasty):
    wire = hasty.wire(PREFACE + settings((4, 0)) + headers(get(b"/ok", (b"expect", b"tea"))))
    with wire.sock:
        wire.until(lambda: 1 in wire.ended)
        for number in range(3, 9, 2):  # time passes: sweeps that give these up
            wire.send(headers(GET, number))
            wire.until(lambda number=number: number in wire.ended)
        assert wire.events == ["417", "RST_STREAM CANCEL", *["200", "RST_STREAM CANCEL"] * 3]


def test_a_window_that_opens_bit_by_bit_is_for_all_streams(called):
    wire = called.wire(PREFACE + settings((4, 2**30)))
    with wire.sock:
        wire.send(b"".join(headers(get(b"/big"), n) for n in (1, 3, 5)))
        wire.rest()
        before = dict(wire.bodies)
        for _ in range(9):
            wire.send(window(0, 16_384))
            wire.rest()
        grown = [len(wire.bodies[n]) - len(before.get(n, b"")) for n in (1, 3, 5)]
        assert grown == [3 * 16_384] * 3
        wire.send(window(0, 2**30))
        assert all(len(wire.answer(n)) == 3_000_000 for n in (1, 3, 5))


def test_streams_share_the_connections_window(called):
    wire = called.wire(PREFACE + settings((4, 2**30)))
    with wire.sock:
        wire.send(headers(get(b"/big")) + headers(get(b"/big"), 3))
        wire.rest()
        wire.send(window(0, 400_000))
        wire.until(lambda: sum(map(len, wire.bodies.values())) == 465_535)
        assert min(len(wire.bodies[1]), len(wire.bodies[3])) > 150_000
        wire.send(window(0, 2**30))
        assert len(wire.answer(1)) == len(wire.answer(3)) == 3_000_000


# -- time


@pytest.fixture(scope="module")
def hasty():
    with Called(HASTY) as it:
        yield it


def to_the_end(wire) -> list[str]:
    with wire.sock:
        while wire.read() is not None:
            pass
    return wire.events


def to_the_end_of(wire):
    to_the_end(wire)
    return wire.frames


def test_no_settings(hasty):
    assert to_the_end(hasty.wire(PREFACE)) == ["GOAWAY SETTINGS_TIMEOUT"]


def test_half_a_frame(hasty):
    ping = frame(PING, payload=b"8 bytes!")
    wires = [hasty.wire(OPEN + begun) for begun in (b"\0\0", headers(GET)[:-1], ping[:12])]
    ends = [to_the_end(wire) for wire in wires]
    assert ends == [["GOAWAY ENHANCE_YOUR_CALM"]] * 3


def test_half_a_header_block(hasty):
    wire = hasty.wire(OPEN + frame(HEADERS, 1, 1, block(GET)[:5]))
    assert to_the_end(wire) == ["GOAWAY ENHANCE_YOUR_CALM"]


def test_a_slow_body(hasty):
    wire = hasty.wire(OPEN + headers(POST, last=False) + data(b"a", last=False))
    with wire.sock:
        wire.until(lambda: len(wire.events) == 2)
        assert wire.events == ["408", "RST_STREAM NO_ERROR"]


def test_no_window(hasty):
    wire = hasty.wire(PREFACE + settings((4, 0)) + headers(GET))
    with wire.sock:
        wire.until(lambda: 1 in wire.ended)
        assert wire.events == ["200", "RST_STREAM CANCEL"]


def test_a_client_that_does_not_read(hasty):
    wire = hasty.wire(WIDE + b"".join(headers(get(b"/big"), n) for n in range(1, 17, 2)))
    with wire.sock:
        hasty.until(lambda: hasty.listener.connections == 0)


def test_an_idle_connection():
    with Called(replace(HASTY, idle_timeout_s=0.3)) as called:
        assert to_the_end(called.wire(OPEN + headers(GET))) == ["200", "GOAWAY NO_ERROR"]


def test_nobody_there():
    with Called(replace(HASTY, idle_timeout_s=0.3, write_timeout_s=1.0)) as called:
        silent, alive = (called.wire(OPEN + headers(get(b"/hold"))) for _ in range(2))
        with silent.sock, alive.sock:
            called.until(lambda: len(called.held) == 2)
            left = []
            for exchange in called.held:
                exchange.on_gone = lambda exchange=exchange: left.append(exchange)
            while not left:
                if alive.read().kind == PING:
                    alive.send(frame(PING, 1, payload=alive.frames[-1].payload))
            assert [f.kind for f in to_the_end_of(silent)] == [SETTINGS, 8, SETTINGS, PING]
            (held,) = {*called.held} - {*left}
            called.call(held.reply, 200, b"patient", b"text/plain")
            assert alive.answer() == b"patient"
            called.held.clear()


# -- the connection


def test_beginning_in_pieces_and_behind_nothing_else(called):
    wire = called.wire(b"")
    with wire.sock:
        wire.send(OPEN + headers(GET), pieces=70)
        assert wire.answer()
    assert b"505" in called.talk(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n" + PREFACE)


def test_draining_loses_no_request():
    with Called(replace(FEW, drain_linger_s=0.3)) as called:
        wire = called.wire()
        with wire.sock:
            wire.send(headers(get(b"/hold")))
            called.until(lambda: called.held)
            done = []
            thread = threading.Thread(target=lambda: done.append(called.drain(20)))
            thread.start()
            wire.until(lambda: "GOAWAY NO_ERROR" in wire.events)
            wire.send(headers(GET, 3))  # it was under way when the client heard of it
            assert wire.answer(3)
            wire.until(lambda: wire.events.count("GOAWAY NO_ERROR") == 2)
            wire.send(headers(GET, 5))
            wire.until(lambda: "RST_STREAM REFUSED_STREAM" in wire.events)
            called.call(called.held.pop().reply, 200, b"held", b"text/plain")
            assert wire.answer(1) == b"held"
            while wire.read() is not None:
                pass
            thread.join(30)
            assert not thread.is_alive()
            last = [f.payload[:4] for f in wire.frames if f.kind == GOAWAY]
            assert [int.from_bytes(number, "big") for number in last] == [2**31 - 1, 3, 5]


def test_idle_connections_make_way():
    with Called(replace(SMALL, max_connections=1, idle_timeout_s=60)) as called:
        first = called.wire()
        with first.sock:
            first.send(headers(GET))
            first.answer()
            called.until(lambda: _idle(called))
            second = called.wire()
            with second.sock:
                second.send(headers(GET))
                assert second.answer()
            while first.read() is not None:
                pass
            assert first.events == ["200", "GOAWAY NO_ERROR"]


def _idle(called) -> bool:
    def look() -> bool:
        hub = called.listener._hub
        return all(c.idle_s(hub.now) > 1.0 for c in hub.connections)

    return called.call(look)


def test_answers_are_noted():
    journal = Journal()
    with Called(journal=journal) as called:
        wire = called.wire()
        with wire.sock:
            wire.send(headers(POST, last=False) + data(b"body") + headers(get(b"/hold"), 3))
            wire.answer()
            wire.send(reset(3) + headers(GET[1:], 5) + headers(get(b"/stream"), 7))
            stream = called.stream()
            called.call(stream.write, b"1234567")
            called.call(stream.end)
            wire.answer(7)
        called.until(lambda: len(journal.entries) == 3)
        noted = journal.take(9)
        found = {(e.method, e.path, int(e.modern), e.status, e.taken, e.given) for e in noted}
        assert found == {
            (b"POST", b"/ok", 2, 200, 4, 14),
            (b"GET", b"/hold", 2, 499, 0, 0),
            (b"GET", b"/stream", 2, 200, 0, 7),
        }
        assert {e.client for e in noted} == {"127.0.0.1"}
        assert b'"GET /stream HTTP/2" 200 7' in Lines(Form.COMBINED).write(noted)
        assert Lines(Form.ECS).write(noted).count(b'"http.version":"2"') == 3


def test_traced_requests_are_told_of():
    told = []
    parent = b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"
    with Called() as called:
        hub = called.listener._hub
        called.call(lambda: setattr(hub, "traced", lambda r, status: told.append((r.path, status))))
        wire = called.wire()
        with wire.sock:
            wire.send(headers(get(b"/ok", (b"traceparent", parent), (b"x-request-id", b"mine"))))
            wire.send(headers(get(b"/stream", (b"traceparent", parent)), 3))
            wire.answer()
            assert dict(wire.fields[1])["x-request-id"] == "mine"
            called.call(called.stream().end)
            wire.answer(3)
        assert called.seen[0].trace.trace_id == "1" * 32
    assert told == [(b"/ok", 200), (b"/stream", 200)]


@pytest.mark.parametrize("uvloop", [True, False])
def test_over_tls_both_are_offered(tmp_path, uvloop):
    authority = Authority(tmp_path)
    pair = authority.pair("server")
    gate = TlsGate(TlsFiles(pair.certificate, pair.key), http2=True)
    with Called(tls=gate, uvloop=uvloop) as called:
        for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)):
            client = ssl.create_default_context(cafile=authority.certificate)
            if offered:
                client.set_alpn_protocols(offered)
            sock = client.wrap_socket(called.connect(), server_hostname="localhost")
            with sock:
                assert sock.selected_alpn_protocol() == chosen
                if chosen == "h2":
                    wire = Wire(sock)
                    wire.send(WIDE + headers(get(b"/big")))
                    assert len(wire.answer()) == 3_000_000
                    wire.send(headers(POST, 3, last=False) + data(b"a" * 4096, 3))
                    assert wire.answer(3) == b"POST /ok? " + b"a" * 4096
                else:
                    sock.sendall(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_without_a_maker_it_is_refused():
    with Called() as called:
        called.call(lambda: setattr(called.listener._hub, "http2", None))
        assert called.talk(PREFACE).startswith(b"HTTP/1.1 505 ")


def test_a_fault_of_ours_ends_the_connection_alone(caplog):
    with Called() as called:
        other = called.wire()
        with other.sock:
            called.call(lambda: setattr(called.listener._hub, "admit", lambda _: 1 / 0))
            assert to_the_end(called.wire(OPEN + headers(POST, last=False))) == [
                "GOAWAY INTERNAL_ERROR"
            ]
            assert "ZeroDivisionError" in caplog.text
            other.send(headers(GET))
            assert other.answer()
