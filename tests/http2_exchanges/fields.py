"""Header blocks: as bytes, as requests, as calls."""

import gzip

import hpack

import http2_wire as w
from http2_exchanges import kinds as k
from http2_exchanges.kinds import Case
from http2_wire import GET, POST, block, data, frame, headers, message

_X = (b"x-a", b"b")
_FILL = b"a" * 200


def _raw(bytes_: bytes) -> bytes:
    return frame(w.HEADERS, 5, 1, bytes_)


def blocks() -> tuple[Case, ...]:
    """HPACK."""
    whole = block(GET)
    cases = {
        "entry 0": _raw(b"\x80"),
        "an entry that the table does not have": _raw(b"\xbe"),
        "the name of an entry that the table does not have": _raw(b"\x7e\x01a"),
        "a number without an end": _raw(b"\xff\x80"),
        "a number beyond 32 bits": _raw(b"\xff\xff\xff\xff\xff\xff\xff\x0f"),
        "a name beyond the block": _raw(b"\0\x7eabc"),
        "a block that ends before a value": _raw(b"\0\1a"),
        "a value beyond the block": _raw(b"\0\1a\5b"),
        "a table size beyond ours": _raw(b"\x3f\xe2\x1f" + whole),
        "a table size within the block": _raw(whole + b"\x20"),
        "Huffman padding of zeros": _raw(b"\0\x81\x00\1a"),
        "Huffman padding of eight bits": _raw(b"\0\x82\x1f\xff\1a"),
        "the end of a Huffman string within it": _raw(b"\0\x84\xff\xff\xff\xfc\1a"),
    }
    return k.goaway("Header compression", k.COMPRESSION, cases)


def requests() -> tuple[Case, ...]:
    """Malformed requests (RFC 9113, 8.1.1)."""
    method, scheme, path, authority = GET
    cases: dict[str, tuple[tuple[bytes, bytes], ...]] = {
        "no :method": (scheme, path, authority),
        "no :scheme": (method, path, authority),
        "no :path": (method, scheme, authority),
        "an empty :path": (method, scheme, (b":path", b""), authority),
        "a :path without a slash": (method, scheme, (b":path", b"ok"), authority),
        "a :path with a space": (method, scheme, (b":path", b"/o k"), authority),
        "a :path with a line end": (method, scheme, (b":path", b"/ok\r\nx: y"), authority),
        "a :path beyond ASCII": (method, scheme, (b":path", b"/\xff"), authority),
        "the star of another method than OPTIONS": (method, scheme, (b":path", b"*"), authority),
        "two :path": (*GET, path),
        "two :method": (method, *GET),
        "a method in small letters": ((b":method", b"get"), *GET[1:]),
        "a method with a line end": ((b":method", b"GET / HTTP/1.1\r\nx: y"), *GET[1:]),
        "a pseudo-header behind a header": (*GET[:3], _X, authority),
        "an unknown pseudo-header": (*GET, (b":protocol", b"websocket")),
        "a pseudo-header of answers": (*GET, (b":status", b"200")),
        "no authority": GET[:3],
        "an empty authority": (*GET[:3], (b":authority", b"")),
        "an authority with a user": (*GET[:3], (b":authority", b"u@a")),
        "a Host that differs": (*GET, (b"host", b"b")),
        "two Hosts": (*GET[:3], (b"host", b"a"), (b"host", b"a")),
        "a name in capitals": (*GET, (b"X-A", b"b")),
        "a name with a space": (*GET, (b"x a", b"b")),
        "a name with a colon": (*GET, (b"x:a", b"b")),
        "a name with a line end": (*GET, (b"x\r\na", b"b")),
        "an empty name": (*GET, (b"", b"b")),
        "a value with NUL": (*GET, (b"x-a", b"b\0")),
        "a value with CR": (*GET, (b"x-a", b"b\rc")),
        "a value with LF": (*GET, (b"x-a", b"b\nc: d")),
        "a value behind a space": (*GET, (b"x-a", b" b")),
        "a value before a tab": (*GET, (b"x-a", b"b\t")),
        "Connection": (*GET, (b"connection", b"close")),
        "Keep-Alive": (*GET, (b"keep-alive", b"timeout=5")),
        "Proxy-Connection": (*GET, (b"proxy-connection", b"keep-alive")),
        "Transfer-Encoding": (*GET, (b"transfer-encoding", b"chunked")),
        "Upgrade": (*GET, (b"upgrade", b"websocket")),
        "TE that is more than trailers": (*GET, (b"te", b"gzip")),
        "TE twice": (*GET, (b"te", b"trailers"), (b"te", b"trailers")),
        "a length that is no number": (*GET, (b"content-length", b"1a")),
        "a length with a sign": (*GET, (b"content-length", b"+1")),
        "a length without a digit": (*GET, (b"content-length", b"")),
        "two lengths": (*GET, (b"content-length", b"0"), (b"content-length", b"1")),
        "two equal lengths": (*GET, (b"content-length", b"0"), (b"content-length", b"0")),
        "a length and no body": (*GET, (b"content-length", b"1")),
    }
    sent = {title: headers(fields) for title, fields in cases.items()}
    three = headers((*POST, (b"content-length", b"3")), last=False)
    opened = headers(POST, last=False)
    sent |= {
        "a body longer than said": three + data(b"abcd"),
        "a body longer than said, in pieces": three + data(b"ab", last=False) + data(b"cd"),
        "a body shorter than said": three + data(b"ab"),
        "trailers that are not the end": opened + headers((_X,), last=False),
        "a pseudo-header among trailers": opened + headers((path,)),
        "a name in capitals among trailers": opened + headers(((b"X-A", b"b"),)),
    }
    return k.ended("Malformed requests", k.PROTOCOL, sent)


