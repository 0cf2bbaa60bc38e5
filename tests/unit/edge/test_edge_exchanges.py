"""Well-formed, malformed and hostile exchanges, as bytes on a real socket."""

import json
import time
import zlib

import pytest

pytestmark = pytest.mark.unit

H = b"Host: a\r\n"
GET = b"GET /ok HTTP/1.1\r\n" + H
POST = b"POST /ok HTTP/1.1\r\n" + H
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = zlib.compressobj(wbits=31)
ZIPPED = GZIP.compress(b"hello") + GZIP.flush()
BOMB_MAKER = zlib.compressobj(wbits=31)
BOMB = BOMB_MAKER.compress(b"\0" * 2_000_000) + BOMB_MAKER.flush()


def with_length(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return POST + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in a stream, cut by Content-Length."""
    found = []
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        found.append(status)
        if status == 100:
            continue
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        answer = answer[length:]
    return found


GOOD = {
    "get": (GET + b"\r\n", [200]),
    "http/1.0 without host": (b"GET /ok HTTP/1.0\r\n\r\n", [200]),
    "absolute target": (b"GET http://a/ok?x=1 HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "options star": (b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "empty lines first": (b"\r\n\r\n" + GET + b"\r\n", [200]),
    "odd number of empty lines": (b"\r\n\r\n\r\n" + GET + b"\r\n", [200]),
    "body": (with_length(b"abc"), [200]),
    "spaces around the length": (POST + b"Content-Length: \t3 \r\n\r\nabc", [200]),
    "leading zeros": (POST + b"Content-Length: 0003\r\n\r\nabc", [200]),
    "get with a body": (GET + b"Content-Length: 3\r\n\r\nabc", [200]),
    "empty header value": (GET + b"X:\r\n\r\n", [200]),
    "obs-text in a value": (GET + b"X: \xff\r\n\r\n", [200]),
    "chunked": (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", [200]),
    "chunked in upper case": (
        POST + b"Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        [200],
    ),
    "chunk extension": (CHUNKED + b'3;a="b"\r\nabc\r\n0\r\n\r\n', [200]),
    "trailer": (CHUNKED + b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", [200]),
    "gzip": (with_length(ZIPPED, b"Content-Encoding: gzip"), [200]),
    "two gzip members": (with_length(ZIPPED + ZIPPED, b"Content-Encoding: gzip"), [200]),
    "deflate": (with_length(zlib.compress(b"hello"), b"Content-Encoding: deflate"), [200]),
    "identity": (with_length(b"x", b"Content-Encoding: identity"), [200]),
    "pipelined": ((GET + b"\r\n") * 3, [200, 200, 200]),
    "pipelined beyond the bound": ((GET + b"\r\n") * 50, [200] * 50),
    "pipelined bodies": (with_length(b"abc") * 3, [200] * 3),
    "pipelined behind chunks": (
        (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n") * 2 + GET + b"\r\n",
        [200] * 3,
    ),
    "nothing behind close": (GET + b"Connection: close\r\n\r\n" + GET + b"\r\n", [200]),
    "nothing behind 1.0": (b"GET /ok HTTP/1.0\r\n\r\n" + GET + b"\r\n", [200]),
    "kept alive by 1.0": (b"GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2, [200, 200]),
    "expect with the body there": (with_length(b"abc", b"Expect: 100-continue"), [200]),
    "expect of 1.0 ignored": (
        b"POST /ok HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        [200],
    ),
    "h2c offered": (
        with_length(b"abc", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
        [200],
    ),
    "no content": (b"GET /empty HTTP/1.1\r\n" + H + b"\r\n", [204]),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_well_formed(served, name, pieces):
    data, wanted = GOOD[name]
    final = [status for status in statuses(served.talk(data, pieces=pieces)) if status != 100]
    assert final == wanted


BAD = {
    # framing that two parsers could read differently
    "length and chunked": (
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two different lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "two equal lengths": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "signed length": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "negative length": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "hexadecimal length": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "empty length": (POST + b"Content-Length:\r\n\r\n", 400),
    "length with a gap": (POST + b"Content-Length: 3 4\r\n\r\nabc", 400),
    "length that overflows": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "coding before chunked": (
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "coding behind chunked": (
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    "another coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "almost chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunked twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked behind a vertical tab": (
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked in 1.0": (
        b"POST /ok HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "space before the colon": (POST + b"Content-Length : 3\r\n\r\nabc", 400),
    "folded header": (GET + b"X: b\r\n c\r\n\r\n", 400),
    "space before the first header": (b"GET /ok HTTP/1.1\r\n " + H + b"\r\n", 400),
    "bare LF after the request line": (b"GET /ok HTTP/1.1\nHost: a\r\n\r\n", 400),
    "bare LF after a header": (b"GET /ok HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "bare LF everywhere": (b"GET /ok HTTP/1.1\nHost: a\n\n", 400),
    "bare CR in a header": (b"GET /ok HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
    "CR CR LF": (b"GET /ok HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    "NUL in a value": (GET + b"X: a\0b\r\n\r\n", 400),
    "control character in a value": (GET + b"X: a\x01b\r\n\r\n", 400),
    "bad character in a name": (GET + b"X(y): 1\r\n\r\n", 400),
    "empty header name": (GET + b": x\r\n\r\n", 400),
    "header without a colon": (GET + b"foo\r\n\r\n", 400),
    # chunks
    "chunk size in words": (CHUNKED + b"three\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with 0x": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "negative chunk size": (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size that overflows": (CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400),
    "empty chunk size": (CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    "chunk longer than said": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk shorter than said": (CHUNKED + b"4\r\nabc\r\n0\r\n\r\n", 400),
    "bare LF after a chunk size": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "bare LF after chunk data": (CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    "bare LF in a chunk extension": (CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
    "endless chunk extension": (CHUNKED + b"3;" + b"a" * 3000 + b"\r\nabc\r\n0\r\n\r\n", 431),
    "Content-Length as a trailer": (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    "malformed trailer": (CHUNKED + b"0\r\nnonsense\r\n\r\n", 400),
    "many trailers": (CHUNKED + b"0\r\n" + b"X: yyyyyyyyyyyyyyyyyy\r\n" * 200 + b"\r\n", 431),
    "chunks beyond the bound": (CHUNKED + b"fff\r\n" + b"a" * 4095 + b"\r\nff\r\n", 413),
    "one chunk beyond the bound": (CHUNKED + b"1001\r\n", 413),
    # the request line
    "no HTTP at all": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "binary": (bytes(range(128, 256)), 400),
    "HTTP/0.9": (b"GET /ok\r\n\r\n", 400),
    "HTTP/2.0": (b"GET /ok HTTP/2.0\r\n" + H + b"\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (b"GET /ok HTTP/1.2\r\n" + H + b"\r\n", 505),
    "RTSP": (b"DESCRIBE /ok RTSP/1.0\r\n" + H + b"\r\n", 400),
    "two spaces": (b"GET  /ok HTTP/1.1\r\n" + H + b"\r\n", 400),
    "space in the target": (b"GET /o k HTTP/1.1\r\n" + H + b"\r\n", 400),
    "tabs": (b"GET\t/ok\tHTTP/1.1\r\n" + H + b"\r\n", 400),
    "lower-case method": (b"get /ok HTTP/1.1\r\n" + H + b"\r\n", 400),
    "unknown method": (b"FOO /ok HTTP/1.1\r\n" + H + b"\r\n", 501),
    "control character in the target": (b"GET /o\x01k HTTP/1.1\r\n" + H + b"\r\n", 400),
    "fragment": (b"GET /ok#x HTTP/1.1\r\n" + H + b"\r\n", 400),
    "relative target": (b"GET ok HTTP/1.1\r\n" + H + b"\r\n", 400),
    "another scheme": (b"GET ftp://a/ok HTTP/1.1\r\n" + H + b"\r\n", 400),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\n" + H + b"\r\n", 501),
    # headers with a meaning
    "no host": (b"GET /ok HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /ok HTTP/1.1\r\n" + H + b"Host: b\r\n\r\n", 400),
    "malformed host": (b"GET /ok HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "host with a path": (b"GET /ok HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "unknown expectation": (with_length(b"abc", b"Expect: magic"), 417),
    "websocket": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
    "unknown content coding": (with_length(b"abc", b"Content-Encoding: br"), 415),
    "two content codings": (with_length(ZIPPED, b"Content-Encoding: gzip, gzip"), 415),
    "damaged gzip": (with_length(b"abcdef", b"Content-Encoding: gzip"), 400),
    "truncated gzip": (with_length(ZIPPED[:-4], b"Content-Encoding: gzip"), 400),
    "rubbish behind gzip": (with_length(ZIPPED + b"abc", b"Content-Encoding: gzip"), 400),
    "damaged deflate": (with_length(b"abcdef", b"Content-Encoding: deflate"), 400),
    "gzip bomb": (with_length(BOMB, b"Content-Encoding: gzip"), 413),
    # sizes
    "long target": (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
    "endless target": (b"GET /" + b"a" * 1000, 414),
    "large header": (GET + b"X: " + b"a" * 3000 + b"\r\n\r\n", 431),
    "endless header": (GET + b"X: " + b"a" * 3000, 431),
    "endless header name": (GET + b"a" * 3000, 431),
    "many headers": (GET + b"".join(b"X%d: 1\r\n" % i for i in range(25)) + b"\r\n", 431),
    "large body": (POST + b"Content-Length: 4097\r\n\r\n", 413),
    "large body that waits": (
        POST + b"Expect: 100-continue\r\nContent-Length: 4097\r\n\r\n",
        413,
    ),
    # lies and departures
    "body shorter than said": (POST + b"Content-Length: 10\r\n\r\nabc", 400),
    "chunks without an end": (CHUNKED + b"3\r\nabc\r\n", 400),
    "headers without an end": (GET + b"X: 1\r\n", 400),
    "body longer than said": (POST + b"Content-Length: 3\r\n\r\nabcdef\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("pieces", [1, 50])
def test_malformed_or_hostile(served, name, pieces):
    data, wanted = BAD[name]
    handled = len(served.seen)
    answer = served.talk(data, pieces=pieces)
    if name == "body longer than said":  # the three bytes are a request, the rest is not
        assert statuses(answer) == [200, wanted]
        answer = answer[answer.index(b"HTTP/1.1 4") :]
    else:
        assert statuses(answer) == [wanted], answer
        assert len(served.seen) == handled
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    assert b"\r\nContent-Type: application/json" in head
    message = json.loads(body)["error"]
    assert message
    assert "\n" not in message


def test_bad_request_leaves_the_earlier_ones_their_answers(served):
    answer = served.talk(GET + b"\r\n" + GET + b"\r\nnonsense\r\n\r\n")
    assert statuses(answer) == [200, 200, 400]


def test_the_application_sees_what_was_sent(served):
    served.talk(
        b"PUT /a%20b?x=1&y=%2F HTTP/1.1\r\n"
        b"HOST: a\r\nX-Twice: 1\r\nx-twice: 2\r\nContent-Length: 3\r\n\r\n\0\xff\n"
    )
    exchange = served.seen[-1]
    assert (exchange.method, exchange.path) == (b"PUT", b"/a%20b")
    assert exchange.query == b"x=1&y=%2F"
    assert exchange.body == b"\0\xff\n"
    assert exchange.headers[b"x-twice"] == b"1, 2"
    assert exchange.headers[b"host"] == b"a"
    assert exchange.received_ns > 0


def test_bodies_come_whole(served):
    for data in (
        with_length(b"a" * 4096),
        CHUNKED + b"800\r\n" + b"a" * 2048 + b"\r\n800\r\n" + b"a" * 2048 + b"\r\n0\r\n\r\n",
        with_length(zlib.compress(b"a" * 4096), b"Content-Encoding: deflate"),
    ):
        served.talk(data, pieces=3, pause=0.01)
        assert served.seen[-1].body == b"a" * 4096


def test_an_answer_in_full(served):
    head, _, body = served.talk(GET + b"\r\n").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert any(line.startswith(b"Date: ") and line.endswith(b" GMT") for line in lines)
    assert b"Content-Type: text/plain" in lines
    assert b"Content-Length: %d" % len(body) in lines
    assert body == b"GET /ok? "


def test_further_headers(served):
    answer = served.talk(b"GET /extra HTTP/1.1\r\n" + H + b"\r\n")
    assert b"\r\nX-One: 1\r\nX-Two: 2\r\n" in answer


def test_head_has_no_body(served):
    answer = served.talk(b"HEAD /ok HTTP/1.1\r\n" + H + b"\r\n" + GET + b"\r\n")
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: 10" in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_no_content_has_no_length(served):
    assert b"Content-Length" not in served.talk(b"GET /empty HTTP/1.1\r\n" + H + b"\r\n")


def test_keep_alive_is_said_to_http_1_0(served):
    answer = served.talk(b"GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
    assert b"\r\nConnection: keep-alive\r\n" in answer


def test_a_handler_that_fails_tells_no_secret(served, caplog):
    answer = served.talk(b"GET /boom HTTP/1.1\r\n" + H + b"\r\n" + GET + b"\r\n")
    assert statuses(answer) == [500, 200]
    assert b"secret" not in answer
    assert b"Traceback" not in answer
    assert "a secret of the server" in caplog.text


def test_a_handler_that_fails_after_its_answer(served, caplog):
    answer = served.talk(b"GET /boom-after HTTP/1.1\r\n" + H + b"\r\n")
    assert statuses(answer) == [200]
    assert "too late" in caplog.text


def test_continue_is_sent_when_the_client_waits(served):
    with served.connect() as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert sock.recv(1000).endswith(b"POST /ok? abc")


def test_continue_waits_for_earlier_answers(served):
    with served.connect() as sock:
        sock.sendall(b"GET /hold HTTP/1.1\r\n" + H + b"\r\n")
        sock.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        served.until(lambda: served.held)
        served.call(served.held.pop().reply, 200, b"first", b"text/plain")
        data = b""
        while b"100 Continue" not in data:
            data += sock.recv(1000)
        assert data.index(b"first") < data.index(b"HTTP/1.1 100")
        sock.sendall(b"abc")
        assert sock.recv(1000).endswith(b"abc")


def test_the_same_head_again_and_again(served):
    def one(sock, body: bytes, headers: bytes = b"") -> bytes:
        sock.sendall(POST + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return sock.recv(10_000)

    with served.connect() as sock:
        for body in (b"abc", b"def", b"\r\n\r", b"ghij", b"abc"):
            assert one(sock, body).endswith(b"POST /ok? " + body)
        for _ in range(2):
            assert one(sock, ZIPPED, b"Content-Encoding: gzip\r\n").endswith(b"hello")
        broken = b"x" + ZIPPED[1:]
        assert statuses(one(sock, broken, b"Content-Encoding: gzip\r\n")) == [400]


def test_the_same_head_with_its_body_in_two_parts(served):
    with served.connect() as sock:
        head = POST + b"Content-Length: 6\r\n\r\n"
        for first, second in (
            (head + b"abcdef", b""),
            (head, b"abcdef"),
            (head[:20], head[20:] + b"abcdef"),
            (head + b"abcdef" + head, b"ghijkl"),
        ):
            sock.sendall(first)
            time.sleep(0.02)
            sock.sendall(second)
            data = sock.recv(10_000)
            while data.count(b"POST /ok?") < (first + second).count(b"Content-Length"):
                data += sock.recv(10_000)
            assert data.endswith((b"abcdef", b"ghijkl"))
