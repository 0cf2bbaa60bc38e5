"""Workers on one port even out their connections: who has more than others hands new ones on.

The kernel spreads connections over the sockets of a port by a hash: two clients meet on one of two
workers every other time, and half of the machine is idle. So every worker writes how many it has
on a board that all can see, and a connection that was just accepted, of which nothing was read yet,
goes to another process as a file descriptor where that one has fewer by two or more.
"""

import asyncio
import contextlib
import logging
import mmap
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, cast

from modelworks.edge.hub import Hub, Ticked

_log = logging.getLogger(__name__)
CLOSED: Final = -1
"""On the board: takes no connections."""
_CELL: Final = 8
_UNDER_WAY_S: Final = 1.0  # a connection that was handed on is not waited for any longer
_TOGETHER: Final = 64


def elsewhere(counts: Sequence[int], own: int, sent: Sequence[int] = ()) -> int | None:
    """Who takes a new connection in our place; None = we keep it.

    Args:
        counts: connections by worker, ours with the new one; CLOSED = takes none.
        own: our place.
        sent: places that we handed connections to, which do not show in their counts yet.
    """
    loads = [
        (count + sent.count(place), place)
        for place, count in enumerate(counts)
        if count != CLOSED and place != own
    ]
    if not loads:
        return None
    least, place = min(loads)
    return place if counts[own] - least >= 2 else None


class Board:
    """Connections by worker, in memory that all of them share; each writes its own cells only.

    Beside them stands how many each was handed so far, so that the others know what has arrived.

    Args:
        workers: places.
        fd: of a file of `size(workers)` bytes; this process maps it.
    """

    def __init__(self, workers: int, fd: int) -> None:
        self._map = mmap.mmap(fd, self.size(workers))
        self._cells = memoryview(self._map).cast("q")
        self._workers = workers

    @staticmethod
    def size(workers: int) -> int:
        """Bytes."""
        return 2 * _CELL * workers

    @staticmethod
    def close(fd: int, place: int) -> None:
        """Say for a worker that ended, from a process that maps nothing, that it takes none."""
        os.pwrite(fd, CLOSED.to_bytes(_CELL, "little", signed=True), _CELL * place)

    def put(self, place: int, count: int) -> None:
        """Our own number."""
        self._cells[place] = count

    def taken(self, place: int) -> int:
        """How many a worker was handed so far."""
        return self._cells[self._workers + place]

    def take(self, place: int) -> None:
        """We were handed one, and it shows in our number."""
        self._cells[self._workers + place] += 1

    def counts(self) -> list[int]:
        """Everybody's."""
        return self._cells[: self._workers].tolist()


class _Counted(set[Ticked]):
    """The connections of a hub, whose number is on the board."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._tell = tell

    def add(self, connection: Ticked) -> None:
        super().add(connection)
        self._tell(len(self))

    def discard(self, connection: object) -> None:
        super().discard(connection)
        self._tell(len(self))


class Sharing:
    """One worker's part in it.

    Args:
        place: ours on the board.
        board: of all.
        inboxes: writing ends, by worker.
        inbox: reading end of ours; what is in it is ours, left by a predecessor too.
    """

    def __init__(
        self, place: int, board: Board, inboxes: Sequence[socket.socket], inbox: socket.socket
    ) -> None:
        self._place = place
        self._board = board
        self._inboxes = inboxes
        self._inbox = inbox
        # When, to whom, and what its `taken` will be when it has arrived.
        self._sent: deque[tuple[float, int, int]] = deque()
        self._hub: Hub | None = None
        self._make: Callable[[], asyncio.Protocol] | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    def begin(self, hub: Hub, make: Callable[[], asyncio.Protocol]) -> None:
        """Take part, with the connections of `hub`."""
        self._hub, self._make = hub, make
        hub.connections = _Counted(self._tell)
        for end in (self._inbox, *self._inboxes):
            end.setblocking(False)  # noqa: FBT003 - the library's signature
        hub.loop.add_reader(self._inbox.fileno(), self._take)
        self._tell(0)

    def accept(self) -> asyncio.Protocol:
        """What the kernel's new connections are given to: it looks who should have them."""
        return _Arrival(self)

    def leave(self) -> None:
        """Take no more from others; what is on its way still comes."""
        self._board.put(self._place, CLOSED)

    def end(self) -> None:
        """No more at all."""
        if self._hub is not None:
            self._take()
            self._hub.loop.remove_reader(self._inbox.fileno())

    def arrived(self, transport: asyncio.Transport) -> None:
        """Keep a connection, or hand it on."""
        assert self._hub is not None  # noqa: S101 - begin was called
        assert self._make is not None  # noqa: S101 - the same
        place = None if self._hub.drain_since is not None else self._better()
        if place is not None and self._hand(transport, place):
            return
        connection = self._make()
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _better(self) -> int | None:
        old = monotonic() - _UNDER_WAY_S
        taken = self._board.taken
        self._sent = deque(
            (at, place, last) for at, place, last in self._sent if at > old and taken(place) < last
        )
        counts = self._board.counts()
        counts[self._place] += 1
        return elsewhere(counts, self._place, [place for _, place, _ in self._sent])

    def _hand(self, transport: asyncio.Transport, place: int) -> bool:
        sock = transport.get_extra_info("socket")
        try:
            socket.send_fds(self._inboxes[place], [b"c"], [sock.fileno()])
        except OSError:  # its inbox is full: then it is no better off than we are
            return False
        under_way = sum(to == place for _, to, _ in self._sent)
        self._sent.append((monotonic(), place, self._board.taken(place) + under_way + 1))
        transport.abort()  # our descriptor only: the other one keeps the connection open
        return True

    def _take(self) -> None:
        """Serve what others handed on."""
        hub, make = self._hub, self._make
        assert hub is not None  # noqa: S101 - begin was called
        assert make is not None  # noqa: S101 - the same
        with contextlib.suppress(BlockingIOError):
            for _ in range(_TOGETHER):
                data, fds, _, _ = socket.recv_fds(self._inbox, 16, 1)
                if not data:  # nobody can write any more
                    hub.loop.remove_reader(self._inbox.fileno())
                    return
                for fd in fds:
                    os.set_inheritable(fd, False)  # noqa: FBT003 - the library's signature
                    sock = socket.socket(fileno=fd)
                    sock.setblocking(False)  # noqa: FBT003 - the library's signature
                    with contextlib.suppress(OSError):
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    task = hub.loop.create_task(self._serve(sock, make))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _serve(self, sock: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(make, sock)
        except OSError as error:  # the client is gone already
            _log.debug("a connection that was handed on is gone: %s", error)
            sock.close()
        finally:
            self._board.take(self._place)

    def _tell(self, count: int) -> None:
        hub = self._hub
        if hub is None or hub.drain_since is None:
            self._board.put(self._place, count)


class _Arrival(asyncio.Protocol):
    """A connection that nobody has looked at yet."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sharing.arrived(cast("asyncio.Transport", transport))
