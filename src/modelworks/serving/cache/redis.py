"""A connection to Redis on the loop: two commands, each with a time-out, in pipelined RESP2.

Nobody waits for a connection: while there is none, what is asked for is not there. What comes too
late ends the connection, for answers come in the order of commands; after that it is tried again
with growing pauses. Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from modelworks.serving.cache.resp import Reader, RedisRefusedError, command

Took: TypeAlias = Callable[[bytes | None], None]
_log = logging.getLogger("modelworks.serving")
_CONNECT_S: Final = 2.0
_PAUSE_S: Final = 0.1
_LONGEST_S: Final = 10.0
_OUTSTANDING: Final = 1024
_UNSENT: Final = 8 << 20  # bytes


class Redis:
    """Gets and puts values; all of it on the loop's thread.

    Args:
        url: `redis://[user:password@]host[:port][/db]`; `rediss://` with TLS.
        timeout_s: that a command may take.
        failed: told how many commands went wrong, or were given up.
    """

    def __init__(self, url: str, timeout_s: float, failed: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 6379
        self._tls = parts.scheme == "rediss"
        password = unquote(parts.password or "")
        who = [unquote(parts.username)] if parts.username else []
        self._hello = [command("AUTH", *who, password)] if password else []
        database = parts.path.strip("/")
        if database:
            self._hello.append(command("SELECT", database))
        self._timeout = timeout_s
        self._failed = failed
        self._link: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._pause = _PAUSE_S
        self._again = 0.0  # not before then, on the loop's clock
        self._closed = False
        self._away = False  # and that was said in the log
        self._connect()

    @property
    def connected(self) -> bool:
        """Whether commands are sent."""
        return self._link is not None

    def get(self, key: bytes, took: Took) -> None:
        """Ask for a value; `took` gets it, or None, at once or within the time-out."""
        link = self._ready()
        if link is None:
            took(None)
        else:
            link.send(command("GET", key), took)

    def put(self, key: bytes, value: bytes, ttl_ms: int) -> None:
        """Keep a value; nobody is told how it went."""
        link = self._ready()
        if link is not None:
            link.send(command("SET", key, value, "PX", str(ttl_ms)), None)

    def close(self) -> None:
        """For good; whoever waits gets None."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.end()

    def _ready(self) -> "_Link | None":
        link = self._link
        if link is None:
            self._connect()
            return None
        if link.full:
            self._failed(1)
            return None
        return link

    def _connect(self) -> None:
        if self._closed or self._connecting is not None or self._loop.time() < self._again:
            return
        self._connecting = self._loop.create_task(self._connected())
        self._connecting.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is not None:
            _log.error("Redis: %r", task.exception())

    async def _connected(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                secure = None
                if self._tls:  # reading the authorities takes tens of milliseconds
                    secure = await asyncio.to_thread(ssl.create_default_context)
                _, link = await self._loop.create_connection(
                    lambda: _Link(self._timeout, self._failed, self._lost, self._good),
                    self._host,
                    self._port,
                    ssl=secure,
                )
                try:
                    for words in (*self._hello, command("PING")):
                        await link.ask(words)
                except BaseException:
                    link.end()
                    raise
        except (OSError, TimeoutError, UnicodeError, RedisRefusedError) as error:
            self._rest(str(error) or "it did not answer")
            return
        if link.ended:
            return
        self._link = link

    def _good(self) -> None:
        """A command was answered in time: one that greets and is slow then is left alone longer."""
        self._pause = _PAUSE_S
        if self._away:
            self._away = False
            _log.warning("Redis at %s:%d answers again", self._host, self._port)

    def _lost(self, link: "_Link", why: str) -> None:
        if self._link is link:
            self._link = None
            if not self._closed:
                self._rest(why)

    def _rest(self, why: str) -> None:
        """Leave it alone for a while, each time for longer."""
        self._failed(1)
        self._again = self._loop.time() + self._pause
        self._pause = min(_LONGEST_S, 2 * self._pause)
        if not self._away and not self._closed:
            self._away = True
            _log.warning(
                "Redis at %s:%d is passed by, answers are computed: %s",
                *(self._host, self._port, why[:200]),
            )


class _Link(asyncio.Protocol):
    """One connection: commands wait for their replies in order."""

    def __init__(
        self,
        timeout_s: float,
        failed: Callable[[int], None],
        lost: Callable[["_Link", str], None],
        good: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout_s
        self._failed = failed
        self._lost = lost
        self._good: Callable[[], None] | None = good  # until it was told
        self._reader = Reader()
        self._waiting: deque[tuple[float, Took | None]] = deque()
        self._asked: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self.ended = False

    @property
    def full(self) -> bool:
        """Whether one command more would wait too long."""
        transport = self._transport
        unsent = 0 if transport is None else transport.get_write_buffer_size()
        return len(self._waiting) >= _OUTSTANDING or unsent > _UNSENT

    def send(self, words: bytes, took: Took | None) -> None:
        """Send a command, with all others of this turn of the loop."""
        if self.ended:
            if took is not None:
                took(None)
            return
        self._waiting.append((self._loop.time() + self._timeout, took))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(words)

    async def ask(self, words: bytes) -> None:
        """Send a command of the greeting.

        Raises:
            RedisRefusedError: it says no.
            ConnectionError: it left.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._asked.append(future)
        if self._transport is not None:
            self._transport.write(words)
        await future

    def end(self, why: str = "it was closed") -> None:
        """Hang up; whoever waits gets nothing."""
        if self.ended:
            return
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._lost(self, why)
        waiting, self._waiting = self._waiting, deque()
        self._failed(len(waiting))
        for _, took in waiting:
            if took is not None:
                took(None)
        for future in self._asked:
            if not future.done():
                future.set_exception(ConnectionResetError(why))

    # -- asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.end(str(exc) if exc else "it hung up")

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            for value in self._reader.feed(data):
                self._take(value)
                if self.ended:
                    return
        except ValueError as error:
            self.end(f"it does not speak Redis's protocol: {error}")

    def _take(self, value: bytes | RedisRefusedError | None) -> None:
        if self._asked:
            future = self._asked.popleft()
            if future.done():
                return
            if isinstance(value, RedisRefusedError):
                future.set_exception(value)
            else:
                future.set_result(None)
            return
        if not self._waiting:
            raise ValueError("an answer that nobody asked for")
        _, took = self._waiting.popleft()
        if self._good is not None:
            self._good()
            self._good = None
        if isinstance(value, RedisRefusedError):
            self._failed(1)
            value = None
        if took is not None:
            took(value)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self.ended:
            self._transport.write(b"".join(out))

    def _look(self) -> None:
        """Whether the oldest command is late."""
        self._timer = None
        if not self._waiting:
            return
        left = self._waiting[0][0] - self._loop.time()
        if left <= 0:
            self.end(f"no answer within {1000 * self._timeout:g} ms")
        else:
            self._timer = self._loop.call_later(left, self._look)
