"""The table of hostile exchanges, sent through the gateway to a server of our own."""

from dataclasses import replace

import pytest

from edge_served import Served
from exchanges import kinds, table
from exchanges.kinds import statuses
from gateway_served import OK, Door, Upstream, one

pytestmark = pytest.mark.unit

GOOD = {case.title: case for case in table.good()}
BAD = {f"{case.group}: {case.title}": case for case in table.bad()}


@pytest.fixture(scope="module")
def upstream():
    with Served(kinds.LIMITS) as served:
        yield served


@pytest.fixture(scope="module")
def door(upstream):
    route = one(f"http://127.0.0.1:{upstream.port}", breaker=replace(one().breaker, failures=0))
    with Door(route, limits=kinds.LIMITS) as it:
        yield it


@pytest.mark.parametrize("name", GOOD)
def test_lawful_exchanges_pass(door, name):
    case = GOOD[name]
    found = [status for status in statuses(door.talk(case.data, pieces=100)) if status != 100]
    wanted = list(case.statuses)
    if b"HTTP/1.0" in case.data:
        wanted = wanted[:1]  # every connection of HTTP/1.0 ends behind its first answer
    assert found == wanted


@pytest.mark.parametrize("name", BAD)
def test_hostile_exchanges_are_refused(door, upstream, name):
    case = BAD[name]
    handled = len(upstream.seen)
    answer = door.talk(case.data)
    assert statuses(answer) == case.answers, answer
    assert all(seen.path != b"/smuggled" for seen in upstream.seen[handled:])
    assert len(upstream.seen) == handled + case.handled


ANSWERS = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "an odd coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a hidden coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks of HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "white space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "a bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
    "a switch of protocols": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2.0 in words": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a head without end": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_can_be_read_in_two_ways_are_refused(name):
    with (
        Upstream(lambda asked: asked.sock.sendall(ANSWERS[name])) as upstream,
        Door(one(upstream.url)) as door,
    ):
        status, _, body = door.ask("/x")
        assert status == 502, body
        assert b"ok" not in body.split(b'"error"')[0]


def test_bytes_behind_an_answer_are_given_to_nobody():
    secret = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"
    with (
        Upstream(lambda asked: asked.sock.sendall(OK + secret)) as upstream,
        Door(one(upstream.url)) as door,
    ):
        for _ in range(3):
            assert door.ask("/x")[2] == b"ok"
        assert len({asked.connection for asked in upstream.asked}) == 3  # none was used again


def test_malformed_chunks_of_an_answer_end_it():
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\nHTTP/1.1 200"
    with (
        Upstream(lambda asked: asked.sock.sendall(bad)) as upstream,
        Door(one(upstream.url)) as door,
    ):
        answer = door.talk(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not answer.endswith(b"0\r\n\r\n")
        assert b"zz" not in answer
