"""Answers sent piece by piece over HTTP/1.1: framing, order, clients that leave or do not read."""

import contextlib
import select
import socket
import ssl
import struct
import threading
from dataclasses import replace
from http.client import HTTPResponse, IncompleteRead

import pytest

from certificates import Authority
from edge_served import SMALL, Served, read_all
from exchanges.kinds import GET, H
from modelworks.edge.journal import Journal
from modelworks.edge.listener import Listener
from modelworks.edge.tls import TlsFiles
from modelworks.edge.tls_gate import TlsGate
from modelworks.edge.unix import listen_unix

pytestmark = pytest.mark.unit
OK = GET + b"\r\n"
STREAM = b"POST /stream HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\n" + H + b"\r\n"
BIG = b"x" * 300_000


@pytest.fixture
def here():
    with Served(SMALL) as served:
        yield served


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def either(request):
    with Served(SMALL, uvloop=request.param) as served:
        yield served


def receive(sock, count):
    """Exactly so many bytes."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, data
        data += piece
    return data


def until(sock, mark):
    """Up to and with some bytes."""
    data = b""
    while not data.endswith(mark):
        data += receive(sock, 1)
    return data


def begun(served, sock, request=STREAM):
    """Ask; the stream, when its head has come."""
    count = len(served.streams)
    sock.sendall(request)
    head = until(sock, b"\r\n\r\n")
    served.until(lambda: len(served.streams) > count)
    return served.streams[count], head


def watch(served, stream):
    """An event that is set when the client is gone."""
    told = threading.Event()

    def arm():
        stream.on_gone = told.set
        if stream.gone:
            told.set()

    served.call(arm)
    return told


def settled(served):
    """Nothing is owed to anybody."""
    served.until(lambda: not served.listener.in_flight)


# -- framing


def test_pieces_leave_one_by_one_and_the_connection_lives_on(either):
    with either.connect() as sock:
        stream, head = begun(either, sock)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert b"Content-Length" not in head
        assert b"X-One: 1" in head
        for piece in (b"one", b"two", BIG):
            either.call(stream.write, piece)
            framed = b"%x\r\n%b\r\n" % (len(piece), piece)
            assert receive(sock, len(framed)) == framed  # before the next one is made
        either.call(stream.write, b"")
        either.call(stream.end)
        assert receive(sock, 5) == b"0\r\n\r\n"
        sock.sendall(OK)
        assert until(sock, b"GET /ok? ").startswith(b"HTTP/1.1 200 OK")
        assert stream.given == 6 + len(BIG)
    settled(either)


def test_a_client_of_http_1_0_reads_until_the_end(here):
    with here.connect() as sock:
        sock.sendall(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        stream = here.stream()
        for piece in (b"one", b"two"):
            here.call(stream.write, piece)
        here.call(stream.end)
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"chunked" not in head
    assert body == b"onetwo"
    settled(here)


def test_head_has_no_body(here):
    with here.connect() as sock:
        stream, head = begun(here, sock, b"HEAD /stream HTTP/1.1\r\n" + H + b"\r\n")
        here.call(stream.write, b"one")
        here.call(stream.end)
        sock.sendall(OK)
        assert until(sock, b"GET /ok? ").startswith(b"HTTP/1.1 200 OK")
    assert b"chunked" not in head
    assert stream.given == 0


def test_the_last_answer_of_a_connection_says_so(here):
    asked = b"GET /stream HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n"
    with here.connect() as sock:
        stream, head = begun(here, sock, asked)
        assert b"Connection: close" in head
        here.call(stream.write, b"one")
        here.call(stream.end)
        assert read_all(sock) == b"3\r\none\r\n0\r\n\r\n"


def test_a_request_that_named_itself_is_answered_with_the_name(here):
    asked = b"GET /stream HTTP/1.1\r\n" + H + b"X-Request-Id: n-1\r\n\r\n"
    with here.connect() as sock:
        stream, head = begun(here, sock, asked)
        assert b"X-Request-Id: n-1" in head
        here.call(stream.end)


def test_misuse_is_an_error(here):
    with here.connect() as sock:
        stream, _ = begun(here, sock)
        exchange = here.seen[-1]
        for again in (
            lambda: exchange.reply(200, b"", b""),
            lambda: exchange.stream(200, b""),
        ):
            with pytest.raises(RuntimeError, match="answered already"):
                here.call(again)
        here.call(stream.end)
        with pytest.raises(RuntimeError, match="ended already"):
            here.call(stream.write, b"more")
        with pytest.raises(RuntimeError, match="ended already"):
            here.call(stream.end)
        here.call(stream.cut)  # quiet


# -- order


def test_answers_keep_the_order_of_requests(either):
    with either.connect() as sock:
        sock.sendall(HOLD + STREAM + OK + STREAM + OK)
        either.until(lambda: len(either.seen) == 5)
        first, second = either.streams
        either.call(first.write, b"one")
        either.call(second.write, b"all of it")
        either.call(second.end)
        assert either.call(lambda: first.waiting) == 3
        assert not select.select([sock], [], [], 0)[0]  # nothing before the first answer
        either.call(either.held[0].reply, 200, b"held", b"text/plain")
        assert until(sock, b"3\r\none\r\n").count(b"HTTP/1.1 200") == 2
        either.call(first.write, b"two")
        assert receive(sock, 8) == b"3\r\ntwo\r\n"
        either.call(first.end)
        rest = until(sock, b"0\r\n\r\n") + until(sock, b"0\r\n\r\n")
        assert rest.startswith(b"0\r\n\r\nHTTP/1.1 200")
        assert rest.count(b"GET /ok? ") == 1
        assert b"9\r\nall of it\r\n" in rest
        until(sock, b"GET /ok? ")
        sock.sendall(OK)
        until(sock, b"GET /ok? ")
    settled(either)


def test_no_more_requests_are_read_than_may_wait(here):
    with here.connect() as sock:
        sock.sendall(STREAM + OK * 40)
        here.until(lambda: len(here.seen) == SMALL.max_pipelined)
        here.call(here.stream().end)
        here.until(lambda: len(here.seen) == 41)
        for _ in range(40):
            until(sock, b"GET /ok? ")


def test_a_body_that_comes_behind_is_taken(here):
    asked = b"POST /ok HTTP/1.1\r\n" + H + b"Content-Length: 6\r\nExpect: 100-continue\r\n\r\n"
    with here.connect() as sock:
        stream, _ = begun(here, sock)
        sock.sendall(asked)
        here.call(stream.end)
        assert until(sock, b"100 Continue\r\n\r\n").startswith(b"0\r\n\r\n")
        sock.sendall(b"sixsix")
        until(sock, b"POST /ok? sixsix")


# -- clients that leave


def close(sock):
    sock.close()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half(sock):
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [close, reset, half])
@pytest.mark.parametrize("written", [b"", b"one"])
def test_who_leaves_is_noticed_while_nothing_is_written(here, leave, written):
    sock = here.connect()
    with contextlib.closing(sock):
        stream, _ = begun(here, sock)
        here.call(stream.write, written)
        gone = watch(here, stream)
        leave(sock)
        assert gone.wait(10)
    assert stream.gone
    here.call(stream.write, b"for nobody")
    here.call(stream.end)
    settled(here)
    here.until(lambda: not here.listener.connections)


@pytest.mark.parametrize("leave", [close, reset])
def test_who_leaves_is_noticed_while_nothing_is_read(here, leave):
    """So many requests wait behind the stream that the connection is not read."""
    sock = here.connect()
    with contextlib.closing(sock):
        stream, _ = begun(here, sock)
        sock.sendall(OK * 40)
        here.until(lambda: len(here.seen) == SMALL.max_pipelined)
        gone = watch(here, stream)
        leave(sock)
        assert gone.wait(10)
    settled(here)


def test_who_leaves_before_its_turn_is_noticed(here):
    sock = here.connect()
    sock.sendall(HOLD + STREAM)
    gone = watch(here, here.stream())
    reset(sock)
    assert gone.wait(10)
    assert not here.streams[0].begun
    settled(here)


def test_who_closed_its_side_before_its_turn_is_let_go_at_its_turn(here):
    with here.connect() as sock:
        sock.sendall(HOLD + STREAM)
        gone = watch(here, here.stream())
        half(sock)
        here.call(here.held[0].reply, 200, b"held", b"text/plain")
        assert gone.wait(10)
    settled(here)


@pytest.mark.parametrize("leave", [close, reset, half])
def test_a_plain_answer_can_be_given_up_in_the_same_way(here, leave):
    sock = here.connect()
    with contextlib.closing(sock):
        sock.sendall(HOLD)
        here.until(lambda: here.held)
        exchange, told = here.held[0], threading.Event()

        def arm():
            exchange.on_gone = told.set
            exchange.expect_leaving()

        here.call(arm)
        leave(sock)
        assert told.wait(10)
    settled(here)


def test_who_closed_its_side_before_anybody_minded_is_let_go(here):
    """As of a request that waits for its model to be loaded."""
    with here.connect() as sock:
        sock.sendall(HOLD)
        half(sock)
        here.until(lambda: here.held and next(iter(here.listener._hub.connections))._eof)
        told = threading.Event()

        def arm():
            here.held[0].on_gone = told.set
            here.held[0].expect_leaving()

        here.call(arm)
        assert told.wait(10)
    settled(here)


def test_a_plain_answer_is_owed_to_who_closed_its_side(here):
    with here.connect() as sock:
        sock.sendall(HOLD)
        half(sock)
        here.until(lambda: here.held)
        here.call(here.held[0].reply, 200, b"held", b"text/plain")
        assert read_all(sock).endswith(b"held")


# -- clients that do not read


def test_what_waits_is_known_and_its_end_is_told(either):
    with either.connect() as sock:
        stream, _ = begun(either, sock)
        drained = threading.Event()

        def fill():
            stream.on_drained = drained.set
            written = 0
            while not stream.waiting:
                stream.write(BIG)
                written += 1
            return written

        count = either.call(fill)
        assert not drained.is_set()
        whole = count * (len(BIG) + len(b"%x\r\n\r\n" % len(BIG)))
        receive(sock, whole)
        assert drained.wait(10)
        assert either.call(lambda: stream.waiting) == 0
        either.call(stream.end)
        sock.sendall(OK)
        assert until(sock, b"GET /ok? ").startswith(b"0\r\n\r\nHTTP/1.1 200 OK")


def test_an_end_with_much_waiting_is_followed_by_the_next_answer(here):
    with here.connect() as sock:
        stream, _ = begun(here, sock)

        def fill():
            while stream.waiting < 2 * SMALL.write_high_water:
                stream.write(BIG)
            stream.end()

        here.call(fill)
        sock.sendall(OK)
        data = b""
        while not data.endswith(b"GET /ok? "):
            data = data[-100:] + sock.recv(1 << 20)


def test_who_takes_nothing_is_cut_off(here):
    with here.connect() as sock:
        stream, _ = begun(here, sock)
        gone = watch(here, stream)

        def fill():
            while not stream.waiting:
                stream.write(BIG)

        here.call(fill)
        assert gone.wait(SMALL.write_timeout_s + 10)
        assert stream.gone
    settled(here)


# -- ends that are none


def test_a_body_that_cannot_be_made_whole_is_seen_to_be_none(either):
    with either.connect() as sock:
        stream, _ = begun(either, sock, OK.replace(b"/ok", b"/stream"))
        either.call(stream.write, b"one")
        gone = watch(either, stream)
        either.call(stream.cut)
        either.call(stream.cut)
        assert read_all(sock) == b"3\r\none\r\n"  # no last chunk
    settled(either)
    assert not gone.is_set()  # it was our doing


def test_a_client_library_says_so(here):
    with here.connect() as sock:
        sock.sendall(STREAM)
        stream = here.stream()
        answer = HTTPResponse(sock)
        answer.begin()
        here.call(stream.write, b"one")
        here.call(stream.cut)
        with pytest.raises(IncompleteRead):
            answer.read()
        answer.close()


def test_a_cut_of_an_older_client_is_a_reset(either):
    with either.connect() as sock:
        sock.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
        stream = either.stream()
        either.call(stream.write, b"one")
        until(sock, b"one")
        either.call(stream.cut)
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_a_cut_before_its_turn_waits_for_it(here):
    with here.connect() as sock:
        sock.sendall(HOLD + STREAM)
        here.call(here.stream().cut)
        here.call(here.held[0].reply, 200, b"held", b"text/plain")
        data = read_all(sock)
        assert b"held" in data
        assert data.count(b"HTTP/1.1 200") == 2
    settled(here)


def test_a_handler_that_fails_in_the_middle_leaves_no_half_answer_open(here):
    with here.connect() as sock:
        sock.sendall(STREAM.replace(b"/stream", b"/stream-boom"))
        assert b"chunked" in read_all(sock)
    settled(here)


# -- drain


def test_a_stream_under_way_may_end_while_draining(here):
    with here.connect() as sock:
        stream, head = begun(here, sock)
        assert b"close" not in head
        draining = threading.Thread(target=here.drain, args=(20,))
        draining.start()
        here.until(lambda: here.listener.draining)
        here.call(stream.write, b"one")
        here.call(stream.end)
        assert read_all(sock) == b"3\r\none\r\n0\r\n\r\n"
        draining.join(20)
        assert not draining.is_alive()


def test_a_stream_that_outlives_the_drain_is_cut_off(here):
    with here.connect() as sock:
        stream, _ = begun(here, sock)
        gone = watch(here, stream)
        here.drain(0.05)
        assert gone.wait(10)
    assert stream.gone


# -- what is told of it


def test_the_access_log_has_the_whole_of_it():
    journal = Journal()
    with Served(SMALL, journal=journal) as served:
        with served.connect() as sock:
            stream, _ = begun(served, sock)
            served.call(stream.write, b"one")
            assert not journal.entries  # nothing is told before its end
            served.call(stream.write, b"two")
            served.call(stream.end)
            sock.sendall(OK)
            until(sock, b"GET /ok? ")
        sock = served.connect()
        stream, _ = begun(served, sock)
        served.call(stream.write, b"one")
        close(sock)
        sock = served.connect()
        sock.sendall(HOLD + STREAM)
        served.until(lambda: len(served.streams) == 3)
        reset(sock)
        served.until(lambda: len(journal.entries) == 5)
        found = [(one.path, one.status, one.given) for one in journal.take(10)]
    assert found == [
        (b"/stream", 200, 6),
        (b"/ok", 200, 9),
        (b"/stream", 200, 3),
        (b"/hold", 499, 0),
        (b"/stream", 499, 0),
    ]


class _Traced(Served):
    """Keeps what is told of traced requests."""

    def __init__(self):
        super().__init__(SMALL)
        self.told = []

    async def _run(self):
        make = Listener.__init__

        def made(*given, **named):
            make(*given, **named, traced=lambda request, status: self.told.append(status))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Listener, "__init__", made)
            await super()._run()


def test_a_traced_request_is_told_of_at_its_end():
    trace = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    asked = STREAM.replace(H, H + trace)
    with _Traced() as served:
        with served.connect() as sock:
            stream, _ = begun(served, sock, asked)
            assert served.told == []
            served.call(stream.end)
            assert served.told == [200]
        sock = served.connect()
        sock.sendall(HOLD + asked)
        served.until(lambda: len(served.streams) == 2)
        reset(sock)
        served.until(lambda: served.told == [200, 499])


# -- other ways in


def test_tls(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.pair("server")
    gate = TlsGate(TlsFiles(pair.certificate, pair.key))
    client = ssl.create_default_context(cafile=authority.certificate)
    with Served(SMALL, tls=gate) as served:
        with client.wrap_socket(served.connect(), server_hostname="localhost") as sock:
            stream, _ = begun(served, sock)
            for piece in (b"one", BIG):
                served.call(stream.write, piece)
                framed = b"%x\r\n%b\r\n" % (len(piece), piece)
                assert receive(sock, len(framed)) == framed
            served.call(stream.end)
            assert receive(sock, 5) == b"0\r\n\r\n"
            second, _ = begun(served, sock)
            gone = watch(served, second)
        assert gone.wait(10)
        settled(served)


class _Unix(Served):
    """On a path."""

    def __init__(self, path):
        super().__init__(SMALL)
        self.path = path

    def bound(self):
        return listen_unix(self.path, 0o600, 8).sock

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(str(self.path))
        return sock


def test_unix_sockets(tmp_path):
    with _Unix(tmp_path / "s.sock") as served:
        sock = served.connect()
        stream, _ = begun(served, sock)
        served.call(stream.write, b"one")
        assert receive(sock, 8) == b"3\r\none\r\n"
        gone = watch(served, stream)
        sock.close()
        assert gone.wait(10)
        settled(served)


def test_nothing_is_left_of_many():
    """Every other client leaves in the middle."""
    limits = replace(SMALL, max_connections=256)
    with Served(limits) as served:
        for place in range(300):
            sock = served.connect()
            stream, _ = begun(served, sock)
            served.call(stream.write, b"one")
            if place % 2:
                served.call(stream.end)
                until(sock, b"0\r\n\r\n")
            sock.close()
        settled(served)
        served.until(lambda: not served.listener.connections)
        assert all(one.on_gone is None and one._transport is None for one in served.streams)
