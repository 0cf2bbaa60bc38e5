"""Large bodies are read straight to where they stay; a client cannot tell, nor can the handler."""

import contextlib
import gzip
import itertools
import random
import socket
import struct
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_served import Served, read_all
from exchanges.kinds import statuses
from modelworks.edge.head import Head, parse_head
from modelworks.edge.large_body import LARGE, LargeBody, aligned
from modelworks.edge.limits import Limits

pytestmark = pytest.mark.unit

RANDOM = random.Random(7).randbytes(LARGE + 100_000)
HEAD = b"POST /large HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = Limits(max_pipelined=4)


def sized(body, extra=b""):
    return b"%bContent-Length: %d\r\n%b\r\n%b" % (HEAD, len(body), extra, body)


def chunked(body, size):
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (HEAD, data)


class Digests(Served):
    """Answers with what came: path, length and checksum of the body."""

    def handle(self, exchange) -> None:
        if exchange.path in {b"/hold", b"/big"}:
            super().handle(exchange)
            return
        assert type(exchange.body) is bytes
        self.last = exchange
        exchange.reply(200, said(exchange.path, exchange.body), b"text/plain")

    @property
    def hub(self):
        return self.listener._hub

    def left(self):
        """What is counted of unfinished bodies."""
        return self.hub.buffered, self.hub.reserved

    def readings(self):
        """Of the open connections, whether they are read."""
        return self.call(lambda: [c._transport.is_reading() for c in self.hub.connections])

    def protocols(self):
        """What the transports of the open connections read for."""
        found = self.call(lambda: [c._transport.get_protocol() for c in self.hub.connections])
        return [type(protocol).__name__ for protocol in found]


def said(path, body):
    return b"<%b %d %d>" % (path, len(body), zlib.crc32(body))


def answers(data):
    """The bodies of all answers, `100 Continue` left out."""
    return [b"<%b>" % part.split(b">")[0] for part in data.split(b"<")[1:]]


@pytest.fixture(scope="module", params=[True, False], ids=["uvloop", "asyncio"])
def digests(request):
    with Digests(LIMITS, uvloop=request.param) as it:
        yield it


@pytest.fixture
def start():
    with contextlib.ExitStack() as stack:
        yield lambda limits, **more: stack.enter_context(Digests(limits, **more))


def receive(sock, count):
    """So many answers."""
    data = b""
    while data.count(b">") < count:
        more = sock.recv(65536)
        assert more, data
        data += more
    return answers(data)


# -- the body itself


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 15),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_any_cut_gives_the_same_body(pieces, spaces, before, behind):
    wanted = RANDOM[: sum(size for size, _ in pieces)]
    body = LargeBody(len(wanted), spaces)
    at = 0
    for number, (size, straight) in enumerate(pieces):
        assert not body.done
        piece = wanted[at : at + size]
        if straight:
            space = body.space()
            assert len(space) == len(wanted) - at  # never beyond its end
            space[:size] = piece
            body.grow(size)
        else:
            last = number == len(pieces) - 1
            data = b"h" * before + piece + (b"n" * behind if last else b"")
            assert body.feed(data, before) == before + size
        at += size
        assert body.held == at
    assert body.done
    assert body.body() == b" " * spaces + wanted


def test_what_is_only_announced_takes_no_memory():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    bodies = [LargeBody(40 << 20) for _ in range(20)]
    for body in bodies:
        body.feed(b"x" * 1000, 0)
    assert resident() - before < 8 << 20
    assert all(not body.done for body in bodies)


def head_of(length, json_length, extra=b""):
    given = b"%bContent-Length: %d\r\nInference-Header-Content-Length: %b\r\n%b\r\n"
    return parse_head(given % (HEAD, length, json_length, extra), Limits())


@given(st.integers(1, 5000))
def test_spaces_align_what_is_behind_the_json(json_length):
    head = head_of(5000, b"%d" % json_length)
    given_head, spaces = aligned(head)
    assert 0 <= spaces < 16
    assert (json_length + spaces) % 16 == 0
    told = given_head.headers[b"inference-header-content-length"]
    assert told == b"%d" % (json_length + spaces)
    assert head.headers[b"inference-header-content-length"] == b"%d" % json_length
    assert given_head.length == head.length
    assert given_head.usual == head.usual


@pytest.mark.parametrize("json_length", [b"0", b"5001", b"-3", b"3.5", b"x", b"1, 1", b"1" * 30])
def test_a_wrong_length_of_the_json_is_left_to_the_handler(json_length):
    head = head_of(5000, json_length)
    assert aligned(head) == (head, 0)


def test_compressed_bodies_and_those_without_json_are_left_as_they_are():
    compressed = head_of(5000, b"33", b"Content-Encoding: gzip\r\n")
    assert aligned(compressed) == (compressed, 0)
    plain = Head(b"POST", b"/", b"", {}, 5, True, True, False, "")
    assert aligned(plain) == (plain, 0)


