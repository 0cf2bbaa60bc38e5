"""Order, bounds, back-pressure, time limits and departures, on real sockets."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from modelworks.core.errors import ConflictError, InvalidError
from modelworks.edge.limits import Limits
from modelworks.edge.listener import bind

pytestmark = pytest.mark.unit

GET = b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
BIG = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"


def read_until(sock, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


def rest_of(sock) -> bytes:
    pieces = []
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def reset(sock) -> None:
    """Leave rudely."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture
def held(served):
    served.held.clear()
    yield served.held
    for exchange in served.held:
        with contextlib.suppress(RuntimeError):
            served.call(exchange.reply, 200, b"late", b"text/plain")
    served.held.clear()
    served.until(lambda: served.listener.in_flight == 0)


def test_answers_leave_in_the_order_of_requests(served, held):
    with served.connect() as sock:
        sock.sendall(HOLD * 3 + GET)
        served.until(lambda: len(held) == 3)
        for i in (2, 0, 1):
            served.call(held[i].reply, 200, b"number-%d;" % i, b"text/plain")
        data = read_until(sock, b"GET /ok")
    assert data.index(b"number-0") < data.index(b"number-1") < data.index(b"number-2")
    assert data.index(b"number-2") < data.index(b"GET /ok")


def test_a_second_answer_is_the_callers_error(served, held):
    with served.connect() as sock:
        sock.sendall(HOLD)
        served.until(lambda: held)
        served.call(held[0].reply, 200, b"first", b"text/plain")
        with pytest.raises(RuntimeError, match="answered already"):
            served.call(held[0].reply, 200, b"second", b"text/plain")
        read_until(sock, b"first")


def test_reading_stops_when_too_much_is_owed(served, held):
    bound = served.limits.max_pipelined
    with served.connect() as sock:
        sock.sendall(HOLD * (bound * 4))
        served.until(lambda: len(held) == bound)
        time.sleep(0.1)
        assert len(held) == bound
        answered = 0
        while answered < bound * 4:
            served.until(lambda answered=answered: len(held) > answered)
            assert len(held) - answered <= bound
            served.call(held[answered].reply, 200, b"x", b"text/plain")
            answered += 1
        sock.shutdown(socket.SHUT_WR)
        assert rest_of(sock).count(b"HTTP/1.1 200") == bound * 4


def test_a_half_closed_client_gets_its_answer(served, held):
    with served.connect() as sock:
        sock.sendall(HOLD * 2)
        sock.shutdown(socket.SHUT_WR)
        served.until(lambda: len(held) == 2)
        time.sleep(0.05)
        for exchange in list(held):
            assert not exchange.gone
            served.call(exchange.reply, 200, b"late", b"text/plain")
        data = rest_of(sock)
    assert data.count(b"late") == 2
    assert data.count(b"Connection: close") == 1


def test_a_half_closed_client_with_held_back_requests_gets_them_all(served, held):
    total = served.limits.max_pipelined * 3
    with served.connect() as sock:
        sock.sendall(HOLD * total)
        sock.shutdown(socket.SHUT_WR)
        for i in range(total):
            served.until(lambda i=i: len(held) > i)
            served.call(held[i].reply, 200, b"late", b"text/plain")
        assert rest_of(sock).count(b"late") == total


def test_whoever_holds_a_request_hears_that_the_client_left(served, held):
    sock = served.connect()
    told = []
    sock.sendall(HOLD * 2)
    served.until(lambda: len(held) == 2)
    for exchange in held:
        exchange.on_gone = lambda exchange=exchange: told.append(exchange)
    reset(sock)
    served.until(lambda: len(told) == 2)
    assert all(exchange.gone for exchange in held)
    served.until(lambda: served.listener.in_flight == 0)
    for exchange in held:
        served.call(exchange.reply, 200, b"to nobody", b"text/plain")  # quiet
    assert len(told) == 2


def test_a_failing_callback_does_not_keep_the_others_in_the_dark(served, held, caplog):
    sock = served.connect()
    told = []
    sock.sendall(HOLD * 2)
    served.until(lambda: len(held) == 2)
    held[0].on_gone = lambda: 1 / 0
    held[1].on_gone = lambda: told.append(1)
    reset(sock)
    served.until(lambda: told)
    assert "division by zero" in caplog.text


def test_an_answered_request_hears_nothing(served, held):
    sock = served.connect()
    told = []
    sock.sendall(HOLD)
    served.until(lambda: held)
    held[0].on_gone = lambda: told.append(1)
    served.call(held[0].reply, 200, b"x", b"text/plain")
    read_until(sock, b"x")
    reset(sock)
    served.until(lambda: served.listener.in_flight == 0)
    assert not told
    assert not held[0].gone


def test_a_client_that_does_not_read_stops_being_read(serve):
    limits = Limits(write_high_water=64 * 1024, write_timeout_s=30, max_pipelined=4)
    served = serve(limits)
    with served.connect() as sock:
        sock.sendall(BIG * 40)
        time.sleep(0.4)
        begun = len(served.seen)
        assert begun < 40
        sock.shutdown(socket.SHUT_WR)
        data = rest_of(sock)
    assert data.count(b"HTTP/1.1 200") == 40
    assert data.count(b"x" * 3_000_000) == 40


