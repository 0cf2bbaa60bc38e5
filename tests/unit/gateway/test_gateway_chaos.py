"""Upstreams and callers that do anything at any moment: nothing is left, nobody is mixed up."""

import contextlib
import logging
import random
import socket
import struct
import threading
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gateway_served import Door, Upstream, one
from modelworks.core.routes import Arm, Breaker, Endpoint, Route, Shadow, Span
from modelworks.gateway.front import Ways
from properties import examples

pytestmark = pytest.mark.unit

INFER = "/v2/models/m/infer"


@pytest.fixture
def complaints():
    """Whatever the loop or the gateway logs as an error."""
    records = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


def settled(door: Door) -> None:
    """Nothing is under way, and nothing is counted that is not there."""
    front = door.front
    door.until(lambda: door.listener.in_flight == 0)
    door.until(lambda: not front.shadows.under_way and not front.shadows.waiting)
    door.until(lambda: all(p.outstanding == 0 for p in front.table.places.values()))
    assert front.shadows.held == 0
    door.until(lambda: door.call(lambda: door.listener._hub.buffered) == 0)


def misbehave(rng: random.Random):
    """Answers that name the request they belong to, mostly."""

    def act(asked):
        name = asked.headers.get("x-name", "").encode()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name)
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(name), name) if name else b"0\r\n\r\n"
        kind = rng.randrange(10)
        if kind < 5:
            asked.sock.sendall(whole if kind else chunked)
        elif kind == 5:
            for byte in whole:
                asked.sock.sendall(bytes([byte]))
        elif kind == 6:
            asked.sock.sendall(whole[: rng.randrange(len(whole))])
            return False
        elif kind == 7:
            asked.sock.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif kind == 8:
            asked.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        else:
            time.sleep(0.03)
            asked.sock.sendall(whole)
        return None

    return act


def caller(door: Door, seed: int, count: int, wrong: list) -> None:
    rng = random.Random(seed)
    for number in range(count):
        name = b"%d-%d" % (seed, number)
        body = b"x" * rng.choice([0, 10, 3000, 200_000])
        head = b"POST %b HTTP/1.1\r\nHost: a\r\nX-Name: %b\r\n" % (INFER.encode(), name)
        with contextlib.suppress(OSError), door.connect() as sock:
            if rng.randrange(2):
                sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
                sock.sendall(body[: len(body) // 2])
                if not rng.randrange(6):
                    continue  # left in the middle
                sock.sendall(body[len(body) // 2 :])
            else:
                sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
                if body:
                    sock.sendall(b"%x\r\n%b\r\n" % (len(body), body))
                sock.sendall(b"0\r\n\r\n")
            if not rng.randrange(6):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                continue
            sock.shutdown(socket.SHUT_WR)
            data = b""
            while part := sock.recv(65536):
                data += part
            first, _, rest = data.partition(b"\r\n\r\n")
            if first.startswith(b"HTTP/1.1 200") and b"chunked" in first:
                rest = (
                    rest.partition(b"\r\n")[2].partition(b"\r\n")[0] if rest[-5:] == END else name
                )
            elif first.startswith(b"HTTP/1.1 200") and len(rest) < len(name):
                rest = name  # cut off, and seen to be
            if first.startswith(b"HTTP/1.1 200") and rest != name:
                wrong.append((name, data))


END = b"0\r\n\r\n"


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_left_behind_and_nobody_gets_another_s_answer(complaints, seed):
    rng = random.Random(seed)
    with (
        Upstream(misbehave(rng)) as first,
        Upstream(misbehave(rng)) as second,
        Upstream(misbehave(rng)) as shadow,
    ):
        arms = (
            Arm("a", endpoints=(Endpoint(first.url), Endpoint(second.url))),
            Arm("b", endpoints=(Endpoint(shadow.url),)),
        )
        route = Route(
            "r",
            arms,
            (Span(0, 10_000, "a"),),
            model="m",
            shadows=(Shadow("b"),),
            hedge_ms=10,
            timeout_s=2.0,
            breaker=Breaker(failures=3, rest_s=0.05),
        )
        wrong: list = []
        with Door(route, ways=Ways(replay=100_000)) as door:
            threads = [
                threading.Thread(target=caller, args=(door, seed * 10 + i, 10, wrong))
                for i in range(6)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            settled(door)
    assert wrong == []
    assert [record.getMessage() for record in complaints] == []


@pytest.fixture(scope="module")
def door():
    with Upstream() as upstream, Door(one(upstream.url)) as it:
        yield it


PIECES = (
    *(
        b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\n",
        b"\r\n",
        b"0\r\n\r\n",
    ),
    *(b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n"),
    *(
        b"GET /-/live HTTP/1.1\r\nHost: a\r\n\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(b"GET /%2e%2e/x HTTP/1.0\r\n\r\n", b"Upgrade: x\r\n", b"\0", b"X-Timeout-Ms: 1\r\n"),
)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.sampled_from(PIECES), max_size=8), pieces=st.integers(1, 5))
def test_anything_on_the_wire_goes_by(door, complaints, data, pieces):
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = door.talk(b"".join(data), pieces=pieces)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 500" not in answer
    settled(door)
    assert not complaints, complaints[0].getMessage()