def refused() -> tuple[Case, ...]:
    """Well-formed ones that are answered by the edge."""
    group = "Requests that are refused"
    early = "RST_STREAM NO_ERROR"
    bomb = hpack.Encoder().encode([(b"x-a", b"a" * 3000)], huffman=False) + b"\xbe" * 5000
    zipped = (*POST, (b"content-encoding", b"gzip"))
    cases = {
        "CONNECT": (headers(((b":method", b"CONNECT"), (b":authority", b"a"))), "501"),
        "a fragment": (headers((*GET[:2], (b":path", b"/ok#x"), GET[3])), "400"),
        "a target beyond the limit": (
            headers((*GET[:2], (b":path", b"/" + b"a" * 8192), GET[3])),
            "414",
        ),
        "an unknown coding": (headers((*POST, (b"content-encoding", b"br"))), "415"),
        "an unknown expectation": (headers((*POST, (b"expect", b"magic"))), "417"),
        "101 headers": (headers((*GET, *((b"x-%d" % n, b"b") for n in range(97)))), "431"),
        "headers beyond the limit": (
            headers((*GET, *((b"x-%d" % n, _FILL) for n in range(140)))),
            "431",
        ),
        "15 megabytes of headers in 8 kilobytes": (_raw(bomb), "431"),
        "a damaged body": (headers(zipped, last=False) + data(b"no gzip"), "400"),
        "a body that is too large when decoded": (
            headers(zipped, last=False) + data(gzip.compress(b"a" * 9000)),
            "413",
        ),
    }
    sized = (*POST, (b"content-length", b"4097"))
    return (
        *(Case(group, title, sent, (status,)) for title, (sent, status) in cases.items()),
        Case(group, "a length beyond the limit", headers(sized, last=False), ("413", early)),
        Case(
            group,
            "a body beyond the limit",
            headers(POST, last=False) + data(b"a" * 4097, last=False),
            ("413", early),
        ),
    )


def calls() -> tuple[Case, ...]:
    """gRPC."""
    group = "Calls of gRPC"
    opened = headers(w.CALL, last=False)
    early = "RST_STREAM NO_ERROR"
    zipped = headers(w.call_of(b"Unary", (b"grpc-encoding", b"gzip")), last=False)
    return (
        Case(
            group,
            "a compressed message in no coding",
            opened + data(message(b"a", 1)),
            ("gRPC 13",),
        ),
        Case(group, "an unknown compression flag", zipped + data(message(b"a", 2)), ("gRPC 13",)),
        Case(group, "a damaged compressed message", zipped + data(message(b"a", 1)), ("gRPC 3",)),
        Case(
            group,
            "a message that is too large when decoded",
            zipped + data(message(gzip.compress(b"a" * 9000), 1)),
            ("gRPC 8",),
        ),
        Case(group, "half a prefix", opened + data(b"\0\0"), ("gRPC 13",)),
        Case(group, "half a message", opened + data(message(b"abc")[:-1]), ("gRPC 13",)),
        Case(
            group,
            "a message beyond the limit",
            opened + data(b"\0\0\0\x10\1" + b"a", last=False),
            ("gRPC 8", early),
        ),
        Case(
            group,
            "a message of 4 GiB",
            opened + data(b"\0\xff\xff\xff\xff", last=False),
            ("gRPC 8", early),
        ),
        *(
            Case(group, title, headers(w.call_of(b"Unary", field)), (status,))
            for title, field, status in (
                ("an unknown coding", (b"grpc-encoding", b"snappy"), "gRPC 12"),
                ("a time-out without a unit", (b"grpc-timeout", b"5"), "gRPC 3"),
                ("a time-out of nine digits", (b"grpc-timeout", b"123456789S"), "gRPC 3"),
                ("a negative time-out", (b"grpc-timeout", b"-1S"), "gRPC 3"),
            )
        ),
        Case(
            group,
            "messages in JSON",
            headers((*w.CALL[:-1], (b"content-type", b"application/grpc+json"))),
            ("gRPC 12",),
        ),
        Case(group, "a service that fails", headers(w.call_of(b"Boom")), ("gRPC 13",)),
    )
