"""Uncommon, and allowed."""

import gzip
import struct

import hpack

import http2_wire as w
from http2_exchanges.kinds import Case
from http2_wire import GET, POST, block, data, frame, headers, message

_GROUP = "Lawful"


def good() -> tuple[Case, ...]:
    """Every one is served."""
    whole = block(GET)
    opened = headers(POST, last=False)
    first = hpack.Encoder()
    huffman = first.encode([*GET, (b"x-long", b"a value that is written in the code")])
    again = first.encode([*GET, (b"x-long", b"a value that is written in the code")])
    split = b"".join(
        frame(
            w.CONTINUATION if i else w.HEADERS,
            4 if i == len(whole) - 1 else 1 - min(i, 1),
            1,
            whole[i : i + 1],
        )
        for i in range(len(whole))
    )
    cases: dict[str, tuple[bytes, tuple[str, ...], int]] = {
        "SETTINGS that nobody knows": (w.settings((99, 7)) + headers(GET), ("200",), 1),
        "a frame that nobody knows": (frame(0x7F, 0xFF, 5, b"abc") + headers(GET), ("200",), 1),
        "the reserved bit of a stream": (frame(w.HEADERS, 5, 1 << 31 | 1, whole), ("200",), 1),
        "padded headers with a priority": (
            frame(w.HEADERS, 5 | 8 | 0x20, 1, b"\2\0\0\0\0\7" + whole + b"\0\0"),
            ("200",),
            1,
        ),
        "a priority for a stream that never comes": (
            frame(w.PRIORITY, 0, 9, b"\0\0\0\0\7") + headers(GET),
            ("200",),
            1,
        ),
        "headers byte by byte": (split, ("200",), 1),
        "headers and an empty CONTINUATION": (
            frame(w.HEADERS, 1, 1, whole) + frame(w.CONTINUATION, 4, 1),
            ("200",),
            1,
        ),
        "Huffman, and the same from the table": (
            frame(w.HEADERS, 5, 1, huffman) + frame(w.HEADERS, 5, 3, again) * 1,
            ("200", "200"),
            2,
        ),
        "a table of size 0, and then of 4096": (
            frame(w.HEADERS, 5, 1, b"\x20\x3f\xe1\x1f" + whole),
            ("200",),
            1,
        ),
        "padded data": (opened + frame(w.DATA, 9, 1, b"\4body\0\0\0\0"), ("200",), 1),
        "an empty end of a body": (opened + data(b"body", last=False) + data(), ("200",), 1),
        "a body and trailers": (
            opened + data(b"body", last=False) + headers(((b"x-sum", b"1"),)),
            ("200",),
            1,
        ),
        "a compressed body": (
            headers((*POST, (b"content-encoding", b"gzip")), last=False)
            + data(gzip.compress(b"body")),
            ("200",),
            1,
        ),
        "a length and no body, as agreed": (
            headers((*GET, (b"content-length", b"0"))),
            ("200",),
            1,
        ),
        "HEAD": (headers(((b":method", b"HEAD"), *GET[1:])), ("200",), 1),
        "the star of OPTIONS": (
            headers(((b":method", b"OPTIONS"), GET[1], (b":path", b"*"), GET[3])),
            ("200",),
            1,
        ),
        "Host in place of :authority": (headers((*GET[:3], (b"host", b"a"))), ("200",), 1),
        "Host beside the same :authority": (headers((*GET, (b"host", b"a"))), ("200",), 1),
        "cookies one by one": (
            headers((*GET, (b"cookie", b"a=1"), (b"cookie", b"b=2"))),
            ("200",),
            1,
        ),
        "an expectation": (
            headers((*POST, (b"expect", b"100-continue")), last=False) + data(b"body"),
            ("100", "200"),
            1,
        ),
        "two requests, woven together": (
            opened + headers(POST, 3, last=False) + data(b"b", 3) + data(b"a", 1),
            ("200", "200"),
            2,
        ),
        "stream numbers that are left out": (
            headers(GET, 7) + headers(GET, 4001),
            ("200", "200"),
            2,
        ),
        "PING": (frame(w.PING, payload=b"8 bytes!") + headers(GET), ("200",), 1),
        "a reset of a stream that is over": (headers(GET) + w.reset(1), ("200",), 1),
        "more window for a stream that is over": (headers(GET) + w.window(1, 9), ("200",), 1),
        "no window, and then some": (
            w.settings((4, 0)) + headers(GET) + w.window(1, 3) + w.window(1, 100),
            ("200",),
            1,
        ),
        "a window below zero, and then some": (
            headers((*GET[:2], (b":path", b"/big"), GET[3]))
            + w.settings((4, 0))
            + w.window(1, 4_000_000)
            + w.window(0, 4_000_000),
            ("200",),
            1,
        ),
        "no place in the client's table": (
            w.settings((1, 0)) + headers(GET) + headers(GET, 3),
            ("200", "200"),
            2,
        ),
        "a table that shrinks and grows": (
            headers(GET) + w.settings((1, 0), (1, 4096)) + headers(GET, 3) + headers(GET, 5),
            ("200", "200", "200"),
            3,
        ),
        "a client that opens no more": (
            frame(w.GOAWAY, payload=struct.pack(">LL", 0, 0)) + headers(GET),
            ("200",),
            1,
        ),
        "a call": (headers(w.CALL, last=False) + data(message(b"abc")), ("gRPC 0",), 0),
        "a call byte by byte": (
            headers(w.CALL, last=False)
            + b"".join(data(bytes((b,)), last=False) for b in message(b"abc"))
            + data(),
            ("gRPC 0", "RST_STREAM NO_ERROR"),
            0,
        ),
        "a compressed message": (
            headers(w.call_of(b"Unary", (b"grpc-encoding", b"gzip")), last=False)
            + data(message(gzip.compress(b"abc"), 1)),
            ("gRPC 0",),
            0,
        ),
        "many messages in one frame": (
            headers(w.call_of(b"Echo"), last=False) + data(message(b"a") * 100 + message(b"")),
            ("gRPC 0",),
            0,
        ),
        "gRPC-Web, which is a request like others": (
            headers((*POST, (b"content-type", b"application/grpc-web"))),
            ("200",),
            1,
        ),
    }
    return tuple(
        Case(_GROUP, title, sent, events, handled)
        for title, (sent, events, handled) in cases.items()
    )
