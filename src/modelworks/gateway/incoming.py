"""A request's body on its way in: collected while it is short, else passed on piece by piece."""

from typing import Final, Protocol

from modelworks.edge.head import Head, Refusal
from modelworks.edge.hub import Hub
from modelworks.gateway.bodies import Body, Chunked, Sized

_MANY: Final = 64  # pieces that are joined, lest a caller that sends byte by byte costs more


class Takes(Protocol):
    """Who gets the body: a call."""

    def begin(self, body: bytes, *, whole: bool, chunked: bool = False) -> None:
        """All of it, or the beginning of one that is streamed."""
        ...

    def send(self, piece: bytes, *, done: bool) -> None:
        """More of a streamed one."""
        ...


class Incoming:
    """One a connection, for all its bodies in turn.

    Args:
        hub: of the listener, where collected bytes are counted.
        replay: bytes up to which a body is collected.

    Attributes:
        open: more of the body is to come.
        received: bytes of it so far.
    """

    __slots__ = ("_body", "_head", "_hub", "_piece", "_pieces", "_replay", "_streams", "received")

    _head: Head

    def __init__(self, hub: Hub, replay: int) -> None:
        self._hub = hub
        self._replay = replay
        self._body: Body | None = None
        self._piece = b""  # read, and not handed on yet
        self._pieces: list[bytes] = []
        self._streams = False
        self.received = 0

    @property
    def open(self) -> bool:
        """See the class."""
        return self._body is not None

    def begin(self, head: Head, call: Takes) -> None:
        """The body of this head comes next."""
        self._head = head
        self._streams = False
        self.received = 0
        most = self._hub.limits.max_body_bytes
        self._body = Chunked(most) if head.length < 0 else Sized(head.length)
        if head.length > self._replay:
            self._stream(call)

    def feed(self, data: bytes, position: int) -> int:
        """Take from `data` at `position`; the position behind what was used.

        Raises:
            Refusal: malformed (400), too large (413).
        """
        body = self._body
        assert body is not None  # noqa: S101 - fed between `begin` and the end only
        self._piece, position = body.feed(data, position)
        self.received += len(self._piece)
        if body.done:
            self._body = None
        return position

    def hand_on(self, call: Takes) -> None:
        """Give the call what was just read, when it is time.

        Raises:
            Refusal: too many bodies at once (503).
        """
        piece, self._piece = self._piece, b""
        done = self._body is None
        if self._streams:
            if piece or done:
                call.send(piece, done=done)
            return
        self._pieces.append(piece)
        self._hub.buffered += len(piece)
        if done:
            call.begin(self._collected(), whole=True)
            return
        if self._hub.buffered > self._hub.limits.max_buffered_bytes:
            raise Refusal(503, "too many large bodies at once", ((b"Retry-After", b"1"),))
        if len(self._pieces) > _MANY:
            self._pieces = [b"".join(self._pieces)]
        if self.received > self._replay:
            self._stream(call)

    def forget(self) -> None:
        """Keep nothing of the present body, if there is one."""
        self._collected()
        self._body = None

    def _stream(self, call: Takes) -> None:
        """Begin to pass the body on, with what is here of it."""
        self._streams = True
        begin = self._collected()
        if self._head.length >= 0:
            call.begin(begin, whole=False)
            return
        call.begin(b"", whole=False, chunked=True)
        if begin:
            call.send(begin, done=False)

    def _collected(self) -> bytes:
        """What was collected, which is then no longer here."""
        body = b"".join(self._pieces)
        self._pieces = []
        self._hub.buffered -= len(body)
        return body
