"""The head of one request: parsed by llhttp, then held to the rules that llhttp leaves open.

Pure: bytes to `Head` or `Refusal`. llhttp (strict mode, through httptools) already refuses bare
LF, obsolete folding, white space before the colon, control characters in values, a
Content-Length that is no number, that is repeated, or that stands beside Transfer-Encoding. What
it lets through and is refused here: transfer codings before `chunked`, chunked on HTTP/1.0,
HTTP/2.0 and RTSP request lines, two spaces in the request line, fragments, a missing or repeated
Host, CONNECT, protocol upgrades.
"""

import re
from dataclasses import dataclass, field

import httptools

from modelworks.edge.limits import Limits
from modelworks.edge.trace import perhaps_sampled, request_id_of

HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_SCHEME = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]*")
_LINE_PARTS = 3
_new = object.__new__  # a head made from another needs no summing up
CODINGS = {b"": "", b"identity": "", b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}


class Refusal(Exception):  # noqa: N818 - an answer to a client, not a fault of ours
    """The edge answers this request itself.

    Args:
        status: HTTP status.
        message: one line for the client.
        headers: of the answer.
    """

    def __init__(
        self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


@dataclass(slots=True)
class Head:
    """A request's line and headers, and what they say about its framing; read only.

    Not frozen: that would take five times as long to make, and a client that traces needs a new
    one for every request.

    Attributes:
        method: upper case.
        path: raw, still percent-encoded, beginning with a slash (or `*`).
        query: raw, without the question mark.
        headers: lower-case names; values of a repeated header joined by `, `.
        length: Content-Length; 0 without one; -1 when the body is chunked.
        keep_alive: the connection may serve another request afterwards.
        modern: HTTP/1.1; False is HTTP/1.0.
        expects: `Expect: 100-continue`.
        coding: `gzip`, `deflate`, or empty.
        echo: the answer repeats the request's `X-Request-Id`.
        sampled: the caller keeps a trace of it, as far as its flags say.
        usual: the length of its body is known, and neither it nor its answer needs any thought.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    length: int
    keep_alive: bool
    modern: bool
    expects: bool
    coding: str
    echo: bool = False
    sampled: bool = False
    usual: bool = field(init=False)

    def __post_init__(self) -> None:
        """Sum up."""
        special = self.coding or self.echo or self.sampled or self.length < 0
        special = special or self.method == b"HEAD"
        self.usual = self.modern and self.keep_alive and not special

    def with_values(self, headers: dict[bytes, bytes], length: int) -> "Head":
        """The same with other values of its headers, and another length where it has one."""
        made = _new(Head)
        made.method = self.method
        made.path = self.path
        made.query = self.query
        made.headers = headers
        made.length = length
        made.keep_alive = self.keep_alive
        made.modern = self.modern
        made.expects = self.expects
        made.coding = self.coding
        made.echo = self.echo
        made.sampled = self.sampled
        made.usual = self.usual
        return made


class _Collector:
    """Receives llhttp's callbacks for one head."""

    __slots__ = ("complete", "count", "headers", "hosts", "limit", "target")

    def __init__(self, limit: int) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.target = b""
        self.count = 0
        self.hosts = 0
        self.limit = limit
        self.complete = False

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        if self.count > self.limit:
            return
        name = name.lower()
        value = value.strip(b" \t")
        if name == b"host":
            self.hosts += 1
        known = self.headers.get(name)
        self.headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_head(raw: bytes, limits: Limits) -> Head:
    """Parse one head.

    Args:
        raw: from the first byte of the request line to the empty line, both included.
        limits: `max_headers`, `max_target_bytes`, `max_body_bytes` are applied here.

    Raises:
        Refusal: anything that is not a plain HTTP/1.0 or 1.1 request within the limits.
    """
    line = raw[: raw.index(b"\r\n")]
    modern = _check_line(line, limits)
    collector = _Collector(limits.max_headers)
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # the headers are complete; `_check_upgrade` decides
    except httptools.HttpParserInvalidMethodError as error:
        raise Refusal(501, "unknown HTTP method") from error
    except httptools.HttpParserError as error:
        if not collector.complete:
            raise Refusal(400, f"malformed HTTP request: {error}") from error
        # Framing that llhttp rejects after the headers: only a Transfer-Encoding does that.
    if not collector.complete:
        raise Refusal(400, "malformed HTTP request: the headers have no end")
    if collector.count > limits.max_headers:
        raise Refusal(431, f"more than {limits.max_headers} headers")
    return _build(parser.get_method(), modern, collector, limits)


def check_partial(data: bytes, limits: Limits) -> None:
    """Refuse a beginning that can never become a head, without waiting for its end.

    Args:
        data: from the first byte of the request line, without its end so far.
        limits: `max_header_bytes` and `max_target_bytes` are applied here.

    Raises:
        Refusal: no HTTP, bare LF, or too large already.
    """
    if not 65 <= data[0] <= 90:  # methods are upper-case letters
        tls = data[0] == 22  # the first byte of a TLS handshake
        raise Refusal(400, "this port speaks plain HTTP" if tls else "malformed HTTP request")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise Refusal(400, "malformed HTTP request: lines end in CR LF")
    if b"\r" not in data and len(data) > limits.max_target_bytes + 32:
        raise Refusal(414, f"request target longer than {limits.max_target_bytes} bytes")
    if len(data) > limits.max_header_bytes:
        raise Refusal(431, f"headers larger than {limits.max_header_bytes} bytes")


def _check_line(line: bytes, limits: Limits) -> bool:
    """Whether the request line is of HTTP/1.1."""
    parts = line.split(b" ")
    if len(parts) == _LINE_PARTS and len(parts[1]) > limits.max_target_bytes:
        raise Refusal(414, f"request target longer than {limits.max_target_bytes} bytes")
    if len(parts) != _LINE_PARTS or not parts[1] or _METHOD.fullmatch(parts[0]) is None:
        raise Refusal(400, "malformed request line: METHOD TARGET HTTP/1.1 is wanted")
    if parts[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:
        status = 505 if parts[2].startswith(b"HTTP/") else 400
        raise Refusal(status, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return parts[2] == b"HTTP/1.1"


def _build(method: bytes, modern: bool, collector: _Collector, limits: Limits) -> Head:  # noqa: FBT001 - a fact of the line, named in Head
    headers = collector.headers
    if method == b"CONNECT":
        raise Refusal(501, "CONNECT is not offered")
    if modern and collector.hosts == 0:
        raise Refusal(400, "HTTP/1.1 needs a Host header")
    if collector.hosts > 1 or HOST.fullmatch(headers.get(b"host", b"")) is None:
        raise Refusal(400, "malformed or repeated Host header")
    upgrade = headers.get(b"upgrade")
    if upgrade is not None and upgrade.lower() != b"h2c":
        # RFC 9110, 7.8 allows to go on in HTTP/1.1; only for h2c, which some clients (Java's)
        # send with every first request, is that what the client wants.
        raise Refusal(501, "protocol upgrades are not offered: leave the Upgrade header out")
    path, query = _target(collector.target, method)
    tokens = {part.strip(b" \t") for part in headers.get(b"connection", b"").lower().split(b",")}
    keep = b"close" not in tokens and (modern or b"keep-alive" in tokens)
    coding = CODINGS.get(headers.get(b"content-encoding", b"").lower())
    if coding is None:
        raise Refusal(
            415,
            "Content-Encoding is not understood: send gzip, deflate or none",
            ((b"Accept-Encoding", b"gzip, deflate"),),
        )
    return Head(
        method=method,
        path=path,
        query=query,
        headers=headers,
        length=_length(headers, limits, modern=modern),
        keep_alive=keep,
        modern=modern,
        expects=_expects(headers, modern=modern),
        coding=coding,
        echo=bool(request_id_of(headers)),
        sampled=perhaps_sampled(headers),
    )


def _target(target: bytes, method: bytes) -> tuple[bytes, bytes]:
    if b"#" in target:
        raise Refusal(400, "a request target has no fragment: leave out what begins with #")
    if not target.startswith(b"/") and (target != b"*" or method != b"OPTIONS"):
        match = _SCHEME.match(target)
        if match is None:
            raise Refusal(400, "malformed request target: it begins with a slash")
        target = target[match.end() :]
        target = target if target.startswith(b"/") else b"/" + target
    path, _, query = target.partition(b"?")
    return path, query


def _length(headers: dict[bytes, bytes], limits: Limits, *, modern: bool) -> int:
    codings = headers.get(b"transfer-encoding")
    if codings is not None:
        if not modern:
            raise Refusal(400, "HTTP/1.0 has no Transfer-Encoding: send a Content-Length")
        if b"content-length" in headers:
            raise Refusal(400, "Content-Length and Transfer-Encoding together")
        if codings.lower() != b"chunked":
            raise Refusal(501, "the only Transfer-Encoding understood is chunked")
        return -1
    # llhttp has seen to it that this is digits only; Python's own limit on digits is far above.
    length = int(headers.get(b"content-length", b"0"))
    if length > limits.max_body_bytes:
        raise Refusal(413, f"body longer than {limits.max_body_bytes} bytes")
    return length


def _expects(headers: dict[bytes, bytes], *, modern: bool) -> bool:
    expect = headers.get(b"expect")
    if expect is None or not modern:  # RFC 9110, 10.1.1: of HTTP/1.0 it is ignored
        return False
    if expect.lower() != b"100-continue":
        raise Refusal(417, "the only expectation understood is 100-continue")
    return True