def test_a_client_that_never_reads_is_cut_off(served):
    with served.connect() as sock:
        sock.sendall(BIG * 5)
        served.until(lambda: served.listener.connections >= 1)
        # Nothing is taken for longer than `write_timeout_s`; then the rest never comes.
        time.sleep(served.limits.write_timeout_s + 1.5)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(1 << 20):
                taken += len(piece)
    assert taken < 15_000_000


def test_slow_headers(served):
    with served.connect() as sock:
        started = time.monotonic()
        data = b""
        sock.settimeout(0.1)
        for i in range(100):
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"GET / HTTP/1.1\r\nX: " if i == 0 else b"a")
            try:
                data = sock.recv(1000)
                break
            except TimeoutError:
                continue
    assert data.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in data
    assert time.monotonic() - started >= served.limits.header_timeout_s


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_slow_body(served, framing):
    with served.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n1")
        assert rest_of(sock).startswith(b"HTTP/1.1 408 ")


def test_a_slow_body_that_keeps_the_rate_is_read(serve):
    served = serve(Limits(body_timeout_s=1.0, min_body_rate=1000))
    with served.connect() as sock:
        sock.sendall(b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n")
        for _ in range(20):
            sock.sendall(b"a" * 1000)
            time.sleep(0.1)
        assert read_until(sock, b"aaa").startswith(b"HTTP/1.1 200")


def test_an_idle_connection_is_closed_without_a_word(served):
    with served.connect() as sock:
        sock.sendall(GET)
        read_until(sock, b"GET /ok? ")
        assert rest_of(sock) == b""


def test_a_waiting_client_is_not_idle(served, held):
    with served.connect() as sock:
        sock.sendall(HOLD)
        served.until(lambda: held)
        time.sleep(served.limits.idle_timeout_s + 0.8)
        served.call(held[0].reply, 200, b"worth it", b"text/plain")
        read_until(sock, b"worth it")


def test_idle_connections_make_room(serve):
    served = serve(Limits(max_connections=3))
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(served.connect()) for _ in range(3)]
        socks[0].sendall(HOLD)
        served.until(lambda: served.held)
        time.sleep(1.2)
        socks[1].sendall(GET)
        read_until(socks[1], b"GET /ok? ")
        time.sleep(0.6)  # two seconds idle is the third one alone
        for _ in range(2):
            late = stack.enter_context(served.connect())
            late.sendall(GET)
            read_until(late, b"GET /ok? ")
            time.sleep(1.1)
        assert rest_of(socks[2]) == b""
        assert rest_of(socks[1]) == b""
        served.call(served.held.pop().reply, 200, b"held", b"text/plain")
        read_until(socks[0], b"held")


def test_too_many_connections(serve):
    served = serve(Limits(max_connections=3))
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(served.connect()) for _ in range(3)]
        served.until(lambda: served.listener.connections == 3)
        with served.connect() as late:
            data = rest_of(late)
        assert data.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in data
        for sock in socks:
            sock.sendall(GET)
            read_until(sock, b"GET /ok? ")


def test_too_many_large_bodies(serve):
    served = serve(Limits(max_buffered_bytes=100_000))
    head = b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"
    with served.connect() as first, served.connect() as second:
        first.sendall(head + b"a" * 80_000)
        served.until(lambda: served.listener._hub.buffered == 80_000)
        second.sendall(head + b"a" * 80_000)
        assert rest_of(second).startswith(b"HTTP/1.1 503 ")
        first.sendall(b"a" * 10_000)
        assert read_until(first, b"aaa").startswith(b"HTTP/1.1 200 ")
        served.until(lambda: served.listener._hub.buffered == 0)


def test_departures_in_a_body_give_its_bytes_back(serve):
    served = serve(Limits())
    head = b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"
    for _ in range(5):
        sock = served.connect()
        sock.sendall(head + b"a" * 80_000)
        served.until(lambda: served.listener._hub.buffered == 80_000)
        reset(sock)
        served.until(lambda: served.listener._hub.buffered == 0)
    assert served.listener.in_flight == 0
    served.until(lambda: served.listener.connections == 0)


def test_known_heads_are_bounded(served):
    for i in range(600):
        with contextlib.suppress(ConnectionError):
            served.talk(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i)
    assert len(served.listener._hub.heads) <= 512


def test_many_clients_at_once(served):
    failures = []

    def client(number: int) -> None:
        with served.connect() as sock:
            for i in range(50):
                body = b"%d-%d;" % (number, i)
                sock.sendall(
                    b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
                if not read_until(sock, b";").endswith(body):
                    failures.append(body)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_a_taken_port_is_said_so():
    with bind("127.0.0.1", 0) as sock:
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port} .* taken") as caught:
            bind("127.0.0.1", port)
    assert caught.value.field == "port"


def test_two_share_a_port_when_both_say_so():
    with bind("127.0.0.1", 0, reuse_port=True) as first:
        bind("127.0.0.1", first.getsockname()[1], reuse_port=True).close()


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("127.0.0.1", 70000)]
)
def test_no_address_to_listen_on(host, port):
    with pytest.raises(InvalidError):
        bind(host, port)


def test_ipv6():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        sock = bind("::1", 0)
    except InvalidError:
        pytest.skip("no IPv6 here")
    with sock:
        assert sock.family is socket.AF_INET6