# -- on sockets

KINDS = {
    "small": (GET, said(b"/small", b"")),
    "short": (sized(b"abc"), said(b"/large", b"abc")),
    "just": (sized(RANDOM[:LARGE]), said(b"/large", RANDOM[:LARGE])),
    "less": (sized(RANDOM[: LARGE - 1]), said(b"/large", RANDOM[: LARGE - 1])),
    "large": (sized(RANDOM), said(b"/large", RANDOM)),
    "expects": (sized(RANDOM, b"Expect: 100-continue\r\n"), said(b"/large", RANDOM)),
    "chunked": (chunked(RANDOM, 70_000), said(b"/large", RANDOM)),
    "gzip": (
        sized(gzip.compress(RANDOM, 1), b"Content-Encoding: gzip\r\n"),
        said(b"/large", RANDOM),
    ),
    "tensors": (
        sized(RANDOM, b"Inference-Header-Content-Length: 13\r\n"),
        said(b"/large", b"   " + RANDOM),
    ),
}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=7),
    cuts=st.lists(st.floats(0, 1), max_size=5),
    near=st.lists(st.integers(-5, 200), max_size=4),
)
@example(kinds=["large", "large", "small", "large"], cuts=[], near=[])
@example(kinds=["large", "tensors", "gzip", "chunked", "expects"], cuts=[], near=[0, 80])
@example(kinds=["just", "less", "just", "short", "just"], cuts=[0.5], near=[1])
def test_any_requests_in_any_pieces(digests, kinds, cuts, near):
    """`cuts` are places anywhere in the stream, `near` places around the ends of requests."""
    parts = [KINDS[kind][0] for kind in kinds]
    stream = b"".join(parts)
    ends = [sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
    places = {int(cut * len(stream)) for cut in cuts}
    places |= {end + shift for end in ends for shift in near}
    places = sorted({place for place in places if 0 < place < len(stream)} | {0, len(stream)})
    with digests.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send():
            for begin, end in itertools.pairwise(places):
                sock.sendall(stream[begin:end])
                time.sleep(0.001)

        sender = threading.Thread(target=send)
        sender.start()
        assert receive(sock, len(kinds)) == [KINDS[kind][1] for kind in kinds]
        sender.join(10)
    digests.until(lambda: not digests.hub.connections)
    assert digests.left() == (0, 0)


def test_one_after_the_other(digests):
    """The transport stays with large bodies while they come, and goes back for anything else."""
    data, wanted = KINDS["large"]
    with digests.connect() as sock:
        for _ in range(3):
            sock.sendall(data)
            assert receive(sock, 1) == [wanted]
            assert digests.protocols() == ["LargeBodies"]
        sock.sendall(GET)
        assert receive(sock, 1) == [KINDS["small"][1]]
        assert digests.protocols() == ["Connection"]
        sock.sendall(data)
        assert receive(sock, 1) == [wanted]
    digests.until(lambda: not digests.hub.connections)


def test_small_bodies_know_nothing_of_it(digests):
    with digests.connect() as sock:
        for size in (1, 5000, LARGE - 1):
            sock.sendall(sized(RANDOM[:size]))
            assert receive(sock, 1) == [said(b"/large", RANDOM[:size])]
            assert digests.protocols() == ["Connection"]
    digests.until(lambda: not digests.hub.connections)


@pytest.mark.parametrize("json_length", [64, 77, 1001])
def test_tensors_lie_as_processors_want_them(start, json_length):
    served = start(LIMITS)
    text = b"{" + b" " * (json_length - 2) + b"}"
    with served.connect() as sock:
        sock.sendall(sized(text + RANDOM, b"Inference-Header-Content-Length: %d\r\n" % json_length))
        receive(sock, 1)
    body = served.last.body
    told = int(served.last.headers[b"inference-header-content-length"])
    tensor = np.frombuffer(body, np.uint8, offset=told)
    assert tensor.ctypes.data % 16 == 0
    assert tensor.tobytes() == RANDOM
    assert body[:told].strip() == text


def test_100_continue_comes_before_the_body(digests):
    head = HEAD + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(RANDOM)
    with digests.connect() as sock:
        for _ in range(2):
            sock.sendall(head)
            assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
            sock.sendall(RANDOM)
            assert receive(sock, 1) == [KINDS["large"][1]]


# -- clients that do not behave


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("sent", [0, 1, 150_000, len(RANDOM) - 1])
@pytest.mark.parametrize("before", [0, 1])
def test_a_client_that_leaves_in_the_middle(digests, before, sent):
    sock = digests.connect()
    whole, wanted = KINDS["large"]
    for _ in range(before):
        sock.sendall(whole)
        assert receive(sock, 1) == [wanted]
    head = len(whole) - len(RANDOM)
    sock.sendall(whole[: head + sent])
    digests.until(lambda: digests.left() == (sent, len(RANDOM)))
    reset(sock)
    digests.until(lambda: digests.left() == (0, 0) and not digests.hub.connections)


def test_the_requests_before_are_told_that_the_client_left(digests):
    del digests.held[:]
    told = threading.Event()
    sock = digests.connect()
    sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" + KINDS["large"][0][:200_000])
    digests.until(lambda: digests.held and digests.hub.buffered)
    digests.held[0].on_gone = told.set
    reset(sock)
    assert told.wait(10)
    digests.until(lambda: digests.left() == (0, 0))


def test_half_of_a_body_and_an_end(digests):
    with digests.connect() as sock:
        sock.sendall(KINDS["large"][0][:200_000])
        digests.until(lambda: digests.hub.buffered > 150_000)
        sock.shutdown(socket.SHUT_WR)
        data = read_all(sock)
    assert statuses(data) == [400]
    digests.until(lambda: digests.left() == (0, 0))


def test_a_slow_one(start):
    served = start(Limits(body_timeout_s=0.5, min_body_rate=1 << 20))
    with served.connect() as sock:
        sock.sendall(KINDS["large"][0][:100_000])
        data = read_all(sock)
        assert served.left() == (0, 0)
    assert statuses(data) == [408]


def test_what_comes_behind_a_refusal_is_thrown_away(start):
    served = start(Limits(body_timeout_s=0.5, min_body_rate=1 << 30))
    whole = KINDS["large"][0]
    with served.connect() as sock:
        sock.sendall(whole[:100_000])
        assert sock.recv(100).startswith(b"HTTP/1.1 408 ")
        sock.sendall(whole[100_000:] + GET)
        sock.shutdown(socket.SHUT_WR)
        assert b"/small" not in read_all(sock)


def test_too_many_at_once(start):
    served = start(Limits(max_buffered_bytes=700_000))
    whole, wanted = KINDS["large"]
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(served.connect()) for _ in range(3)]
        for sock in socks[:2]:
            sock.sendall(whole[:250_000])
        served.until(lambda: served.hub.buffered > 490_000)
        assert served.hub.reserved == 2 * len(RANDOM)
        socks[2].sendall(whole[:250_000])
        assert statuses(read_all(socks[2])) == [503]
        for sock in socks[:2]:
            sock.sendall(whole[250_000:])
            assert receive(sock, 1) == [wanted]
    served.until(lambda: served.left() == (0, 0))


