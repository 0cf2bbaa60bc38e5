"""Frames that are malformed, at the wrong place, or one too many."""

import struct

import http2_wire as w
from http2_exchanges import kinds as k
from http2_exchanges.kinds import Case
from http2_wire import data, frame, headers

_ONE = headers(w.GET)
_HELD = (*w.GET[:2], (b":path", b"/hold"), w.GET[3])
_HOLD = headers(_HELD)
_OPEN_BODY = headers(w.POST, last=False)
_BLOCK = w.block(w.GET)
_SET = struct.pack(">HL", 3, 100)


def beginnings() -> tuple[Case, ...]:
    """Preface and SETTINGS."""
    group = "The beginning, and SETTINGS"
    first = {
        "a ping first": w.PREFACE + frame(w.PING, payload=b"8 bytes!"),
        "headers first": w.PREFACE + _ONE,
        "an acknowledgement first": w.PREFACE + frame(w.SETTINGS, 1),
        "data first": w.PREFACE + data(b"a"),
    }
    return (
        *k.goaway(group, k.PROTOCOL, first, first=True),
        *k.goaway(
            group,
            k.PROTOCOL,
            {
                "SETTINGS on a stream": frame(w.SETTINGS, 0, 1, _SET),
                "ENABLE_PUSH 2": w.settings((2, 2)),
                "MAX_FRAME_SIZE 16383": w.settings((5, 16383)),
                "MAX_FRAME_SIZE 16777216": w.settings((5, 2**24)),
            },
        ),
        *k.goaway(
            group,
            k.SIZE,
            {
                "SETTINGS of 5 bytes": frame(w.SETTINGS, payload=_SET[:5]),
                "an acknowledgement with settings": frame(w.SETTINGS, 1, 0, _SET),
            },
        ),
        *k.goaway(group, k.FLOW, {"INITIAL_WINDOW_SIZE 2147483648": w.settings((4, 2**31))}),
        Case(
            group,
            "INITIAL_WINDOW_SIZE that makes an open stream's window too large",
            _HOLD + w.window(1, 2**31 - 1 - 65535) + w.settings((4, 65536)),
            (f"GOAWAY {k.FLOW}",),
            1,
        ),
    )


def places() -> tuple[Case, ...]:
    """Frames of the wrong size, or where they may not be."""
    group = "Frames"
    protocol = {
        "PUSH_PROMISE": frame(w.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + _BLOCK),
        "CONTINUATION without headers": frame(w.CONTINUATION, 4, 1, _BLOCK),
        "CONTINUATION of another stream": (
            frame(w.HEADERS, 1, 1, _BLOCK[:4]) + frame(w.CONTINUATION, 4, 3, _BLOCK[4:])
        ),
        "a ping within a header block": (
            frame(w.HEADERS, 1, 1, _BLOCK[:4]) + frame(w.PING, payload=b"8 bytes!")
        ),
        "an unknown frame within a header block": (
            frame(w.HEADERS, 1, 1, _BLOCK[:4]) + frame(0x7F, 0, 1, b"")
        ),
        "data within a header block": frame(w.HEADERS, 0, 1, _BLOCK[:4]) + data(b"a"),
        "headers within a header block": frame(w.HEADERS, 0, 1, _BLOCK[:4]) + headers(w.GET, 3),
        "PING on a stream": frame(w.PING, 0, 1, b"8 bytes!"),
        "GOAWAY on a stream": frame(w.GOAWAY, 0, 1, b"\0" * 8),
        "RST_STREAM of the connection": w.reset(0),
        "RST_STREAM of an idle stream": w.reset(1),
        "RST_STREAM of an even stream": _OPEN_BODY + w.reset(2),
        "PRIORITY of the connection": frame(w.PRIORITY, 0, 0, b"\0" * 5),
        "WINDOW_UPDATE of an idle stream": w.window(1, 1),
        "WINDOW_UPDATE of nothing for the connection": w.window(0, 0),
        "headers on stream 0": headers(w.GET, 0),
        "headers on an even stream": headers(w.GET, 2),
        "data on stream 0": data(b"a", 0),
        "data on an idle stream": data(b"a", 1),
        "data on an idle stream behind an open one": _OPEN_BODY + data(b"a", 3),
        "more padding than data": _OPEN_BODY + frame(w.DATA, w.PADDED, 1, b"\4abc"),
        "padding without its length": _OPEN_BODY + frame(w.DATA, w.PADDED, 1, b""),
        "more padding than headers": frame(w.HEADERS, 5 | w.PADDED, 1, b"\xff" + _BLOCK),
    }
    size = {
        "a frame longer than 16384 bytes": _OPEN_BODY + data(b"a" * 16385),
        "headers longer than 16384 bytes": frame(w.HEADERS, 5, 1, b"", length=16385),
        "a frame of 16 MiB": frame(w.DATA, 0, 1, b"", length=2**24 - 1),
        "PING of 7 bytes": frame(w.PING, payload=b"7 bytes"),
        "PING of 9 bytes": frame(w.PING, payload=b"9 bytes!!"),
        "GOAWAY of 7 bytes": frame(w.GOAWAY, payload=b"7 bytes"),
        "RST_STREAM of 3 bytes": _OPEN_BODY + frame(w.RST_STREAM, 0, 1, b"\0\0\0"),
        "PRIORITY of 4 bytes": frame(w.PRIORITY, 0, 1, b"\0" * 4),
        "WINDOW_UPDATE of 3 bytes": frame(w.WINDOW_UPDATE, 0, 0, b"\0\0\1"),
        "headers with half a priority": frame(w.HEADERS, 5 | w.WITH_PRIORITY, 1, b"\0" * 4),
    }
    return (*k.goaway(group, k.PROTOCOL, protocol), *k.goaway(group, k.SIZE, size))


