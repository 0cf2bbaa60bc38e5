"""A connection of HTTP/2 without a socket, whose client reads when the test says so."""

import asyncio
import contextlib

from http2_served import FEW
from modelworks.edge.http2.connection import Http2Connection
from modelworks.edge.hub import Hub


class Nowhere(asyncio.Transport):
    """Keeps what is written; `cut` and closed as a socket would be.

    Attributes:
        written: all that ever was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data) -> None:
        assert not self.closed
        self.written += data

    def write_eof(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class Unread(Nowhere):
    """Holds what is written, and says when that is more than `room`, as a socket's does.

    Attributes:
        protocol: is told.
        held: bytes that nobody has read.
        most: the largest number of them so far.
        reading: what comes is wanted.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.protocol = None
        self.held = self.most = 0
        self.reading = True

    def write(self, data) -> None:
        super().write(data)
        before, self.held = self.held, self.held + len(data)
        self.most = max(self.most, self.held)
        if before <= self.room < self.held:
            self.protocol.pause_writing()

    def read(self) -> None:
        """The client takes all of it."""
        full, self.held = self.held > self.room, 0
        if full:
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.held


class Unsocketed:
    """A listener's hub and one connection.

    Args:
        grpc: takes its calls.
        room: bytes that its socket holds.
    """

    def __init__(self, grpc=None, room: int = 1 << 20) -> None:
        self.loop = asyncio.new_event_loop()
        self.hub = Hub(lambda _: None, FEW, self.loop)
        self.hub.grpc = grpc
        self.transport = Unread(room)
        self.connection = self.transport.protocol = Http2Connection(self.hub)
        self.connection.connection_made(self.transport)

    def turn(self) -> None:
        """One turn of the loop."""
        self.loop.run_until_complete(asyncio.sleep(0))


@contextlib.contextmanager
def unsocketed(*given, **further):
    """One of these, ended as it should be."""
    found = Unsocketed(*given, **further)
    try:
        yield found
        found.connection.connection_lost(None)
        found.turn()
        assert (found.hub.in_flight, found.hub.buffered) == (0, 0)
        assert not found.hub.connections
    finally:
        found.loop.close()
