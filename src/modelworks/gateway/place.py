"""One upstream: its address, its connections, whether it is ready. Shared by all routes."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError
from modelworks.gateway.link import Link

_log = logging.getLogger(__name__)
_CONNECT_S: Final = 3.0
_IDLE_S: Final = 45.0  # less than servers keep a connection: 60 and 75 seconds are common
_MOST_IDLE: Final = 1024


class Linked(Protocol):
    """Who waits for a connection."""

    def linked(self, link: Link) -> None:
        """Here it is."""
        ...

    def unlinked(self, why: str) -> None:
        """There is none."""
        ...


class Address:
    """Where an upstream is.

    Args:
        url: `http://10.0.0.3:8080`, `https://...`, `unix:/run/a.sock`. `https://10.0.0.3:8443#NAME`
            is asked as NAME, which its certificate must be good for.

    Attributes:
        server: name that a certificate must be good for; None = the host.

    Raises:
        InvalidError: none of these.
    """

    __slots__ = ("authority", "host", "path", "port", "server", "tls")

    def __init__(self, url: str) -> None:
        self.path = ""
        self.server: str | None = None
        if url.startswith("unix:"):
            self.path = url.removeprefix("unix:").removeprefix("//")
            self.host, self.port, self.tls, self.authority = "", 0, False, b"localhost"
            if not self.path.startswith("/"):
                raise InvalidError(f"'{url}': unix:/PATH is wanted", field="url")
            return
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidError(f"'{url}' is no address: {error}", field="url") from error
        further = parts.path.strip("/") or parts.query or parts.username
        if parts.scheme not in {"http", "https"} or not parts.hostname or further:
            raise InvalidError(f"'{url}': http://HOST:PORT is wanted, without a path", field="url")
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = port or (443 if self.tls else 80)
        self.authority = parts.netloc.encode()
        if parts.fragment:
            self.server = parts.fragment
            self.authority = f"{parts.fragment}:{self.port}".encode()


class Place:
    """One upstream.

    Args:
        url: see `Address`.
        context: of TLS, for `https`.

    Attributes:
        outstanding: requests under way to it.
        ready: as the last health check found it; True before the first.
        fails: health checks in a row that failed.
    """

    __slots__ = (
        *("_connecting", "_context", "_free", "_links", "address", "closed", "fails"),
        *("outstanding", "ready", "url"),
    )

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.url = url
        self.address = Address(url)
        self.outstanding = 0
        self.ready = True
        self.fails = 0
        self.closed = False
        self._context = context
        self._free: list[Link] = []
        self._links: set[Link] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._links)

    def free(self) -> Link | None:
        """A connection that waits for a request, the last used first; None = there is none."""
        free = self._free
        while free:
            link = free.pop()
            if not link.transport.is_closing():
                return link
        return None

    def connect(self, waiting: Linked) -> Callable[[], object]:
        """Make a connection; call what is returned to give up."""
        task = asyncio.get_running_loop().create_task(self._connect(waiting))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task.cancel

    async def _connect(self, waiting: Linked) -> None:
        loop, address = asyncio.get_running_loop(), self.address
        made = cast("partial[asyncio.Protocol]", partial(Link, self.idle, self._lost))
        try:
            async with asyncio.timeout(_CONNECT_S):
                if address.path:
                    _, protocol = await loop.create_unix_connection(made, address.path)
                else:
                    context = self._context if address.tls else None
                    _, protocol = await loop.create_connection(
                        made,
                        address.host,
                        address.port,
                        ssl=context,
                        server_hostname=address.server,
                    )
        except TimeoutError:
            waiting.unlinked(f"no connection to {self.url} within {_CONNECT_S:g} s")
            return
        except (OSError, ssl.SSLError) as error:
            waiting.unlinked(f"no connection to {self.url}: {error.strerror or error}")
            return
        link = cast("Link", protocol)
        self._links.add(link)
        waiting.linked(link)

    def sweep(self) -> None:
        """Close connections that have long been idle."""
        old = monotonic() - _IDLE_S
        kept = []
        for link in self._free:
            if link.since < old:
                link.transport.close()
            else:
                kept.append(link)
        self._free = kept

    def close(self) -> None:
        """No route leads here any more: idle connections end now, others behind their answer."""
        self.closed = True
        for link in self._free:
            link.transport.close()
        self._free = []

    def end(self) -> None:
        """Cut off every connection: the gateway ends."""
        self.close()
        for link in list(self._links):
            link.transport.abort()

    def idle(self, link: Link) -> None:
        """Take a connection back that can carry another request."""
        if self.closed or len(self._free) >= _MOST_IDLE:
            link.transport.close()
        else:
            self._free.append(link)

    def _lost(self, link: Link) -> None:
        self._links.discard(link)
        if link in self._free:
            self._free.remove(link)
