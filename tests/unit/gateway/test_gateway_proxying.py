"""What goes through, and how: heads, bodies, connections, back-pressure, departures."""

import socket
import struct
import threading
import time

import pytest

from gateway_served import OK, Door, Upstream, one, read_answer, read_head
from modelworks.core.routes import Arm, Endpoint, Route, Span
from modelworks.gateway.front import Ways

pytestmark = pytest.mark.unit

POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def upstream():
    with Upstream() as it:
        yield it


@pytest.fixture
def door(upstream):
    with Door(one(upstream.url)) as it:
        yield it


def answer(text: bytes):
    return lambda asked: asked.sock.sendall(text)


def test_what_an_upstream_gets(door, upstream):
    status, headers, body = door.ask(
        "/a%20b?x=%2F",
        b"body",
        X_Own="1",
        X_Forwarded_For="6.6.6.6",
        X_Forwarded_Host="evil",
        Forwarded="for=6.6.6.6",
        Keep_Alive="5",
        TE="trailers",
        Proxy_Authorization="x",
    )
    assert (status, body) == (200, b"ok")
    (asked,) = upstream.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/a%20b?x=%2F", b"body")
    assert asked.headers == {
        "host": f"127.0.0.1:{upstream.port}",
        "x-own": "1",
        "x-forwarded-host": "a",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-request-id": headers["x-request-id"],
        "traceparent": asked.headers["traceparent"],
        "content-length": "4",
    }
    version, trace, parent, flags = asked.headers["traceparent"].split("-")
    assert (version, len(trace), len(parent), flags) == ("00", 32, 16, "00")


def test_names_that_a_caller_brings_are_passed_on(door, upstream):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    _, headers, _ = door.ask("/x", X_Request_Id="mine", traceparent=trace, tracestate="a=b")
    asked = upstream.asked[0].headers
    assert (asked["x-request-id"], headers["x-request-id"]) == ("mine", "mine")
    assert (asked["traceparent"], asked["tracestate"]) == (trace, "a=b")


def test_headers_named_by_connection_end_here(door, upstream):
    with door.connect() as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\n")
        read_answer(sock)
    assert "x-hop" not in upstream.asked[0].headers


def test_a_trusted_proxy_in_front_is_believed(upstream):
    with Door(one(upstream.url), ways=Ways(trusted=True)) as door:
        door.ask("/x", X_Forwarded_For="6.6.6.6", X_Forwarded_Host="shop")
    asked = upstream.asked[0].headers
    assert asked["x-forwarded-for"] == "6.6.6.6, 127.0.0.1"
    assert asked["x-forwarded-host"] == "shop"


def test_an_arm_adds_its_headers_and_takes_its_place_in_the_path(upstream):
    arm = Arm(
        "fraud/2",
        model="fraud-new",
        version="2",
        endpoints=(Endpoint(upstream.url),),
        headers={"x-own": "arm", "authorization": "Bearer upstream"},
    )
    route = Route("fraud", (arm,), (Span(0, 10_000, "fraud/2"),), model="fraud")
    with Door(route) as door:
        door.ask("/v2/models/fraud/infer", b"{}", X_Own="caller")
        door.ask("/v2/models/fraud/versions/1/infer", b"{}")
        assert door.ask("/predict/fraud", b"{}")[0] == 501
        assert door.ask("/v2/models/other/infer", b"{}")[0] == 404
    assert [asked.target for asked in upstream.asked] == [
        "/v2/models/fraud-new/versions/2/infer",
        "/v2/models/fraud-new/versions/2/infer",
    ]
    assert upstream.asked[0].headers["x-own"] == "arm"
    assert upstream.asked[0].headers["authorization"] == "Bearer upstream"


@pytest.mark.parametrize(
    "path",
    ["/v2//models/m", "/v2/models/../m", "/a/./b", "/v2/models/a%2Fb/x", "/%ff", "/a\\b"],
)
def test_paths_that_could_be_read_in_two_ways_are_refused(door, upstream, path):
    assert door.ask(path)[0] == 400
    assert upstream.asked == []


def test_connections_are_kept_on_both_sides(door, upstream):
    with door.connect() as sock:
        for _ in range(5):
            sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(sock)[0] == 200
    assert {asked.connection for asked in upstream.asked} == {1}


def test_an_upstream_that_closes_is_not_used_again(door, upstream):
    upstream.act = answer(OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length"))
    with door.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            status, headers, _ = read_answer(sock)
            assert (status, headers.get("connection")) == (200, None)
    assert [asked.connection for asked in upstream.asked] == [1, 2, 3]


def test_pipelined_requests_are_answered_in_order(door, upstream):
    upstream.act = lambda asked: asked.sock.sendall(
        OK.replace(b"ok", b"%02d" % int(asked.target[1:]))
    )
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(20))
    found = door.talk(requests)
    assert [part[:2] for part in found.split(b"\r\n\r\n")[1:]] == [b"%02d" % i for i in range(20)]


