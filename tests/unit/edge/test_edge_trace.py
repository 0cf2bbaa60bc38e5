"""Trace context, request ids, and heads that differ in them alone."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_served import Served
from exchanges.framing import SMUGGLED
from exchanges.kinds import GET, LIMITS, POST, H, sized, statuses
from modelworks.edge.head import Refusal, parse_head
from modelworks.edge.trace import TraceContext, request_id_of, trace_of
from modelworks.edge.varying import Shapes
from properties import examples

pytestmark = pytest.mark.unit
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WHOLE = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (WHOLE, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-may-come", True),
    ],
)
def test_a_context(text, sampled):
    assert trace_of({b"traceparent": text.encode()}) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01.",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}g-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"{WHOLE}, {WHOLE}",
        f" {WHOLE}",
    ],
)
def test_no_context(text):
    assert trace_of({b"traceparent": text.encode(), b"tracestate": b"a=1"}) is None


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
        ("a=1, b=2 ,\tc=3", "a=1,b=2,c=3"),
        ("a=1,,b=2,", "a=1,b=2"),
        ("t@v=1", "t@v=1"),
        ("1t@v=1", "1t@v=1"),
        ("a=x y", "a=x y"),
        (",".join(f"k{i}=1" for i in range(32)), ",".join(f"k{i}=1" for i in range(32))),
        (",".join(f"k{i}=1" for i in range(33)), ""),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=", ""),
        ("a=1=2", ""),
        ("a=\x7f", ""),
        ("=1", ""),
        ("a =1", ""),
        ("", ""),
    ],
)
def test_state(text, state):
    found = trace_of({b"traceparent": WHOLE.encode(), b"tracestate": text.encode()})
    assert found is not None
    assert found.state == state


@pytest.mark.parametrize(
    ("text", "name"),
    [(b"abc-1", "abc-1"), (b"a b", ""), (b"", ""), (b"x" * 201, ""), (b"\xff", "")],
)
def test_request_ids(text, name):
    assert request_id_of({b"x-request-id": text}) == name


# -- on the wire


def lines(trace: str = WHOLE, name: str = "") -> bytes:
    found = f"traceparent: {trace}\r\n" if trace else ""
    return (found + (f"X-Request-Id: {name}\r\n" if name else "")).encode()


def test_what_the_application_sees(served: Served):
    served.talk(GET + lines(name="n-1") + b"tracestate: a=1\r\ntracestate: b=2\r\n\r\n")
    seen = served.seen[-1]
    assert seen.trace == TraceContext(TRACE, SPAN, sampled=True, state="a=1,b=2")
    assert seen.request_id == "n-1"
    served.talk(GET + b"\r\n")
    seen = served.seen[-1]
    assert seen.trace is None
    assert uuid.UUID(seen.request_id).version == 7
    assert seen.request_id == seen.request_id


def test_a_request_id_comes_back(served):
    for _ in range(2):
        data = GET + lines("", "one") + b"\r\n" + GET + lines("", "two") + b"\r\n" + GET + b"\r\n"
        answer = served.talk(data)
        assert answer.count(b"X-Request-Id: one\r\n") == 1
        assert answer.count(b"X-Request-Id: two\r\n") == 1
        assert statuses(answer) == [200] * 3


def test_the_same_request_id_comes_back_on_a_kept_connection(served):
    with served.connect() as sock:
        for _ in range(3):
            sock.sendall(GET + lines("", "same") + b"\r\n")
            assert b"\r\nX-Request-Id: same\r\n" in sock.recv(1000)


def test_a_request_id_comes_back_with_a_body_that_came_later(served):
    whole = POST + lines("", "late") + b"Content-Length: 3\r\n\r\nabc"
    assert b"X-Request-Id: late" in served.talk(whole, pieces=30)


def test_a_request_id_that_is_none_is_not_repeated(served):
    assert b"X-Request-Id" not in served.talk(GET + b"X-Request-Id: a b\r\n\r\n")


def test_other_headers_stay_beside_it(served):
    answer = served.talk(b"GET /extra HTTP/1.1\r\n" + H + lines("", "x") + b"\r\n")
    assert b"X-One: 1\r\nX-Two: 2\r\nX-Request-Id: x\r\n" in answer


# -- heads by their shape


def head(trace: bytes, name: bytes, length: bytes) -> bytes:
    return (
        POST + b"traceparent:" + trace + b"\r\nX: y\r\nX-Request-Id: " + name +
        b"\r\nContent-Length: " + length + b"\r\n\r\n"
    )  # fmt: skip


def known() -> Shapes:
    shapes = Shapes(LIMITS)
    first = head(b"1", b"2", b"3")
    assert shapes.keep(first, parse_head(first, LIMITS))
    return shapes


@examples(200)
@given(
    trace=st.one_of(st.binary(max_size=8), st.from_regex(rb"[!-~]{1,60}", fullmatch=True)),
    name=st.one_of(st.binary(max_size=8), st.from_regex(rb"[!-~]{1,60}", fullmatch=True)),
    length=st.one_of(st.binary(max_size=3), st.from_regex(rb"[0-9]{1,5}", fullmatch=True)),
)
def test_a_head_of_a_known_shape_is_read_as_the_parser_reads_it(trace, name, length):
    raw = head(trace, name, length)
    end = raw.index(b"\r\n\r\n") + 4
    if end != len(raw):  # a value held the end of the head
        raw = raw[:end]
    found = known().read(raw)
    if found is None:
        return  # the parser will read it, or refuse it
    assert found == parse_head(raw, LIMITS)


@pytest.mark.parametrize(
    "raw",
    [
        head(b"1", b"2", b"+3"),
        head(b"1", b"2", b"3 3"),
        head(b"1", b"2", b"4097"),
        head(b"1", b"2", b"99999999999"),
        head(b"1", b"2\r\nContent-Length: 3", b"3"),
        head(b"1", b"2\r\nTransfer-Encoding: chunked", b"3"),
        head(b"1", b"2\nTransfer-Encoding: chunked", b"3"),
        head(b"1\0", b"2", b"3"),
        head(b"", b"2", b"3"),
        head(b"x" * 5000, b"2", b"3"),
        head(b"1", b"2", b"3")[:-2] + b"X: 1\r\n\r\n",
        head(b"1", b"2", b"3").replace(b"X: y", b"X: z"),
        head(b"1", b"2", b"3").replace(b"HTTP/1.1", b"HTTP/1.0"),
        head(b"1", b"2", b"3").replace(b"/ok", b"/ko"),
    ],
)
def test_another_shape_is_left_to_the_parser(raw):
    assert known().read(raw) is None


def test_a_head_with_one_name_twice_has_no_shape():
    shapes = Shapes(LIMITS)
    raw = POST + b"X-Request-Id: 1\r\nX-Request-Id: 2\r\n\r\n"
    assert shapes.keep(raw, parse_head(raw, LIMITS))
    assert shapes.read(raw) is None


def test_what_does_not_vary_has_no_shape():
    raw = POST + b"Content-Length: 3\r\n\r\n"
    assert not Shapes(LIMITS).keep(raw, parse_head(raw, LIMITS))


def test_shapes_are_bounded():
    shapes = Shapes(LIMITS)
    for i in range(1000):
        raw = b"GET /%d HTTP/1.1\r\nHost: a\r\nX-Request-Id: 1\r\nX: %d\r\n\r\n" % (i % 400, i)
        shapes.keep(raw, parse_head(raw, LIMITS))
    assert len(shapes._lines) <= 256
    assert all(len(found) <= 4 for found in shapes._lines.values())


def test_traced_requests_one_after_the_other(served):
    with served.connect() as sock:
        for i in range(1, 30):
            body = b"x" * i
            trace = f"00-{i:032x}-{i:016x}-01"
            sock.sendall(sized(body, lines(trace, f"id-{i}")[:-2]))
            answer = sock.recv(1000)
            assert b"\r\nX-Request-Id: id-%d\r\n" % i in answer
            assert answer.endswith(b"POST /ok? " + body)
            assert served.seen[-1].trace.trace_id == f"{i:032x}"
    assert not any(b"traceparent" in raw for raw in served.listener._hub.heads)


def test_nothing_is_smuggled_behind_a_known_shape(served):
    handled = len(served.seen)
    good = sized(b"abc", b"X-Request-Id: 1")
    for evil in (b"2\r\nTransfer-Encoding: chunked", b"2\r\nContent-Length: 0"):
        bad = good.replace(b"X-Request-Id: 1", b"X-Request-Id: " + evil)
        assert statuses(served.talk(good + bad + SMUGGLED)) == [200, 400]
    assert all(seen.path != b"/smuggled" for seen in served.seen[handled:])
    with pytest.raises(Refusal):
        parse_head(bad[:-3], LIMITS)
