"""What the streams of one connection share, and what each of them is: windows, and what waits.

Header blocks must leave in the order in which they were written, for each may change the client's
table: so they are written when they leave, trailers too, which may wait behind a body.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from time import perf_counter_ns
from typing import Final

from modelworks.edge.head import Head
from modelworks.edge.http2.frames import (
    DATA,
    END_STREAM,
    FIRST_WINDOW,
    HEAD,
    NO_ERROR,
    reset,
    window_update,
)
from modelworks.edge.http2.hpack import Field
from modelworks.edge.http2.outlet import Outlet
from modelworks.edge.hub import Hub
from modelworks.edge.journal import HTTP2, Journal

STREAM_WINDOW: Final = 1 << 20
"""Bytes that a client may send on a stream before we grant more."""
PATIENCE: Final = 1000
"""Frames that only cost us something, of which a client has so many to spend."""
_EARNED: Final = 2  # by a stream that was answered
_KEPT: Final = 256  # ids of streams that we ended


class Session(Outlet):
    """One connection, as its streams see it: what is sent, and how much may be.

    Attributes:
        hub: of the listener.
        streams: open ones, by id.
        quiet: ids of streams that we ended before the client did: what it still sends is no error.
        last: the highest id that the client has opened.
        window: bytes of bodies that the client lets us send.
        first_window: the same, of a new stream.
        open: the transport takes more.
        patience: what is left of it.
        journal: where answers are noted; None = nowhere.
        client: address, or `unix`.
    """

    __slots__ = (
        *("_blocked", "client", "first_window", "hub", "journal", "last", "open", "patience"),
        *("quiet", "streams", "window"),
    )

    def __init__(self, hub: Hub, transport: asyncio.Transport, journal: Journal | None) -> None:
        """Made with the connection."""
        super().__init__(hub.loop, transport)
        self.hub = hub
        self.journal = journal
        self.client = "unix"
        self.streams: dict[int, Stream] = {}
        self.quiet: dict[int, None] = {}
        self.last = 0
        self.window = FIRST_WINDOW
        self.first_window = FIRST_WINDOW
        self.open = True
        self.patience = PATIENCE
        self._blocked: dict[int, Stream] = {}

    # -- windows

    def wait(self, stream: "Stream") -> None:
        """The stream has something that may not be sent yet."""
        if stream.id not in self._blocked:
            self._blocked[stream.id] = stream
            stream.stuck_since = self.hub.now

    def pump(self) -> None:
        """Send what may be sent now, of each stream that waits in turn."""
        moved, blocked = True, self._blocked
        while moved and blocked and self.open:
            moved = False
            for stream in list(blocked.values()):
                if self.window <= 0:  # whose turn it is has it when there is room again
                    return
                if stream.pump(1):
                    moved = True
                    stream.stuck_since = self.hub.now
                    if stream.id in blocked:
                        blocked[stream.id] = blocked.pop(stream.id)
                if not stream.waits():
                    blocked.pop(stream.id, None)

    def move(self, stream: "Stream") -> None:
        """The client grants more of one stream."""
        if stream.waits():
            if stream.pump():
                stream.stuck_since = self.hub.now
            if not stream.waits():
                self._blocked.pop(stream.id, None)

    def stuck(self, limit_s: float) -> "list[Stream]":
        """Streams of which the client has taken nothing for so long."""
        if not self._blocked:
            return []
        now = self.hub.now
        return [s for s in self._blocked.values() if now - s.stuck_since > limit_s]

    # -- streams

    def begin(self, stream: "Stream") -> None:
        """It is open."""
        self.streams[stream.id] = stream

    def over(self, stream: "Stream") -> None:
        """All of it is sent."""
        self.patience += _EARNED
        self.streams.pop(stream.id, None)
        self._blocked.pop(stream.id, None)
        if not stream.ended:
            self.hush(stream.id)
            self.write(reset(stream.id, NO_ERROR))

    def end(self, stream: int, code: int) -> None:
        """Reset a stream, or refuse one; whoever works on it is told."""
        self.hush(stream)
        self.write(reset(stream, code))
        self.lose(stream)

    def lose(self, stream: int) -> None:
        """The client does not want it any more."""
        found = self.streams.pop(stream, None)
        if found is not None:
            self._blocked.pop(stream, None)
            found.lost()

    def hush(self, stream: int) -> None:
        """What the client still sends on this stream is no error."""
        quiet = self.quiet
        quiet[stream] = None
        if len(quiet) > _KEPT:
            del quiet[next(iter(quiet))]

    def note(self, stream: "Stream", status: int, given: int) -> None:
        """Tell the journal of an answer."""
        journal = self.journal
        if journal is None:
            return
        if len(journal.entries) >= journal.bound:
            journal.dropped += 1
            return
        head = stream.head
        journal.entries.append(
            (
                *(self.client, head.method, head.path, head.headers, HTTP2),
                *(stream.received_ns, perf_counter_ns(), status, stream.taken, given),
            )
        )


class Stream(ABC):
    """One stream: what the client may send on it, what it takes of ours.

    Attributes:
        session: of its connection.
        id: odd, rising.
        head: of the request.
        received_ns: `time.perf_counter_ns()` when its headers had come, or its whole body.
        ended: the client has sent everything.
        window: bytes of body that the client lets us send on it.
        grant: bytes that we let the client send on it.
        taken: bytes of body that have come.
        since: when the body, or the present message, began; the hub's clock.
        queued: bytes of body that wait for the client.
        stuck_since: when the client last took something of what waits; the hub's clock.
    """

    __slots__ = (
        *("_ending", "_tail", "_unsent", "ended", "grant", "head", "id", "queued", "received_ns"),
        *("session", "since", "stuck_since", "taken", "window"),
    )

    def __init__(self, session: Session, number: int, head: Head) -> None:
        """Made when the headers have come."""
        self.session = session
        self.id = number
        self.head = head
        self.received_ns = perf_counter_ns()
        self.ended = False
        self.window = session.first_window
        self.grant = STREAM_WINDOW
        self.taken = 0
        self.queued = 0
        self.since = self.stuck_since = session.hub.now
        self._unsent: deque[memoryview] | None = None
        self._ending = False
        self._tail: tuple[tuple[Field, ...], tuple[Field, ...]] | None = None

    # -- what comes

    @abstractmethod
    def take(self, payload: bytes, *, last: bool) -> None:
        """Bytes of the body.

        Raises:
            StreamFault: the body is not what the headers said.
        """

    @abstractmethod
    def lost(self) -> None:
        """The client does not want the answer any more, or the edge has ended it."""

    @abstractmethod
    def late(self, now: float) -> None:
        """See to it that the client, and the answer, do not take too long; asked by the sweep."""

    @abstractmethod
    def drained(self) -> None:
        """All that waited has been taken."""

    def regrant(self) -> None:
        """Let the client send more, where it has not much left."""
        if self.grant < STREAM_WINDOW // 2:
            self.session.write(window_update(self.id, STREAM_WINDOW - self.grant))
            self.grant = STREAM_WINDOW

    # -- what leaves

    def waits(self) -> bool:
        """Whether something could not be sent yet."""
        return bool(self._unsent) or self._ending

    def put(
        self,
        body: bytes,
        *,
        last: bool = False,
        tail: tuple[tuple[Field, ...], tuple[Field, ...]] | None = None,
    ) -> None:
        """Send a piece of the body.

        Args:
            body: the piece; may be empty.
            last: nothing follows but `tail`.
            tail: trailers: those that come often, and others.
        """
        session, size = self.session, len(body)
        room = size <= session.frame_bytes and size <= self.window and size <= session.window
        if not self._unsent and (not size or (room and session.open)):
            if size or (last and tail is None):
                self.window -= size
                session.window -= size
                session.patience += 1
                flags = END_STREAM if last and tail is None else 0
                session.write(HEAD.pack(size >> 8, size & 0xFF, DATA, flags, self.id) + body)
            if last:
                self._close(tail)
            return
        if size:
            if self._unsent is None:
                self._unsent = deque()
            self._unsent.append(memoryview(body))
            self.queued += size
        if last:
            self._ending, self._tail = True, tail
        self.pump()
        if self.waits():
            session.wait(self)

    def pump(self, frames: int = 0) -> bool:
        """Send of what waits as much as may be sent.

        Args:
            frames: at most; 0 = any.

        Returns:
            Whether anything was sent.
        """
        session, unsent = self.session, self._unsent
        count = 0
        while unsent and session.open:
            room = min(self.window, session.window, session.frame_bytes)
            if room <= 0:
                break
            piece = unsent[0]
            size = len(piece)
            if size > room:
                unsent[0] = piece[room:]
                piece, size = piece[:room], room
            else:
                unsent.popleft()
            self.window -= size
            session.window -= size
            self.queued -= size
            session.patience += 1
            closes = self._ending and not unsent and self._tail is None
            flags = END_STREAM if closes else 0
            session.write(HEAD.pack(size >> 8, size & 0xFF, DATA, flags, self.id))
            session.write(piece)
            count += 1
            if count == frames:
                break
        if not unsent and (count or self._ending):
            if self._ending:
                self._ending = False
                self._close(self._tail)
            else:
                self.drained()
        return count > 0

    def _close(self, tail: tuple[tuple[Field, ...], tuple[Field, ...]] | None) -> None:
        """Behind the last byte."""
        if tail is not None:
            often, fields = tail
            self.session.headers(self.id, often, fields, last=True)
        self.session.over(self)
