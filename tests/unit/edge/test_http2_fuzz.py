"""Any frames in any order, in any pieces: no fault of ours, nothing left behind."""

import asyncio
import contextlib
import io
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import http2_wire as w
from http2_exchanges import table
from http2_served import FEW
from http2_unread import Nowhere
from modelworks.edge.http2.connection import Http2Connection
from modelworks.edge.hub import Hub

pytestmark = pytest.mark.unit
SAMPLES = [c.data for c in (*table.bad(), *table.good()) if len(c.data) < 2000 and not c.first]


class Stand:
    """A connection without a socket, and what was asked of the application."""

    def __init__(self, loop) -> None:
        self.loop = loop
        self.hub = Hub(self.handle, FEW, loop)
        self.hub.grpc = self.begin
        self.open = []
        self.transport = Nowhere()
        self.connection = Http2Connection(self.hub)
        self.connection.connection_made(self.transport)

    def handle(self, exchange) -> None:
        if exchange.path == b"/hold":
            self.open.append(lambda: exchange.reply(200, b"x" * 70_000, b"text/plain"))
        elif exchange.path == b"/big":
            stream = exchange.stream(200, b"text/plain")
            stream.write(b"x" * 30_000)
            self.open.append(stream.end)
        else:
            exchange.reply(200, exchange.body, b"text/plain")

    def begin(self, call) -> None:
        method = call.path.rpartition(b"/")[2]
        if method == b"Unary":
            call.on_message = lambda call, message: call.answer(message)
        elif method == b"Slow":
            call.hold()
            call.on_message = lambda call, message: call.send(message)
            self.open.append(call.go_on)
        else:
            call.on_message = lambda call, message: call.send(message)
            call.on_half_closed = lambda call: call.finish(0)

    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    def lose(self) -> None:
        """The socket closes; then what is still worked on is answered, to nobody."""
        self.connection.connection_lost(None)
        for end in self.open:
            with contextlib.suppress(RuntimeError):
                end()
        self.turn()
        self.turn()
        assert (self.hub.in_flight, self.hub.buffered) == (0, 0)
        assert not self.hub.connections


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def path(text):
    return (*w.GET[:2], (b":path", text), w.GET[3])


streams = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1])
numbers = st.sampled_from([0, 1, 2, 5, 16_384, 65_535, 2**31 - 1, 2**31, 2**32 - 1])
blocks = st.sampled_from(
    [w.block(fields) for fields in (w.GET, w.POST, path(b"/hold"), path(b"/big"), w.CALL)]
    + [w.block(w.call_of(method)) for method in (b"Echo", b"Slow")]
)
payloads = st.one_of(
    st.binary(max_size=40),
    blocks,
    st.binary(max_size=20).map(w.message),
    numbers.map(lambda n: n.to_bytes(4, "big")),
    st.tuples(st.integers(0, 9), numbers).map(lambda p: w.settings(p)[9:]),
)
frames = st.builds(w.frame, st.integers(0, 10), st.integers(0, 0xFF), streams, payloads)
requests = st.builds(
    lambda block, stream, last: w.frame(w.HEADERS, 4 | last, stream, block),
    blocks,
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([0, 1]),
)
bodies = st.builds(
    lambda body, stream, last: w.data(body, stream, last=last),
    st.binary(max_size=30).map(w.message) | st.binary(max_size=30),
    st.sampled_from([1, 3, 5, 7]),
    st.booleans(),
)
windows = st.builds(w.window, streams, numbers.map(lambda n: n & (2**31 - 1)))
parts = st.one_of(requests, bodies, windows, frames, st.sampled_from(SAMPLES))


@settings(max_examples=150, deadline=None)
@given(st.lists(parts, max_size=12), st.lists(st.integers(1, 200), max_size=10), st.data())
def test_any_frames(loop, caplog_of, given_parts, cuts, drawn):
    stand = Stand(loop)
    sent = w.OPEN + b"".join(given_parts)
    position = 0
    for cut in [*cuts, len(sent)]:
        if stand.transport.closed:
            break
        piece = sent[position : position + cut]
        position += cut
        if piece:
            stand.connection.data_received(piece)
        if stand.open and drawn.draw(st.booleans()):
            with contextlib.suppress(RuntimeError):
                stand.open.pop(0)()
        stand.turn()
        stand.connection.tick()
    stand.lose()
    assert not [r for r in caplog_of.records if r.levelname == "ERROR"], caplog_of.text


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 2000), st.integers(0, 255), st.integers(0, 60))
def test_any_byte_changed(loop, caplog_of, sample, place, byte, missing):
    stand = Stand(loop)
    changed = bytearray(sample * 2)
    changed[place % len(changed)] = byte
    stand.connection.data_received(w.OPEN + bytes(changed[: len(changed) - missing]))
    stand.turn()
    stand.lose()
    assert not [r for r in caplog_of.records if r.levelname == "ERROR"], caplog_of.text


@pytest.fixture(scope="module")
def caplog_of():
    """Records of the module's own: hypothesis does not go with the fixture of a test."""

    class Kept(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.records = []
            self.stream = io.StringIO()

        def emit(self, record) -> None:
            self.records.append(record)
            self.stream.write(self.format(record))

        @property
        def text(self) -> str:
            return self.stream.getvalue()

    kept = Kept()
    logger = logging.getLogger("modelworks.edge")
    logger.addHandler(kept)
    yield kept
    logger.removeHandler(kept)