@pytest.mark.parametrize(
    ("method", "text", "body"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HEAD", CHUNKED, b""),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b""),
        (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
            b"ok",
        ),
        (b"GET", b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_answers_of_every_framing(door, upstream, method, text, body):
    upstream.act = answer(text)
    with door.connect() as sock:
        for _ in range(2):  # the second shows that both sides agree on where the first ended
            sock.sendall(method + b" /x HTTP/1.1\r\nHost: a\r\n\r\n")
            if body or (method == b"GET" and b"304" not in text and b"204" not in text):
                assert read_answer(sock)[2] == body
            else:
                assert read_head(sock)[2] == b""
    assert len({asked.connection for asked in upstream.asked}) == 1


def test_an_answer_that_ends_with_its_connection(door, upstream):
    def act(asked):
        asked.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        return False

    upstream.act = act
    status, headers, body = door.ask("/x")
    assert (status, headers["transfer-encoding"], body) == (200, "chunked", b"to the end")
    old = door.talk(b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
    assert old.endswith(b"\r\n\r\nto the end")
    assert b"chunked" not in old


def test_an_answer_that_is_cut_off_is_not_made_whole(door, upstream):
    def act(asked):
        asked.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    upstream.act = act
    with pytest.raises((AssertionError, ConnectionResetError)):
        door.ask("/x")
    assert door.route().seats["r/1", upstream.url].failures["cut"] == 1


def test_chunked_requests_arrive_with_a_length(door, upstream):
    with door.connect() as sock:
        sock.sendall(
            b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        time.sleep(0.02)
        assert upstream.asked == []  # collected: a slow caller holds no upstream
        sock.sendall(b"2;x=y\r\nde\r\n0\r\n\r\n")
        read_answer(sock)
    assert upstream.asked[0].body == b"abcde"
    assert upstream.asked[0].headers["content-length"] == "5"


@pytest.mark.parametrize("chunked", [True, False])
def test_long_bodies_stream(upstream, chunked):
    body = bytes(range(256)) * 2000
    with Door(one(upstream.url), ways=Ways(replay=10_000)) as door, door.connect() as sock:
        head = b"POST /x HTTP/1.1\r\nHost: a\r\n"
        if chunked:
            sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(body), 5000):
                piece = body[i : i + 5000]
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\n\r\n")
        else:
            sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert read_answer(sock)[0] == 200
        sock.sendall(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(sock)[0] == 200
    assert upstream.asked[0].body == body
    assert ("transfer-encoding" in upstream.asked[0].headers) == chunked
    assert {asked.connection for asked in upstream.asked} == {1}


def test_a_continue_is_said_before_the_body(door, upstream):
    with door.connect() as sock:
        sock.sendall(
            b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert read_answer(sock)[0] == 200
    assert upstream.asked[0].body == b"hi"
    assert "expect" not in upstream.asked[0].headers


def test_an_answer_before_the_end_of_the_body_ends_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        route = one(f"http://127.0.0.1:{server.getsockname()[1]}")
        with Door(route, ways=Ways(replay=10)) as door, door.connect() as sock:
            sock.sendall(
                b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100
            )
            there, _ = server.accept()
            there.recv(1000)
            there.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            status, headers, body = read_answer(sock)
            assert (status, headers["connection"], body) == (413, "close", b"no")
            there.settimeout(10)
            while there.recv(1000):  # to its end: nobody sends the rest
                pass
            there.close()


def test_a_caller_that_leaves_takes_its_request_along(door, upstream):
    upstream.act = lambda asked: time.sleep(0.3)
    with door.connect() as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        door.until(lambda: upstream.asked)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    door.until(lambda: door.listener.in_flight == 0)
    assert upstream.asked[0].sock.recv(10) == b""  # it was told
    place = door.front.table.places[upstream.url]
    door.until(lambda: place.outstanding == 0)


def test_a_slow_caller_holds_the_upstream_back(door, upstream):
    sent = [0]

    def act(asked):
        asked.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(50):
            asked.sock.sendall(b"x" * 1_000_000)
            sent[0] += 1

    upstream.act = act
    with door.connect() as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        rest(lambda: sent[0])
        assert sent[0] < 30  # what kernels hold, and no more
        assert len(read_answer(sock)[2]) == 50_000_000
    door.until(lambda: sent[0] == 50)


def test_a_slow_upstream_holds_the_caller_back():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        route = one(f"http://127.0.0.1:{server.getsockname()[1]}")
        sent = [0]

        def send(sock):
            sock.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
            for _ in range(50):
                sock.sendall(b"x" * 1_000_000)
                sent[0] += 1

        with Door(route) as door, door.connect() as sock:
            thread = threading.Thread(target=send, args=(sock,), daemon=True)
            thread.start()
            there, _ = server.accept()
            with there:
                there.settimeout(10)
                rest(lambda: sent[0])
                assert sent[0] < 30
                got = 0
                while got < 50_000_000:
                    got += len(there.recv(1 << 20))
                thread.join(10)
                assert sent[0] == 50


def rest(number):
    """Wait until it has not changed for a while."""
    before = -1
    while before != number():
        before = number()
        time.sleep(0.25)
