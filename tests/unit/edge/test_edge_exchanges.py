"""Well-formed, malformed and hostile exchanges, as bytes on a real socket."""

import json
import time
import zlib
from pathlib import Path

import pytest

from exchanges import table
from exchanges.bodies import ZIPPED
from exchanges.kinds import CHUNKED, GET, POST, H, sized, statuses

pytestmark = pytest.mark.unit

GOOD = {case.title: case for case in table.good()}
BAD = {f"{case.group}: {case.title}": case for case in table.bad()}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("pieces", [1, 1000])
def test_well_formed(served, name, pieces):
    case = GOOD[name]
    found = statuses(served.talk(case.data, pieces=pieces))
    assert tuple(status for status in found if status != 100) == case.statuses


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("pieces", [1, 50])
def test_malformed_or_hostile(served, name, pieces):
    case = BAD[name]
    handled = len(served.seen)
    answer = served.talk(case.data, pieces=pieces)
    assert statuses(answer) == case.answers, answer
    assert len(served.seen) == handled + case.handled
    assert all(exchange.path != b"/smuggled" for exchange in served.seen[handled:])
    head, _, body = answer[answer.index(b"HTTP/1.1 %d" % case.status) :].partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    assert b"\r\nContent-Type: application/json" in head
    message = json.loads(body)["error"]
    assert message
    assert "\n" not in message


def test_there_are_enough_of_them():
    assert len(BAD) == len(table.bad())
    assert len({case.data for case in table.bad()}) >= 60


def test_the_page_is_as_the_table_writes_it():
    assert table.PAGE.read_text() == table.page(), "run: python tests/exchanges/table.py"


def test_every_timed_exchange_has_its_test():
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [case.test for case in table.timed() if f"def {case.test}(" not in here] == []


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
        sized(b"a" * 4096),
        CHUNKED + b"800\r\n" + b"a" * 2048 + b"\r\n800\r\n" + b"a" * 2048 + b"\r\n0\r\n\r\n",
        sized(zlib.compress(b"a" * 4096), b"Content-Encoding: deflate"),
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
