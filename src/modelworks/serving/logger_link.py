"""A worker's connection to its logger: messages go until the logger says that they are kept.

Nothing here waits. What the socket does not take lies in a bounded queue; so does what was sent and
not answered, and a logger that takes the place of one that ended gets it again.
"""

import array
import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from modelworks.protocol.records.calls import DONE, TALLY

_log = logging.getLogger("modelworks.serving")
QUEUE_BYTES: Final = 16 << 20
"""Of messages that are not answered; beyond them there is no room."""
_SEND_BUFFER: Final = 4 << 20  # asked for; the kernel may give less
_TRY_AGAIN_S: Final = 0.25
_LOOK_S: Final = 0.02
_TOGETHER: Final = 16  # messages in one call
Tallied = Callable[[int, int, int, int], None]


@dataclass(slots=True)
class _Message:
    data: bytes
    model: int  # number of it
    count: int  # requests in it; 0 = it tells of the model


class LoggerLink:
    """Of one worker, on its loop.

    Args:
        door: where connections are handed to the logger; stays the caller's.
        tallied: told what became of requests: number of their model; kept, lost, unreadable.
    """

    def __init__(self, door: socket.socket, tallied: Tallied) -> None:
        self._door = door
        self._tallied = tallied
        self._first: list[bytes] = []  # what every new connection begins with
        self._queue: deque[_Message] = deque()
        self._size = 0  # of the queue
        self._sent = 0  # messages of it that the socket has taken
        self._at = 0  # bytes of the next one that it has taken
        self._sock: socket.socket | None = None
        self._writing = False
        self._heard = b""
        self._again_at = 0.0

    @property
    def room(self) -> int:
        """Bytes that it takes now; 0 where there is no connection."""
        if self._sock is None and not self._connect():
            return 0
        return max(0, QUEUE_BYTES - self._size)

    def begin_with(self, data: bytes) -> None:
        """Tell every logger this before all else, the present one now."""
        self._first.append(data)
        if self._sock is not None:
            self.send(0, [(data, 0)])

    def send(self, model: int, messages: Iterable[tuple[bytes, int]]) -> None:
        """Send messages, soon: of a model by number, each with how many requests are in it."""
        for data, count in messages:
            self._queue.append(_Message(data, model, count))
            self._size += len(data)
        if not self._writing:
            self._go_on()

    async def close(self, within: float) -> None:
        """Let everything be answered, `within` seconds; what is not is lost."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while self._queue and loop.time() < until:
            if self._sock is None:
                self._connect()
            await asyncio.sleep(_LOOK_S)
        for message in self._queue:
            if message.count:
                self._tallied(message.model, 0, message.count, 0)
        self._queue.clear()
        self._hang_up()

    def _connect(self) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() < self._again_at:
            return False
        self._again_at = loop.time() + _TRY_AGAIN_S
        ours, theirs = socket.socketpair()
        try:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            ours.setblocking(False)  # noqa: FBT003 - the library's signature
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
            self._door.sendmsg([b"%d" % os.getpid()], [rights], socket.MSG_DONTWAIT)
        except OSError as error:  # the door is full: no logger has looked for long
            ours.close()
            _log.warning("the logger of records cannot be reached: %s", error.strerror)
            return False
        finally:
            theirs.close()
        self._sock, self._heard = ours, b""
        loop.add_reader(ours, self._hear)
        self._begin()
        return True

    def _begin(self) -> None:
        """The first messages, then what the one before has not answered."""
        left = [message for message in self._queue if message.count]
        self._queue.clear()
        self._queue.extend(_Message(data, 0, 0) for data in self._first)
        self._queue.extend(left)
        self._size = sum(len(message.data) for message in self._queue)
        self._sent = self._at = 0
        self._go_on()

    def _go_on(self) -> None:
        """Write until the socket takes no more."""
        queue = self._queue
        while self._sock is not None and self._sent < len(queue):
            some = [message.data for message in islice(queue, self._sent, self._sent + _TOGETHER)]
            parts: list[bytes | memoryview] = [memoryview(some[0])[self._at :], *some[1:]]
            try:
                self._at += self._sock.sendmsg(parts)
            except BlockingIOError:
                break
            except OSError:
                self._lose()
                return
            while self._sent < len(queue) and self._at >= len(queue[self._sent].data):
                self._at -= len(queue[self._sent].data)
                self._sent += 1
        wanted = self._sock is not None and self._sent < len(self._queue)
        if wanted is not self._writing and self._sock is not None:
            self._writing = wanted
            loop = asyncio.get_running_loop()
            if wanted:
                loop.add_writer(self._sock, self._go_on)
            else:
                loop.remove_writer(self._sock)

    def _hear(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        data = self._heard + data
        whole = len(data) - len(data) % TALLY.size
        for number, kept, lost, unreadable in TALLY.iter_unpack(data[:whole]):
            if number == DONE:
                self._size -= len(self._queue.popleft().data)
                self._sent -= 1
            else:
                self._tallied(number, kept, lost, unreadable)
        self._heard = data[whole:]

    def _lose(self) -> None:
        """The logger ended: the next one gets what this one has not answered."""
        _log.warning(
            "the logger of records ended; %d messages are kept for the next one", len(self._queue)
        )
        self._hang_up()
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_later(_TRY_AGAIN_S, self._connect_again)

    def _connect_again(self) -> None:
        if self._sock is None and self._queue:
            self._connect()

    def _hang_up(self) -> None:
        if self._sock is not None:
            loop = asyncio.get_running_loop()
            if self._writing:
                loop.remove_writer(self._sock)
            loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        self._writing = False
        self._sent = self._at = 0
