"""A client of HTTP/2 that can write anything: frames by hand, header blocks by another library."""

import contextlib
import socket
import struct
from typing import NamedTuple

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
CODES = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT"),
    *("STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR"),
    *("CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
)
GET = (*((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/ok"), (b":authority", b"a")),)
POST = ((b":method", b"POST"), *GET[1:])
LAST_WORD = b"the end!"


class Frame(NamedTuple):
    """As it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind, flags=0, stream=0, payload=b"", length=None) -> bytes:
    """Any frame; its length may lie."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">L", stream) + payload


def block(fields) -> bytes:
    """A header block that leaves the table alone, letter by letter as the fields are."""
    out = b""
    for name, value in fields:
        out += b"\0"
        for text in (name, value):
            size, more = len(text), b""
            if size >= 127:
                rest = size - 127
                while rest >= 128:
                    more += bytes((rest % 128 + 128,))
                    rest //= 128
                more += bytes((rest,))
                size = 127
            out += bytes((size,)) + more + text
    return out


def headers(fields, stream=1, *, last=True) -> bytes:
    """A request's headers, in as many frames as they need."""
    whole = block(fields)
    parts = [whole[i : i + 16384] for i in range(0, len(whole), 16384)] or [b""]
    out = b""
    for i, part in enumerate(parts):
        flags = END_HEADERS if i == len(parts) - 1 else 0
        if i:
            out += frame(CONTINUATION, flags, stream, part)
        else:
            out += frame(HEADERS, flags | (END_STREAM if last else 0), stream, part)
    return out


def data(body=b"", stream=1, *, last=True) -> bytes:
    """A piece of a body."""
    return frame(DATA, END_STREAM if last else 0, stream, body)


def settings(*values) -> bytes:
    """SETTINGS."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HL", *value) for value in values))


def window(stream, more) -> bytes:
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", more))


def reset(stream, code=8) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def message(body, flag=0) -> bytes:
    """One of gRPC, with its prefix."""
    return bytes((flag,)) + struct.pack(">L", len(body)) + body


CALL = (
    *POST[:2],
    *((b":path", b"/x.X/Unary"), (b":authority", b"a"), (b"te", b"trailers")),
    (b"content-type", b"application/grpc"),
)
OPEN = PREFACE + settings()


def call_of(method, *further):
    """The headers of a call."""
    path = (b":path", b"/x.X/" + method)
    return (*CALL[:2], path, *CALL[3:], *further)


WIDE = PREFACE + settings((4, 2**31 - 1)) + window(0, 2**31 - 1 - 65535)
"""A beginning that lets the server send what it likes."""


class Wire:
    """One connection.

    Attributes:
        events: what happened so far, in words.
        bodies: of the answers, by stream.
        fields: of the answers, by stream; trailers behind headers.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.events: list[str] = []
        self.bodies: dict[int, bytes] = {}
        self.fields: dict[int, list[tuple[str, str]]] = {}
        self.ended: set[int] = set()
        self.frames: list[Frame] = []
        self._decoder = hpack.Decoder()
        self._buffer = b""
        self._block = b""
        self.over = False

    def send(self, bytes_: bytes, pieces: int = 1) -> None:
        step = max(1, -(-len(bytes_) // pieces))
        with contextlib.suppress(ConnectionError):
            for i in range(0, len(bytes_), step):
                self.sock.sendall(bytes_[i : i + step])

    def read(self) -> Frame | None:
        """The next frame; None at the end."""
        while len(self._buffer) < 9 or len(self._buffer) < 9 + self._size():
            try:
                more = self.sock.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                self.over = True
                return None
            self._buffer += more
        size = self._size()
        head, rest = self._buffer[:9], self._buffer[9:]
        payload, self._buffer = rest[:size], rest[size:]
        found = Frame(head[3], head[4], struct.unpack(">L", head[5:])[0], payload)
        self._take(found)
        return found

    def _size(self) -> int:
        return int.from_bytes(self._buffer[:3], "big")

    def _take(self, found: Frame) -> None:
        self.frames.append(found)
        kind, flags, stream, payload = found
        if kind == GOAWAY:
            code = CODES[struct.unpack(">L", payload[4:8])[0]]
            self.events.append(f"GOAWAY {code}")
        elif kind == RST_STREAM:
            self.events.append(f"RST_STREAM {CODES[struct.unpack('>L', payload)[0]]}")
            self.ended.add(stream)
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
        elif kind in {HEADERS, CONTINUATION}:
            self._block += payload
            if flags & END_HEADERS:
                given = [_text(pair) for pair in self._decoder.decode(self._block, raw=True)]
                self._block = b""
                self.fields.setdefault(stream, []).extend(given)
                for name, value in given:
                    if name == ":status" and dict(given).get("content-type") != "application/grpc":
                        self.events.append(value)
                    elif name == "grpc-status":
                        self.events.append(f"gRPC {value}")
        if kind in {HEADERS, DATA} and flags & END_STREAM:
            self.ended.add(stream)

    def until(self, condition) -> None:
        """Read on until it holds."""
        while not condition():
            assert self.read() is not None, f"closed after {self.events[-5:]}"

    def answer(self, stream=1) -> bytes:
        """The body of an answer that is awaited to its end."""
        self.until(lambda: stream in self.ended)
        return self.bodies.get(stream, b"")

    def rest(self) -> list[str]:
        """What happens until everything sent so far has been looked at, or to the end."""
        self.send(frame(PING, payload=LAST_WORD))
        while True:
            found = self.read()
            if found is None:
                return self.events
            if found.kind == PING and found.flags & ACK and found.payload == LAST_WORD:
                return self.events


def _text(pair) -> tuple[str, str]:
    return pair[0].decode(), pair[1].decode()
