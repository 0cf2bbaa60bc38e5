"""The fields of a request's header block, held to the rules of RFC 9113 (8.2, 8.3), as a head."""

import re
from typing import Final

from modelworks.edge.head import CODINGS, HOST, Head, Refusal
from modelworks.edge.http2.frames import PROTOCOL_ERROR, StreamFault
from modelworks.edge.http2.hpack import Field
from modelworks.edge.limits import Limits
from modelworks.edge.trace import perhaps_sampled, request_id_of

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")
_TARGET: Final = re.compile(rb"[!-~]+")
_METHOD: Final = re.compile(rb"[A-Z][A-Z0-9_-]*")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS_NS: Final = {
    b"H": 3_600_000_000_000,
    b"M": 60_000_000_000,
    b"S": 1_000_000_000,
    b"m": 1_000_000,
    b"u": 1_000,
    b"n": 1,
}
_DIGITS: Final = 18
_GRPC: Final = b"application/grpc"
_PROTO: Final = frozenset({b"", b"+proto"})


class Opening:
    """What the headers of one stream say; read only, and shared by streams with the same ones.

    Attributes:
        head: of the request; `length` is 0 where none was said.
        sized: a length was said.
        grpc: it is a call of gRPC.
        timeout_us: of the call; 0 = none; -1 = it cannot be read.
        zipped: the call's messages may be compressed, with gzip.
        refused: the coding of the call's messages, which is not understood; or empty.
    """

    __slots__ = ("grpc", "head", "refused", "sized", "timeout_us", "zipped")

    def __init__(self, head: Head) -> None:
        """Sum up."""
        headers = head.headers
        kind = headers.get(b"content-type", b"")
        self.head = head
        self.sized = b"content-length" in headers
        self.grpc = False
        self.timeout_us = 0
        self.zipped = False
        self.refused = b""
        if kind.startswith(_GRPC):
            self._of_call(kind.partition(b";")[0].rstrip(b" ")[len(_GRPC) :])

    def _of_call(self, suffix: bytes) -> None:
        headers = self.head.headers
        if suffix and not suffix.startswith(b"+"):  # gRPC-Web, for one, is something else
            return
        self.grpc = True
        given = headers.get(b"grpc-timeout")
        if given is not None:
            match = _TIMEOUT.fullmatch(given)
            self.timeout_us = -1
            if match is not None:
                self.timeout_us = max(1, int(match[1]) * _UNITS_NS[match[2]] // 1000)
        coding = headers.get(b"grpc-encoding", b"identity")
        self.zipped = coding == b"gzip"
        if coding not in {b"identity", b"gzip"}:
            self.refused = coding
        elif suffix not in _PROTO:
            self.refused = _GRPC + suffix


def opening(fields: list[Field], limits: Limits) -> Opening:
    """Read a request's header block.

    Raises:
        StreamFault: it is malformed (RFC 9113, 8.1.1).
        Refusal: it is well-formed and not answered here: 400, 413, 414, 415, 417, 431, 501.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        if name.startswith(b":"):
            if headers or name in pseudo or name not in _PSEUDO:
                raise StreamFault(PROTOCOL_ERROR)
            pseudo[name] = value
        else:
            _add(headers, name, value)
    if len(fields) > limits.max_headers:
        raise Refusal(431, f"more than {limits.max_headers} headers")
    method = pseudo.get(b":method", b"")
    if method == b"CONNECT":
        raise Refusal(501, "CONNECT is not offered")
    path, query = _target(pseudo.get(b":path", b""), method, limits)
    if not pseudo.get(b":scheme") or _METHOD.fullmatch(method) is None:
        raise StreamFault(PROTOCOL_ERROR)
    _take_authority(headers, pseudo.get(b":authority"))
    coding = CODINGS.get(headers.get(b"content-encoding", b"").lower())
    if coding is None:
        raise Refusal(
            415,
            "Content-Encoding is not understood: send gzip, deflate or none",
            ((b"accept-encoding", b"gzip, deflate"),),
        )
    expect = headers.get(b"expect", b"").lower()
    if expect not in {b"", b"100-continue"}:
        raise Refusal(417, "the only expectation understood is 100-continue")
    return Opening(
        Head(
            method=method,
            path=path,
            query=query,
            headers=headers,
            length=_length(headers, limits),
            keep_alive=True,
            modern=True,
            expects=bool(expect),
            coding=coding,
            echo=bool(request_id_of(headers)),
            sampled=perhaps_sampled(headers),
        )
    )


def check_trailers(fields: list[Field]) -> None:
    """Fields behind a body: looked at, and not used.

    Raises:
        StreamFault: they are malformed.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        _add(headers, name, value)


def _add(headers: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    known = headers.get(name)
    if known is None:  # a name that is known was found good
        if _NAME.fullmatch(name) is None or name in _OF_CONNECTIONS:
            raise StreamFault(PROTOCOL_ERROR)
        if name == b"te" and value.lower() != b"trailers":
            raise StreamFault(PROTOCOL_ERROR)
    if _VALUE.fullmatch(value) is None or value.strip(b" \t") != value:
        raise StreamFault(PROTOCOL_ERROR)
    if known is None:
        headers[name] = value
    elif name in {b"host", b"content-length", b"te"}:
        raise StreamFault(PROTOCOL_ERROR)
    else:
        headers[name] = known + (b"; " if name == b"cookie" else b", ") + value


def _target(target: bytes, method: bytes, limits: Limits) -> tuple[bytes, bytes]:
    if _TARGET.fullmatch(target) is None:
        raise StreamFault(PROTOCOL_ERROR)
    if not target.startswith(b"/") and (target != b"*" or method != b"OPTIONS"):
        raise StreamFault(PROTOCOL_ERROR)
    if len(target) > limits.max_target_bytes:
        raise Refusal(414, f"request target longer than {limits.max_target_bytes} bytes")
    if b"#" in target:
        raise Refusal(400, "a request target has no fragment: leave out what begins with #")
    path, _, query = target.partition(b"?")
    return path, query


def _take_authority(headers: dict[bytes, bytes], authority: bytes | None) -> None:
    """Have it as `Host`, as requests of HTTP/1.1 do."""
    host = headers.get(b"host")
    if authority is None:
        authority = host
    if not authority or HOST.fullmatch(authority) is None:
        raise StreamFault(PROTOCOL_ERROR)
    if host is not None and host != authority:
        raise StreamFault(PROTOCOL_ERROR)
    headers[b"host"] = authority


def _length(headers: dict[bytes, bytes], limits: Limits) -> int:
    given = headers.get(b"content-length")
    if given is None:
        return 0
    if not given.isdigit():
        raise StreamFault(PROTOCOL_ERROR)
    if len(given) > _DIGITS or int(given) > limits.max_body_bytes:
        raise Refusal(413, f"body longer than {limits.max_body_bytes} bytes")
    return int(given)
