"""Frames that carry no request: settings, windows, pings, resets; how many a client may send."""

from modelworks.edge.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    MAX_FRAME_SIZE,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Fault,
    frame,
    number,
    settings_of,
)
from modelworks.edge.http2.stream import Session

_LARGEST_SENT = 64 * 1024  # bytes of a frame that we send, whatever the client takes


class Control:
    """Of one connection.

    Attributes:
        settled: the client's first SETTINGS have come; nothing else may come before.
        leaving: the client said that it opens no more streams.
    """

    __slots__ = ("_session", "leaving", "settled")

    def __init__(self, session: Session) -> None:
        """Made with the connection."""
        self._session = session
        self.settled = False
        self.leaving = False

    def spend(self, cost: int) -> None:
        """The client sent what only costs us something.

        Raises:
            Fault: it has sent too much of that.
        """
        self._session.patience -= cost
        if self._session.patience < 0:
            raise Fault(ENHANCE_YOUR_CALM, "too many resets, pings or empty frames")

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """One frame.

        Raises:
            Fault: it is malformed, at the wrong place, or one too many.
        """
        if kind == SETTINGS:
            self._settings(flags, stream, payload)
        elif not self.settled:
            raise Fault(PROTOCOL_ERROR, "SETTINGS come first")
        elif kind == WINDOW_UPDATE:
            self._window(stream, payload)
        elif kind == PING:
            self._ping(flags, stream, payload)
        elif kind == RST_STREAM:
            self._reset(stream, payload)
        elif kind == GOAWAY:
            if stream or len(payload) < 8:
                raise Fault(PROTOCOL_ERROR if stream else FRAME_SIZE_ERROR, "malformed GOAWAY")
            self.leaving = True
            self.spend(1)
        elif kind == PRIORITY:
            self._priority(stream, payload)
        elif kind in {PUSH_PROMISE, CONTINUATION, HEADERS, DATA}:
            raise Fault(PROTOCOL_ERROR, "a frame at the wrong place")
        else:
            self.spend(1)  # RFC 9113, 4.1: unknown ones are ignored

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        session = self._session
        if stream:
            raise Fault(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise Fault(FRAME_SIZE_ERROR, "SETTINGS that acknowledge hold nothing")
            if not self.settled:
                raise Fault(PROTOCOL_ERROR, "SETTINGS come first")
            return
        values = settings_of(payload)
        if self.settled:
            self.spend(1 + len(values))
        self.settled = True
        session.write(frame(SETTINGS, ACK, 0, b""))
        self._follow(values)

    def _follow(self, values: list[tuple[int, int]]) -> None:
        session = self._session
        for name, value in values:
            if name == HEADER_TABLE_SIZE:
                session.resize(value)
            elif name == ENABLE_PUSH and value > 1:
                raise Fault(PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            elif name == INITIAL_WINDOW_SIZE:
                self._first_window(value)
            elif name == MAX_FRAME_SIZE:
                if not FRAME_BYTES <= value <= LARGEST_FRAME:
                    raise Fault(PROTOCOL_ERROR, "MAX_FRAME_SIZE is 16384 to 16777215")
                session.frame_bytes = min(value, _LARGEST_SENT)

    def _first_window(self, value: int) -> None:
        """The windows of open streams change by as much (6.9.2), and may be below zero then."""
        session = self._session
        if value > LARGEST_WINDOW:
            raise Fault(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE beyond 2147483647")
        more = value - session.first_window
        session.first_window = value
        for stream in list(session.streams.values()):
            stream.window += more
            if stream.window > LARGEST_WINDOW:
                raise Fault(FLOW_CONTROL_ERROR, "a stream's window beyond 2147483647")
            if more > 0:
                session.move(stream)

    def _window(self, stream: int, payload: bytes) -> None:
        session = self._session
        if len(payload) != 4:
            raise Fault(FRAME_SIZE_ERROR, "malformed WINDOW_UPDATE")
        more = number(payload)
        if not stream:
            full = session.window <= 0
            session.window += more
            if not more or session.window > LARGEST_WINDOW:
                code = FLOW_CONTROL_ERROR if more else PROTOCOL_ERROR
                raise Fault(code, "a window of the connection that is none")
            if full:  # else it is their own windows that streams wait for: nothing to look through
                session.pump()
            return
        found = session.streams.get(stream)
        if found is None:
            if not stream & 1 or stream > session.last:
                raise Fault(PROTOCOL_ERROR, "WINDOW_UPDATE of an idle stream")
            return
        found.window += more
        if not more or found.window > LARGEST_WINDOW:
            session.end(stream, FLOW_CONTROL_ERROR if more else PROTOCOL_ERROR)
            return
        session.move(found)

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Fault(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise Fault(FRAME_SIZE_ERROR, "PING is 8 bytes")
        self.spend(1)
        if not flags & ACK:
            self._session.write(frame(PING, ACK, 0, payload))

    def _reset(self, stream: int, payload: bytes) -> None:
        session = self._session
        if len(payload) != 4:
            raise Fault(FRAME_SIZE_ERROR, "malformed RST_STREAM")
        if not stream & 1 or stream > session.last:
            raise Fault(PROTOCOL_ERROR, "RST_STREAM of an idle stream")
        self.spend(1)
        session.lose(stream)

    def _priority(self, stream: int, payload: bytes) -> None:
        """Looked at, and not gone by (5.3.2)."""
        if not stream:
            raise Fault(PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5:
            raise Fault(FRAME_SIZE_ERROR, "PRIORITY is 5 bytes")
        self.spend(1)
