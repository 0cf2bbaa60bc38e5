"""What a client sends on a connection of HTTP/2: frames out of bytes, streams opened and fed."""

from time import monotonic
from typing import Final

from modelworks.edge.head import Refusal
from modelworks.edge.http2.control import Control
from modelworks.edge.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    LARGEST_WINDOW,
    PADDED,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    WITH_PRIORITY,
    Fault,
    StreamFault,
    unpadded,
    window_update,
)
from modelworks.edge.http2.grpc import Call
from modelworks.edge.http2.hpack import Decoder
from modelworks.edge.http2.opening import Opening, check_trailers, opening
from modelworks.edge.http2.requests import EDGE_HEAD, RequestStream
from modelworks.edge.http2.stream import Session

WINDOW: Final = 16 << 20
"""Bytes that a client may send on all streams together before we grant more."""
_KNOWN: Final = 128  # header blocks that are not read again
_KNOWN_BYTES: Final = 512
_EDGE_OPENING: Final = Opening(EDGE_HEAD)


class Reader:
    """Of one connection.

    Attributes:
        closing: no new stream is taken.
    """

    __slots__ = (
        *("_block", "_block_bytes", "_block_flags", "_block_of", "_buffer", "_control"),
        *("_decoder", "_grant", "_known", "_preface", "_session", "_since", "closing"),
    )

    def __init__(self, session: Session, control: Control) -> None:
        """Nothing has come."""
        self._session = session
        self._control = control
        self.closing = False
        self._preface = True  # it is still to come
        self._buffer = b""  # an unfinished frame
        self._block: list[bytes] = []  # of an unfinished header block
        self._block_bytes = 0  # of it so far: counted as it comes, frames may have a byte each
        self._block_of = 0  # its stream; 0 = there is none
        self._block_flags = 0
        self._since = session.hub.now  # when the unfinished frame or block began
        self._decoder = Decoder(session.hub.limits.max_header_bytes)
        self._known: dict[bytes, Opening] = {}
        self._grant = WINDOW  # bytes that we let the client send

    @property
    def between(self) -> bool:
        """Nothing of a frame or a header block is here."""
        return not (self._buffer or self._block_of)

    def late(self, now: float) -> bool:
        """Whether an unfinished frame or header block takes too long."""
        limits = self._session.hub.limits
        if self._block_of:
            return now - self._since > limits.header_timeout_s
        buffer = self._buffer
        body = len(buffer) > 3 and buffer[3] == DATA
        patience = limits.body_timeout_s if body else limits.header_timeout_s
        return bool(buffer) and now - self._since > patience

    def drop(self) -> None:
        """Keep nothing."""
        self._buffer = b""
        self._block = []
        self._block_of = 0

    def feed(self, data: bytes) -> None:
        """Bytes of frames.

        Raises:
            Fault: the connection is at an end.
        """
        buffer = self._buffer
        if not buffer:
            self._frames(data, 0)
            return
        self._buffer = b""
        missing = HEAD_BYTES + int.from_bytes(buffer[:3], "big") - len(buffer)
        if self._preface or len(buffer) < HEAD_BYTES or not 0 < missing <= len(data):
            self._frames(buffer + data, 0, begun=True)
        else:  # the frame that has begun is put together, and the rest not copied
            self._frames(buffer + data[:missing], 0)
            self._frames(data, missing)

    def _frames(  # noqa: C901 - one loop over frames
        self, data: bytes, position: int, *, begun: bool = False
    ) -> None:
        """Take the frames from `position` on; `begun` = the first one was not whole before."""
        if self._preface:
            position = self._skip_preface(data)
        size = len(data)
        if position < 0:
            self._buffer = data
            return
        while size - position >= HEAD_BYTES:
            high, low, kind, flags, number = HEAD.unpack_from(data, position)
            length: int = high << 8 | low
            begin: int = position + HEAD_BYTES
            if length > FRAME_BYTES:
                raise Fault(FRAME_SIZE_ERROR, f"a frame of more than {FRAME_BYTES} bytes")
            if begin + length > size:
                break
            position = begin + length
            number &= LARGEST_WINDOW  # the first bit means nothing
            if self._block_of:
                self._continue(kind, flags, number, data[begin:position])
            elif kind == DATA:
                self._data(flags, number, data[begin:position])
            elif kind == HEADERS and self._control.settled:
                self._headers(flags, number, data[begin:position])
            else:
                self._control.take(kind, flags, number, data[begin:position])
        if position < size:
            if not self._block_of and (position or not begun):
                self._since = self._session.hub.now
            self._buffer = data[position:] if position else data

    def _skip_preface(self, data: bytes) -> int:
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise Fault(PROTOCOL_ERROR, "malformed connection preface")
        if len(data) < len(PREFACE):
            return -1
        self._preface = False
        return len(PREFACE)

    # -- bodies

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        session = self._session
        stream = session.streams.get(number)
        length = len(payload)
        self._grant -= length
        if self._grant < WINDOW // 2:  # so it is never overdrawn, by less than half of it at once
            session.write(window_update(0, WINDOW - self._grant))
            self._grant = WINDOW
        if stream is None or stream.ended:
            self._stray(number)
            return
        if length > stream.grant:
            session.end(number, FLOW_CONTROL_ERROR)
            return
        stream.grant -= length
        last = bool(flags & END_STREAM)
        if flags & PADDED:
            payload = unpadded(payload)
        if not payload and not last:
            self._control.spend(1)
        try:
            stream.take(payload, last=last)
        except StreamFault as fault:
            session.end(number, fault.code)
            return
        if not last and number in session.streams:
            stream.regrant()

    def _stray(self, number: int) -> None:
        """DATA on a stream that is not open."""
        session = self._session
        if not self._control.settled or not number & 1 or number > session.last:
            raise Fault(PROTOCOL_ERROR, "DATA on an idle stream")
        if number in session.streams:
            session.end(number, STREAM_CLOSED)
        elif number not in session.quiet:
            raise Fault(STREAM_CLOSED, "DATA on a closed stream")
        self._control.spend(1)

    # -- header blocks

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise Fault(PROTOCOL_ERROR, "HEADERS on a stream that no client may open")
        if flags & (PADDED | WITH_PRIORITY):
            if flags & PADDED:
                payload = unpadded(payload)
            if flags & WITH_PRIORITY:
                if len(payload) < 5:
                    raise Fault(FRAME_SIZE_ERROR, "HEADERS without room for their priority")
                payload = payload[5:]
        if flags & END_HEADERS:
            self._open(number, payload, last=bool(flags & END_STREAM))
            return
        self._block_of, self._block_flags, self._block = number, flags, [payload]
        self._block_bytes = len(payload)
        self._since = monotonic()

    def _continue(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind != CONTINUATION or number != self._block_of:
            raise Fault(PROTOCOL_ERROR, "a header block was not continued")
        self._block.append(payload)
        self._block_bytes += len(payload)
        most = self._session.hub.limits.max_header_bytes
        if self._block_bytes > most:
            raise Fault(ENHANCE_YOUR_CALM, f"a header block of more than {most} bytes")
        if not payload:
            self._control.spend(1)
        if flags & END_HEADERS:
            block, self._block, self._block_of = b"".join(self._block), [], 0
            self._open(number, block, last=bool(self._block_flags & END_STREAM))

    def _open(self, number: int, block: bytes, *, last: bool) -> None:
        """A whole header block: of a new stream, or behind the body of an open one."""
        session = self._session
        if number <= session.last:
            self._trailers(number, block, last=last)
            return
        session.last = number
        known, refusal = self._known.get(block), None
        try:
            if known is None:
                known = self._read(block)
        except StreamFault as fault:
            self._control.spend(1)
            session.end(number, fault.code)
            return
        except Refusal as found:
            known, refusal = _EDGE_OPENING, found
        if self.closing or len(session.streams) >= self._session.hub.limits.max_streams:
            self._control.spend(1)
            session.end(number, REFUSED_STREAM)
        elif refusal is not None:
            self._control.spend(1)
            refused = RequestStream(session, number, known)
            session.streams[number] = refused  # its answer may have to wait for room
            refused.ended = last
            refused.refuse(refusal)
        elif known.grpc and known.head.method == b"POST":
            call = Call(session, number, known)
            session.streams[number] = call
            call.begin(last=last)
        else:
            stream = RequestStream(session, number, known)
            session.streams[number] = stream
            try:
                stream.begin(last=last)
            except StreamFault as fault:
                session.end(number, fault.code)

    def _read(self, block: bytes) -> Opening:
        """What a header block says.

        Raises:
            StreamFault, Refusal: see `opening`.
        """
        decoder, limits = self._decoder, self._session.hub.limits
        fields = decoder.read(block)
        if decoder.changed:
            self._known.clear()
        if decoder.oversized:
            raise Refusal(431, f"headers larger than {limits.max_header_bytes} bytes")
        found = opening(fields, limits)
        if not decoder.changed and len(block) <= _KNOWN_BYTES:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[block] = found
        return found

    def _trailers(self, number: int, block: bytes, *, last: bool) -> None:
        session = self._session
        stream = session.streams.get(number)
        fields = self._decoder.read(block)
        if self._decoder.changed:
            self._known.clear()
        if stream is None or stream.ended:
            if number in session.quiet:
                self._control.spend(1)
                return
            raise Fault(STREAM_CLOSED, "HEADERS on a closed stream")
        if not last:
            session.end(number, PROTOCOL_ERROR)
            return
        try:
            check_trailers(fields)
            stream.take(b"", last=True)
        except StreamFault as fault:
            session.end(number, fault.code)
