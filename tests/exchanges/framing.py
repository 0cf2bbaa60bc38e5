"""Requests whose end two programs could see at two places: how requests are smuggled."""

from exchanges.kinds import CHUNKED, END, GET, POST, Bad, sized

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
_TWO = "Two ends for one body"
_ODD = "A length that is none"
_TE = "Transfer-Encoding in disguise"
_CHUNK = "Chunks"


def two_ends() -> tuple[Bad, ...]:
    """CL.TE, TE.CL, CL.CL."""
    both = POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
    turned = POST + b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n"
    return (
        Bad(_TWO, "CL.TE: length and chunked", both % 3 + END, 400),
        Bad(_TWO, "CL.TE with a request behind the chunks", both % 43 + END + SMUGGLED, 400),
        Bad(_TWO, "TE.CL: chunked and length", turned % 3 + END, 400),
        Bad(
            _TWO,
            "TE.CL with a request inside a chunk",
            turned % 4 + b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + END,
            400,
        ),
        Bad(_TWO, "length 0 and chunked", both % 0 + END, 400),
        Bad(
            _TWO,
            "two different lengths",
            POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            400,
        ),
        Bad(
            _TWO,
            "two equal lengths",
            POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            400,
        ),
        Bad(
            _TWO,
            "two lengths in unlike letters",
            POST + b"Content-Length: 0\r\ncontent-LENGTH: 3\r\n\r\nabc",
            400,
        ),
        Bad(_TWO, "list of lengths", POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        Bad(
            _TWO,
            "CL.TE behind a good request",
            sized(b"abc") + both % 3 + END + SMUGGLED,
            400,
            handled=1,
        ),
        Bad(
            _TWO,
            "a body longer than said, whose rest is no request",
            POST + b"Content-Length: 3\r\n\r\nabcdef\r\n\r\n",
            400,
            handled=1,
        ),
        Bad(
            _TWO,
            "a length in a name that only looks like it",
            POST + b"Content_Length: 3\r\n\r\nabc\r\n\r\n",
            400,
            handled=1,
        ),
    )


def odd_lengths() -> tuple[Bad, ...]:
    """What some programs read as a number all the same."""
    values = {
        "signed": b"+3",
        "negative": b"-3",
        "hexadecimal": b"0x3",
        "empty": b"",
        "with a gap": b"3 4",
        "with an underscore": b"1_0",
        "as a fraction": b"3.0",
        "with an exponent": b"1e1",
        "with a parameter": b"3;x=1",
        "behind a vertical tab": b"\x0b3",
        "before a form feed": b"3\x0c",
        "with a NUL": b"3\0",
        "in wide digits": "\uff13".encode(),
        "in quotes": b'"3"',
        "that overflows 64 bits": b"99999999999999999999999",
        "one beyond 64 bits": b"18446744073709551616",
    }
    return tuple(
        Bad(_ODD, f"length {title}", POST + b"Content-Length: " + value + b"\r\n\r\nabc", 400)
        for title, value in values.items()
    )


def disguises() -> tuple[Bad, ...]:
    """TE.TE: one program sees the header, the other does not."""
    lines = {
        "a coding before chunked": (b"Transfer-Encoding: gzip, chunked", 501),
        "a coding behind chunked": (b"Transfer-Encoding: chunked, identity", 400),
        "another coding": (b"Transfer-Encoding: gzip", 501),
        "identity": (b"Transfer-Encoding: identity", 501),
        "almost chunked": (b"Transfer-Encoding: xchunked", 501),
        "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1", 501),
        "chunked in quotes": (b'Transfer-Encoding: "chunked"', 501),
        "chunked and nothing": (b"Transfer-Encoding: chunked,", 400),
        "an empty one": (b"Transfer-Encoding:", 400),
        "chunked twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        "chunked and another": (b"Transfer-Encoding: chunked\r\nTransfer-encoding: x", 400),
        "another and chunked": (b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", 501),
        "behind a vertical tab": (b"Transfer-Encoding: \x0bchunked", 400),
        "before a form feed": (b"Transfer-Encoding: chunked\x0c", 400),
        "with a NUL": (b"Transfer-Encoding: chunked\0", 400),
        "a space before the colon": (b"Transfer-Encoding : chunked", 400),
        "a tab before the colon": (b"Transfer-Encoding\t: chunked", 400),
        "a space before the name": (b" Transfer-Encoding: chunked", 400),
        "folded": (b"Transfer-Encoding:\r\n chunked", 400),
        "behind a bare LF": (b"X: x\nTransfer-Encoding: chunked", 400),
        "behind a bare CR": (b"X: x\rTransfer-Encoding: chunked", 400),
        "a quoted name": (b'"Transfer-Encoding": chunked', 400),
    }
    listed = tuple(
        Bad(_TE, title, POST + line + b"\r\n\r\n" + END, status)
        for title, (line, status) in lines.items()
    )
    return (
        *listed,
        Bad(
            _TE,
            "in HTTP/1.0",
            b"POST /ok HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
            400,
        ),
        Bad(
            _TE,
            "with an underscore: it is another header, and the chunks are no request",
            POST + b"Transfer_Encoding: chunked\r\n\r\n" + END,
            400,
            handled=1,
        ),
    )


def chunked() -> tuple[Bad, ...]:
    """Bodies in chunks."""
    rest = b"\r\nabc\r\n" + END
    sizes = {
        "in words": b"three",
        "with 0x": b"0x3",
        "negative": b"-3",
        "signed": b"+3",
        "with an underscore": b"0_3",
        "that overflows 64 bits": b"fffffffffffffffff",
        "that overflows 32 bits to 3": b"100000003",
        "empty": b"",
        "behind a space": b" 3",
        "with a gap": b"3 3",
        "with a NUL": b"3\0",
        "with a bare CR": b"3\rx",
        "with an extension that has no name": b"3;",
        "with white space before the extension": b"3 ;a",
        "with an extension beyond ASCII": b"3;\xff",
        "with an extension in an open quote": b'3;a="b',
    }
    wrong = tuple(
        Bad(_CHUNK, f"size {title}", CHUNKED + size + rest, 400) for title, size in sizes.items()
    )
    many = b"X: yyyyyyyyyyyyyyyyyy\r\n" * 2000
    return (
        *wrong,
        Bad(_CHUNK, "longer than said", CHUNKED + b"3\r\nabcd\r\n" + END, 400),
        Bad(_CHUNK, "shorter than said", CHUNKED + b"4\r\nabc\r\n" + END, 400),
        Bad(_CHUNK, "bare LF after the size", CHUNKED + b"3\nabc\r\n" + END, 400),
        Bad(_CHUNK, "bare LF after the data", CHUNKED + b"3\r\nabc\n" + END, 400),
        Bad(_CHUNK, "bare LF in an extension", CHUNKED + b"3;a\nb\r\nabc\r\n" + END, 400),
        Bad(_CHUNK, "bare LF at the end", CHUNKED + b"0\n\n", 400),
        Bad(_CHUNK, "endless extension", CHUNKED + b"3;" + b"a" * 3000 + rest, 431),
        Bad(
            _CHUNK, "Content-Length as a trailer", CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400
        ),
        Bad(
            _CHUNK,
            "Transfer-Encoding as a trailer",
            CHUNKED + b"0\r\nTransfer-Encoding: x\r\n\r\n",
            400,
        ),
        Bad(_CHUNK, "Host as a trailer", CHUNKED + b"0\r\nHost: b\r\n\r\n", 400),
        Bad(_CHUNK, "malformed trailer", CHUNKED + b"0\r\nnonsense\r\n\r\n", 400),
        Bad(_CHUNK, "folded trailer", CHUNKED + b"0\r\nX: 1\r\n 2\r\n\r\n", 400),
        Bad(_CHUNK, "many trailers", CHUNKED + b"0\r\n" + many + b"\r\n", 431),
        Bad(_CHUNK, "without an end", CHUNKED + b"3\r\nabc\r\n", 400),
        Bad(_CHUNK, "left in the middle of one", CHUNKED + b"3\r\na", 400),
        Bad(
            _CHUNK,
            "a size one too small: the rest is no chunk",
            CHUNKED + b"%x\r\n%b\r\n" % (len(SMUGGLED) - 1, SMUGGLED) + END,
            400,
        ),
        Bad(
            _CHUNK,
            "malformed, behind a good request",
            GET + b"\r\n" + CHUNKED + b"x\r\n" + SMUGGLED,
            400,
            handled=1,
        ),
    )
