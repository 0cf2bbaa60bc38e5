"""Request lines and headers that are not HTTP/1.1, or are what no client needs."""

from exchanges.kinds import GET, POST, Bad, H

_CHARACTERS = "Line ends and characters"
_LINE = "The request line"
_HEADERS = "Headers with a meaning"


def characters() -> tuple[Bad, ...]:
    """What ends a line, and what may stand in one."""
    start = b"GET /ok HTTP/1.1\r\n"
    found = {
        "space before the colon": POST + b"Content-Length : 3\r\n\r\nabc",
        "folded header (obs-fold)": GET + b"X: b\r\n c\r\n\r\n",
        "header folded by a tab": GET + b"X: b\r\n\tc\r\n\r\n",
        "space before the first header": start + b" " + H + b"\r\n",
        "bare LF after the request line": b"GET /ok HTTP/1.1\nHost: a\r\n\r\n",
        "bare LF after a header": start + b"Host: a\nX: b\r\n\r\n",
        "bare LF everywhere": b"GET /ok HTTP/1.1\nHost: a\n\n",
        "bare LF before the empty line": GET + b"X: 1\n\r\n\r\n",
        "bare CR in a header": start + b"Host: a\rX: b\r\n\r\n",
        "bare CR in the request line": b"GET /ok\r HTTP/1.1\r\n" + H + b"\r\n",
        "CR CR LF": start + b"Host: a\r\r\n\r\n",
        "NUL in a value": GET + b"X: a\0b\r\n\r\n",
        "NUL in a name": GET + b"X\0: a\r\n\r\n",
        "NUL in the target": b"GET /o\0k HTTP/1.1\r\n" + H + b"\r\n",
        "NUL before the method": b"\0" + GET + b"\r\n",
        "control character in a value": GET + b"X: a\x01b\r\n\r\n",
        "DEL in a value": GET + b"X: a\x7fb\r\n\r\n",
        "bad character in a name": GET + b"X(y): 1\r\n\r\n",
        "space in a name": GET + b"X y: 1\r\n\r\n",
        "letters beyond ASCII in a name": GET + b"X\xc3\xa9: 1\r\n\r\n",
        "empty header name": GET + b": x\r\n\r\n",
        "header without a colon": GET + b"foo\r\n\r\n",
        "control character in the target": b"GET /o\x01k HTTP/1.1\r\n" + H + b"\r\n",
        "byte order mark first": b"\xef\xbb\xbf" + GET + b"\r\n",
        "LF first": b"\n" + GET + b"\r\n",
    }
    return tuple(Bad(_CHARACTERS, title, data, 400) for title, data in found.items())


def request_lines() -> tuple[Bad, ...]:
    """Other protocols, other versions, other targets."""
    end = b" HTTP/1.1\r\n" + H + b"\r\n"
    lines = {
        "no HTTP at all": (b"hello\r\n\r\n", 400),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        "binary": (bytes(range(128, 256)), 400),
        "SOCKS": (b"\x05\x01\x00", 400),
        "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
        "HTTP/0.9": (b"GET /ok\r\n\r\n", 400),
        "HTTP/2.0": (b"GET /ok HTTP/2.0\r\n" + H + b"\r\n", 505),
        "almost the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", 505),
        "the preface of HTTP/2 with a header": (b"PRI * HTTP/2.0\r\n" + H + b"\r\n", 505),
        "HTTP/1.2": (b"GET /ok HTTP/1.2\r\n" + H + b"\r\n", 505),
        "HTTP/1.10": (b"GET /ok HTTP/1.10\r\n" + H + b"\r\n", 505),
        "HTTP/01.1": (b"GET /ok HTTP/01.1\r\n" + H + b"\r\n", 505),
        "HTTP/1": (b"GET /ok HTTP/1\r\n" + H + b"\r\n", 505),
        "http/1.1 in small letters": (b"GET /ok http/1.1\r\n" + H + b"\r\n", 400),
        "RTSP": (b"DESCRIBE /ok RTSP/1.0\r\n" + H + b"\r\n", 400),
        "two spaces": (b"GET  /ok" + end, 400),
        "a space behind the version": (b"GET /ok HTTP/1.1 \r\n" + H + b"\r\n", 400),
        "a space before the method": (b" " + GET + b"\r\n", 400),
        "space in the target": (b"GET /o k" + end, 400),
        "tabs": (b"GET\t/ok\tHTTP/1.1\r\n" + H + b"\r\n", 400),
        "no target": (b"GET" + end, 400),
        "lower-case method": (b"get /ok" + end, 400),
        "unknown method": (b"FOO /ok" + end, 501),
        "method with a digit": (b"GE7 /ok" + end, 501),
        "CONNECT": (b"CONNECT a:1" + end, 501),
        "fragment": (b"GET /ok#x" + end, 400),
        "relative target": (b"GET ok" + end, 400),
        "another scheme": (b"GET ftp://a/ok" + end, 400),
        "a scheme without a host": (b"GET http:///ok" + end, 400),
        "a scheme alone": (b"GET http://" + end, 400),
        "the star of another method than OPTIONS": (b"GET *" + end, 400),
        "another request behind an error": (b"NONSENSE\r\n\r\n" + GET + b"\r\n", 400),
    }
    return tuple(Bad(_LINE, title, data, status) for title, (data, status) in lines.items())


def headers() -> tuple[Bad, ...]:
    """Host, Expect, Upgrade."""
    start = b"GET /ok HTTP/1.1\r\n"
    wait = b"Content-Length: 3\r\n\r\nabc"
    found = {
        "no host": (start + b"\r\n", 400),
        "two hosts": (GET + b"Host: b\r\n\r\n", 400),
        "two equal hosts": (GET + H + b"\r\n", 400),
        "a host with a space": (start + b"Host: a b\r\n\r\n", 400),
        "a host with a path": (start + b"Host: a/b\r\n\r\n", 400),
        "a host with a user": (start + b"Host: u@a\r\n\r\n", 400),
        "a host beyond ASCII": (start + b"Host: \xc3\xa9\r\n\r\n", 400),
        "unknown expectation": (POST + b"Expect: magic\r\n" + wait, 417),
        "two expectations": (POST + b"Expect: 100-continue, magic\r\n" + wait, 417),
        "the expectation twice": (POST + b"Expect: 100-continue\r\n" * 2 + wait, 417),
        "websocket": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
        "upgrade to TLS": (GET + b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", 501),
        "upgrade to HTTP/2 by its other name": (
            GET + b"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n",
            501,
        ),
        "two upgrades": (GET + b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n", 501),
    }
    return tuple(Bad(_HEADERS, title, data, status) for title, (data, status) in found.items())
