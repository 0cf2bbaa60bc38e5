"""Bodies that are too large, damaged, or never come whole."""

import zlib

from exchanges.kinds import CHUNKED, GET, LIMITS, POST, Bad, H, chunks, sized, zipped

_CODED = "Compressed bodies"
_SIZES = "Sizes"
_LEFT = "Clients that leave too early"
ZIPPED = zipped(b"hello")
BOMB = zipped(b"\0" * 2_000_000)


def coded() -> tuple[Bad, ...]:
    """gzip and deflate."""
    gzip = b"Content-Encoding: gzip"
    flate = b"Content-Encoding: deflate"
    found = {
        "an unknown coding": (sized(b"abc", b"Content-Encoding: br"), 415),
        "two codings": (sized(ZIPPED, b"Content-Encoding: gzip, gzip"), 415),
        "two lines of coding": (sized(ZIPPED, gzip, flate), 415),
        "damaged gzip": (sized(b"abcdef", gzip), 400),
        "gzip of nothing": (sized(b"", gzip), 400),
        "truncated gzip": (sized(ZIPPED[:-4], gzip), 400),
        "gzip with a wrong checksum": (sized(ZIPPED[:-8] + b"\0" * 8, gzip), 400),
        "rubbish behind gzip": (sized(ZIPPED + b"abc", gzip), 400),
        "damaged deflate": (sized(b"abcdef", flate), 400),
        "truncated deflate": (sized(zlib.compress(b"hello")[:-3], flate), 400),
        "gzip bomb": (sized(BOMB, gzip), 413),
        "gzip bomb in chunks": (chunks(BOMB, gzip), 413),
        "gzip bomb of many members": (sized(zipped(b"\0" * 900) * 60, gzip), 413),
        "deflate bomb": (sized(zlib.compress(b"\0" * 2_000_000), flate), 413),
    }
    return tuple(Bad(_CODED, title, data, status) for title, (data, status) in found.items())


def sizes() -> tuple[Bad, ...]:
    """Beyond each limit, said and endless."""
    target, head, most = LIMITS.max_target_bytes, LIMITS.max_header_bytes, LIMITS.max_body_bytes
    lines = b"".join(b"X%d: 1\r\n" % i for i in range(LIMITS.max_headers))
    half = b"%x\r\n%b\r\n" % (most // 2, b"a" * (most // 2))
    found = {
        "long target": (b"GET /" + b"a" * target + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
        "endless target": (b"GET /" + b"a" * (2 * target), 414),
        "large header": (GET + b"X: " + b"a" * head + b"\r\n\r\n", 431),
        "endless header": (GET + b"X: " + b"a" * (2 * head), 431),
        "endless header name": (GET + b"a" * (2 * head), 431),
        "one header too many": (GET + lines + b"\r\n", 431),
        "the same header without end": (GET + b"X: 1\r\n" * head, 431),
        "large body": (POST + b"Content-Length: %d\r\n\r\n" % (most + 1), 413),
        "large body that waits": (
            POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (most + 1),
            413,
        ),
        "chunks beyond the bound": (CHUNKED + half + half + b"1\r\n", 413),
        "one chunk beyond the bound": (CHUNKED + b"%x\r\n" % (most + 1), 413),
        "a chunk of 4 GB": (CHUNKED + b"ffffffff\r\n", 413),
    }
    return tuple(Bad(_SIZES, title, data, status) for title, (data, status) in found.items())


def departures() -> tuple[Bad, ...]:
    """The client closes its side in the middle."""
    return (
        Bad(_LEFT, "in the request line", b"GET /o", 400),
        Bad(_LEFT, "in the headers", GET + b"X: 1\r\n", 400),
        Bad(_LEFT, "before the empty line is whole", GET + b"\r", 400),
        Bad(_LEFT, "before the body", POST + b"Content-Length: 10\r\n\r\n", 400),
        Bad(_LEFT, "in the body", POST + b"Content-Length: 10\r\n\r\nabc", 400),
        Bad(
            _LEFT,
            "in the second request's body",
            sized(b"abc") + POST + b"Content-Length: 10\r\n\r\nabc",
            400,
            handled=1,
        ),
    )
