"""An answer of HTTP/1.1 that is sent piece by piece: chunked, or to an older client until the end.

It waits for its turn behind earlier answers of its connection, and later ones wait behind it. While
it is sent, every piece leaves at once, and a client that closes its side is taken to have left:
nobody else could tell that a long answer need not be made.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from modelworks.edge.answer import BODILESS
from modelworks.edge.exchange import Headers

_log = logging.getLogger(__name__)
_LARGE = 64 * 1024  # a piece above it is written beside its frame, not copied into it
_RESET = struct.pack("ii", 1, 0)  # a linger of no time: the connection is reset
_LAST = b"0\r\n\r\n"


class Owner(Protocol):
    """The connection."""

    def stream_done(self, stream: "HttpStream") -> None:
        """Its body is whole, and handed to the transport."""
        ...


class HttpStream:
    """Fulfils `exchange.Stream`.

    Args:
        owner: its connection.
        method: of the request.
        modern: the client speaks HTTP/1.1.
        status: of the answer.
        content_type: of it.
        headers: further ones.

    Attributes:
        bare: it has no body, whatever is written.
        begun: its head has left: earlier answers have.
        chunked: each piece has its length; else the body lasts until the connection ends.
        given: bytes of the body so far.
    """

    __slots__ = (
        *("_cut", "_ended", "_held", "_held_size", "_owner", "_since", "_taken", "_transport"),
        *("bare", "begun", "chunked", "content_type", "given", "gone", "headers", "on_drained"),
        *("on_gone", "status"),
    )

    def __init__(
        self,
        owner: Owner,
        method: bytes,
        status: int,
        content_type: bytes,
        headers: Headers,
        *,
        modern: bool,
    ) -> None:
        """Made by its request."""
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self.status = status
        self.content_type = content_type
        self.headers = headers
        self.bare = method == b"HEAD" or status in BODILESS
        self.chunked = modern and not self.bare
        self.begun = False
        self.given = 0
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._held: list[bytes] = []  # pieces, until it is its turn
        self._held_size = 0
        self._ended = self._cut = False
        self._since = 0.0  # when the client took something last
        self._taken = 0  # bytes that it had taken by then

    @property
    def endless(self) -> bool:
        """Only the end of the connection tells the end of the body."""
        return not (self.chunked or self.bare)

    @property
    def waiting(self) -> int:
        """See `exchange.Stream`."""
        if self._transport is None:
            return self._held_size
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send a piece.

        Raises:
            RuntimeError: the body was ended before.
        """
        if self._ended:
            raise RuntimeError("the body of this answer has been ended already")
        if not data or self.gone or self._cut or self.bare:
            return
        self.given += len(data)
        if self._transport is None:
            self._held.append(data)
            self._held_size += len(data)
        else:
            self._send(self._transport, data)

    def end(self) -> None:
        """The body is whole.

        Raises:
            RuntimeError: it was ended before.
        """
        if self._ended:
            raise RuntimeError("the body of this answer has been ended already")
        self._ended = True
        self.on_gone = self.on_drained = None
        if self._transport is not None and not (self.gone or self._cut):
            self._finish(self._transport)

    def cut(self) -> None:
        """End the connection without the end of the body. Quiet when it is over."""
        if self._ended or self._cut or self.gone:
            return
        self._cut = True
        self.on_gone = self.on_drained = None
        self._held.clear()
        self._held_size = 0
        if self._transport is not None:
            self._tear(self._transport)

    # -- what its connection calls

    def begin(self, transport: asyncio.Transport, head: bytes, now: float) -> None:
        """It is its turn."""
        self.begun = True
        self._since = now
        transport.write(head)
        held, self._held, self._held_size = self._held, [], 0
        self._transport = transport
        if self._cut:
            self._tear(transport)
            return
        if held:
            self._send(transport, b"".join(held))
        if self._ended:
            self._finish(transport)

    def drained(self) -> None:
        """The client has taken what waited."""
        call = self.on_drained
        if call is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - the connection lives on
                _log.exception("what was to be told of a client that reads again failed")

    def lost(self) -> None:
        """The connection ended."""
        self.gone = True
        self._transport = None
        self._held.clear()
        self._held_size = 0
        call, self.on_gone, self.on_drained = self.on_gone, None, None
        if call is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - the others must be told too
                _log.exception("what was to be told of a client that left failed")

    def stuck(self, now: float, limit_s: float) -> bool:
        """Whether bytes wait of which none was taken for `limit_s`; asked by the sweep."""
        waiting = self.waiting
        taken = self.given - waiting  # frames count for nothing: only that it grows matters
        if not waiting or taken > self._taken:
            self._taken = taken
            self._since = now
        return bool(waiting) and now - self._since > limit_s

    # -- the wire

    def _send(self, transport: asyncio.Transport, data: bytes) -> None:
        if not self.chunked:
            transport.write(data)
        elif len(data) > _LARGE:
            transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _finish(self, transport: asyncio.Transport) -> None:
        self._transport = None
        if self.chunked:
            transport.write(_LAST)
        self._owner.stream_done(self)

    def _tear(self, transport: asyncio.Transport) -> None:
        """A client that reads sees the body break off; who does not is not waited for."""
        self._transport = None
        if self.chunked and not transport.get_write_buffer_size():
            transport.close()
            return
        if not self.chunked:  # a plain end would be that of the body
            sock = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
