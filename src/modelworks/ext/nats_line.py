"""A connection to NATS that lives on a thread of its own: for callers who wait for each result."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import nats

R = TypeVar("R")
CLOSE_S: Final = 5.0
"""That a close may take."""


class NatsLine:
    """A loop on a thread, and a way to connect on it.

    Args:
        url: of the servers, with commas between.
        credentials: a .creds file; None = there is none.
        ca: authorities (PEM); None = the connection is plain, or the system's are trusted.
        seconds: for connecting.

    Attributes:
        shown: the servers without users and passwords, for messages.
    """

    def __init__(self, url: str, credentials: str | None, ca: str | None, seconds: float) -> None:
        self._servers = url.split(",")
        self._credentials = credentials
        self._ca = ca
        self._seconds = seconds
        self.shown = ", ".join(one.rpartition("@")[2] for one in self._servers)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
        self._thread.start()

    @property
    def open(self) -> bool:
        """Whether something can still be run on it."""
        return self._thread.is_alive()

    async def connect(self) -> Any:
        """A client that finds its servers again by itself; run on the thread."""
        context = None
        if self._ca:
            import ssl  # noqa: PLC0415 - where it is wanted

            context = ssl.create_default_context(cafile=self._ca)
        return await nats.connect(
            self._servers,
            user_credentials=self._credentials,
            tls=context,
            connect_timeout=max(1, round(self._seconds)),
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            error_cb=_quiet,
            name="modelworks",
        )

    def run(self, work: Coroutine[Any, Any, R], seconds: float) -> R:
        """The result of `work` on the thread, or what it raises; what is late is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except BaseException:
            future.cancel()  # quiet where it has ended
            raise

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()


async def _quiet(_error: Exception) -> None:
    """What goes wrong between two calls is told by the next one."""