def streams() -> tuple[Case, ...]:
    """Streams that are over, or not begun; windows."""
    group = "Streams and windows"
    return (
        Case(group, "a stream opened twice", _ONE * 2, ("200", f"GOAWAY {k.CLOSED}"), 1),
        Case(
            group,
            "a stream with a lower number than the last",
            headers(w.GET, 3) + _ONE,
            ("200", f"GOAWAY {k.CLOSED}"),
            1,
        ),
        Case(group, "data behind the end", _ONE + data(b"a"), ("200", f"GOAWAY {k.CLOSED}"), 1),
        Case(
            group,
            "data behind the end, before the answer",
            _HOLD + data(b"a"),
            (f"RST_STREAM {k.CLOSED}",),
            1,
        ),
        Case(group, "headers behind the end", _HOLD + _ONE, (f"GOAWAY {k.CLOSED}",), 1),
        Case(
            group,
            "data behind a reset of the client's own",
            _OPEN_BODY + w.reset(1) + data(b"a"),
            (f"GOAWAY {k.CLOSED}",),
        ),
        *k.goaway(
            group,
            k.FLOW,
            {"a window of the connection beyond 2147483647": w.window(0, 2**31 - 1)},
        ),
        Case(
            group,
            "a window of a stream beyond 2147483647",
            _HOLD + w.window(1, 2**31 - 1),
            (f"RST_STREAM {k.FLOW}",),
            1,
        ),
        Case(
            group,
            "WINDOW_UPDATE of nothing",
            _HOLD + w.window(1, 0),
            (f"RST_STREAM {k.PROTOCOL}",),
            1,
        ),
        Case(
            group,
            "a ninth stream where eight may be open",
            b"".join(headers(_HELD, n) for n in range(1, 19, 2)),
            ("RST_STREAM REFUSED_STREAM",),
            8,
        ),
    )


def floods() -> tuple[Case, ...]:
    """What only costs the server something."""
    group = "Floods"
    many = 5000
    resets = b"".join(headers(_HELD, n) + w.reset(n) for n in range(1, 2 * many, 2))
    cases = {
        "pings": frame(w.PING, payload=b"8 bytes!") * many,
        "acknowledged pings that nobody sent": frame(w.PING, 1, payload=b"8 bytes!") * many,
        "SETTINGS": w.settings() * many,
        "one SETTINGS of 2,000 values": frame(w.SETTINGS, payload=_SET * 2000),
        "PRIORITY": frame(w.PRIORITY, 0, 1, b"\0" * 5) * many,
        "frames of an unknown kind": frame(0x7F) * many,
        "GOAWAY": frame(w.GOAWAY, payload=b"\0" * 8) * many,
        "data without a byte": _OPEN_BODY + data(last=False) * many,
        "data that is padding": _OPEN_BODY + frame(w.DATA, w.PADDED, 1, b"\1\0") * many,
        "CONTINUATION without a byte": (
            frame(w.HEADERS, 1, 1, _BLOCK[:4]) + frame(w.CONTINUATION, 0, 1) * many
        ),
        "CONTINUATION without an end": (
            frame(w.HEADERS, 1, 1, _BLOCK) + frame(w.CONTINUATION, 0, 1, b"\0\1a\1b" * 3000) * 3
        ),
    }
    found = [Case(group, title, sent, (f"GOAWAY {k.CALM}",)) for title, sent in cases.items()]
    malformed = b"".join(headers(w.GET[1:], n) for n in range(1, 2 * many, 2))
    found.append(Case(group, "malformed requests", malformed, (f"GOAWAY {k.CALM}",), handled=-1))
    taken_back = "requests that are taken back at once"
    return (*found, Case(group, taken_back, resets, (f"GOAWAY {k.CALM}",), handled=-1))