def test_who_only_announces_takes_no_place_from_others(start):
    served = start(Limits(max_buffered_bytes=500_000))
    whole, wanted = KINDS["large"]
    head = len(whole) - len(RANDOM)
    with served.connect() as first, served.connect() as second:
        first.sendall(whole[:head])
        served.until(lambda: served.left() == (0, len(RANDOM)))
        second.sendall(whole)  # both would not fit: it is read in pieces
        assert receive(second, 1) == [wanted]
        assert served.left() == (0, len(RANDOM))
        first.sendall(whole[head:])
        assert receive(first, 1) == [wanted]
    served.until(lambda: served.left() == (0, 0))


def test_a_length_beyond_the_address_space(start):
    served = start(Limits(max_body_bytes=1 << 60, max_buffered_bytes=1 << 61))
    with served.connect() as sock:
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\nabc" % (1 << 60))
        served.until(lambda: served.left() == (3, 0))
        sock.shutdown(socket.SHUT_WR)
        assert statuses(read_all(sock)) == [400]


def test_a_client_that_does_not_read_is_not_read_either(digests):
    """It sends a large body while it takes nothing of an answer that it is owed."""
    del digests.held[:]
    whole, wanted = KINDS["large"]
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", digests.port))
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" + whole[:200_000])
        digests.until(lambda: digests.held and digests.hub.buffered > 150_000)
        digests.call(digests.held[0].reply, 200, b"x" * 12_000_000, b"text/plain")
        assert digests.readings() == [False]
        before = digests.left()
        sender = threading.Thread(target=sock.sendall, args=(whole[200_000:] + whole,))
        sender.start()
        time.sleep(0.2)
        assert digests.left() == before
        found = bytearray()
        while found.count(b">") < 2:
            more = sock.recv(1 << 20)
            assert more
            found += more
        sender.join(10)
    assert answers(bytes(found)) == [wanted] * 2
    assert found.count(b"x") >= 12_000_000


def test_a_drain_waits_for_its_end(start):
    served = start(replace(LIMITS, drain_linger_s=0.1))
    whole, wanted = KINDS["large"]
    with served.connect() as sock:
        sock.sendall(whole)
        assert receive(sock, 1) == [wanted]
        sock.sendall(whole[:250_000])
        served.until(lambda: served.hub.buffered > 200_000)
        drained = threading.Thread(target=served.drain, args=(20,))
        drained.start()
        time.sleep(0.5)
        sock.sendall(whole[250_000:])
        data = read_all(sock)
        drained.join(20)
    assert answers(data) == [wanted]
    assert b"Connection: close" in data
