"""Uncommon requests that are lawful and must be served."""

import zlib

from exchanges.bodies import ZIPPED
from exchanges.framing import SMUGGLED
from exchanges.kinds import CHUNKED, END, GET, POST, Good, H, chunks, sized


def good() -> tuple[Good, ...]:
    """Every one that must be served."""
    return (*_heads(), *_bodies(), *_rows())


def _heads() -> tuple[Good, ...]:
    start, end = b"GET /ok HTTP/1.1\r\n", b" HTTP/1.1\r\n" + H + b"\r\n"
    found = {
        "a request": GET + b"\r\n",
        "HTTP/1.0 without a host": b"GET /ok HTTP/1.0\r\n\r\n",
        "absolute target": b"GET http://a/ok?x=1" + end,
        "absolute target of another host": b"GET http://b/ok" + end,
        "absolute target in capitals": b"GET HTTPS://a/ok" + end,
        "absolute target without a path": b"GET http://a" + end,
        "options star": b"OPTIONS *" + end,
        "empty lines first": b"\r\n\r\n" + GET + b"\r\n",
        "an odd number of empty lines": b"\r\n\r\n\r\n" + GET + b"\r\n",
        "an empty header value": GET + b"X:\r\n\r\n",
        "no space behind the colon": start + b"Host:a\r\n\r\n",
        "tabs around a value": GET + b"X:\t1\t\r\n\r\n",
        "obs-text in a value": GET + b"X: \xff\r\n\r\n",
        "a header name in capitals": start + b"HOST: a\r\n\r\n",
        "a host with a port": start + b"Host: a:8000\r\n\r\n",
        "a host of IPv6": start + b"Host: [::1]:80\r\n\r\n",
        "an empty host": start + b"Host:\r\n\r\n",
        "Connection that names another header": GET + b"Connection: X\r\nX: 1\r\n\r\n",
        "Connection that names Content-Length": sized(b"abc", b"Connection: Content-Length"),
        "Connection that names Host": GET + b"Connection: Host\r\n\r\n",
        "a header that another may take for Content-Length": GET + b"Content_Length: 0\r\n\r\n",
        "an upgrade to h2c, which is passed over": sized(
            b"abc", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"
        ),
        "a broken traceparent, which is passed over": GET + b"traceparent: 00-xyz-1-01\r\n\r\n",
    }
    return tuple(Good(title, data) for title, data in found.items())


def _bodies() -> tuple[Good, ...]:
    start = POST + b"Transfer-Encoding: "
    body = b"\r\n\r\n3\r\nabc\r\n" + END
    found = {
        "a body": sized(b"abc"),
        "a request as a body": sized(SMUGGLED),
        "a request as a chunk": chunks(SMUGGLED),
        "spaces around the length": POST + b"Content-Length: \t3 \r\n\r\nabc",
        "leading zeros": POST + b"Content-Length: 0003\r\n\r\nabc",
        "GET with a body": GET + b"Content-Length: 3\r\n\r\nabc",
        "GET with chunks": GET + b"Transfer-Encoding: chunked" + body,
        "chunks": CHUNKED + b"3\r\nabc\r\n" + END,
        "chunked in capitals": start + b"CHUNKED" + body,
        "white space around chunked": start + b"\tchunked " + body,
        "a size with leading zeros": CHUNKED + b"0003\r\nabc\r\n" + END,
        "a size in capitals": CHUNKED + b"A\r\n0123456789\r\n" + END,
        "a chunk extension": CHUNKED + b'3;a="b"\r\nabc\r\n' + END,
        "a chunk extension without a value": CHUNKED + b"3;a\r\nabc\r\n0;b\r\n\r\n",
        "a last chunk of many zeros": CHUNKED + b"3\r\nabc\r\n00000\r\n\r\n",
        "a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        "gzip": sized(ZIPPED, b"Content-Encoding: gzip"),
        "gzip in chunks": chunks(ZIPPED, b"Content-Encoding: gzip"),
        "two gzip members": sized(ZIPPED + ZIPPED, b"Content-Encoding: gzip"),
        "deflate": sized(zlib.compress(b"hello"), b"Content-Encoding: deflate"),
        "identity": sized(b"x", b"Content-Encoding: identity"),
        "Expect with the body there": sized(b"abc", b"Expect: 100-continue"),
        "Expect in capitals": sized(b"abc", b"Expect: 100-CONTINUE"),
        "Expect without a body": GET + b"Expect: 100-continue\r\n\r\n",
        "Expect of HTTP/1.0, which is passed over": (
            b"POST /ok HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"
        ),
    }
    return tuple(Good(title, data) for title, data in found.items())


def _rows() -> tuple[Good, ...]:
    one = GET + b"\r\n"
    close = GET + b"Connection: close\r\n\r\n"
    kept = b"GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    return (
        Good("pipelined", one * 3, (200,) * 3),
        Good("pipelined beyond the bound", one * 200, (200,) * 200),
        Good("pipelined bodies", sized(b"abc") * 3, (200,) * 3),
        Good(
            "pipelined behind chunks",
            (CHUNKED + b"3\r\nabc\r\n" + END) * 2 + one,
            (200,) * 3,
        ),
        Good("empty lines between requests", (one + b"\r\n") * 2 + one, (200,) * 3),
        Good("nothing is read behind close", close + one),
        Good("close among other tokens", GET + b"Connection: x, Close\r\n\r\n" + one),
        Good("keep-alive and close together", GET + b"Connection: keep-alive, close\r\n\r\n" + one),
        Good("nothing is read behind HTTP/1.0", b"GET /ok HTTP/1.0\r\n\r\n" + one),
        Good("kept alive by HTTP/1.0", kept * 2, (200, 200)),
        Good("HTTP/1.0 with keep-alive and close", kept[:-4] + b", close\r\n\r\n" + one),
        Good("no body behind 204", b"GET /empty HTTP/1.1\r\n" + H + b"\r\n", (204,)),
    )
