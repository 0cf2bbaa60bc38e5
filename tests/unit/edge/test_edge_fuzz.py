"""Random and mutated input: nothing but answers and clean ends, and the server lives on."""

import contextlib
import logging

import httptools
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from modelworks.edge.chunks import ChunkDecoder
from modelworks.edge.head import Head, Refusal, parse_head
from modelworks.edge.limits import Limits
from properties import examples

pytestmark = pytest.mark.unit

SEEDS = (
    b"GET /ok?x=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /ok HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
)
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"-1", b"ffffffff"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"\r\n\r\n"),
    *(b"HTTP/1.0", b"HTTP/2.0", b"Upgrade: h2c\r\n", b"Connection: close\r\n", b"GET / "),
)


@st.composite
def mutated(draw) -> bytes:
    """Some requests in a row, with bytes put in, taken out and replaced."""
    data = b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        drop = draw(st.integers(0, 4))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)))
        data = data[:at] + piece + data[at + drop :]
    return data


@pytest.fixture
def complaints():
    """Whatever the loop or the edge logs as an error."""
    records = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(mutated(), st.binary(max_size=200)), pieces=st.integers(1, 5))
def test_anything_on_the_wire(served, complaints, data, pieces):
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = served.talk(data, pieces=pieces)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 500" not in answer
    assert not complaints, complaints[0].getMessage()
    assert served.talk(SEEDS[0]).startswith(b"HTTP/1.1 200")


class Oracle:
    """llhttp's reading of a chunked message."""

    def __init__(self) -> None:
        self.body = b""
        self.done = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.done = True


CHUNK_PIECES = (
    *(b"0\r\n", b"\r\n", b"3\r\nabc\r\n", b"3;x=y\r\nabc\r\n", b"1\r\n\n\r\n", b"a\r\n", b"\n"),
    *(b"X: y\r\n", b"-1\r\n", b"0x1\r\n", b"3 \r\nabc\r\n", b"abc", b"F\r\n", b"0;\r\n", b"00\r\n"),
    *(b"Content-Length: 1\r\n", b": x\r\n", b"X y\r\n", b"\x01", b"3\r\nab\0\r\n"),
)


@examples(300)
@given(
    pieces=st.lists(st.one_of(st.sampled_from(CHUNK_PIECES), st.binary(max_size=3)), max_size=6),
    step=st.integers(1, 7),
)
def test_chunks_are_read_as_llhttp_reads_them_or_refused(pieces, step):
    data = b"".join((*pieces, b"0\r\n\r\n"))
    decoder = ChunkDecoder(10_000, 1000)
    position = 0
    try:
        while position < len(data) and not decoder.done:
            window = data[position : position + step]
            position += decoder.feed(window, 0)
    except Refusal:
        return  # stricter is allowed
    if not decoder.done:
        return
    oracle = Oracle()
    parser = httptools.HttpRequestParser(oracle)
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed_data(data[:position])
    assert oracle.done
    assert oracle.body == decoder.body()
    assert decoder.held == len(oracle.body)


@examples(250)
@given(data=mutated())
def test_a_head_is_parsed_or_refused(data):
    end = data.find(b"\r\n\r\n") + 4
    if end == 3 or data.startswith(b"\r\n"):
        return
    try:
        head = parse_head(data[:end], Limits())
    except Refusal as refusal:
        assert 400 <= refusal.status < 600
        assert refusal.message
    else:
        assert isinstance(head, Head)
        assert head.length >= -1
        assert head.path.startswith(b"/") or head.path == b"*"
