"""Listening sockets and their connections: start, serve, drain without losing a request."""

import asyncio
import contextlib
import errno
import logging
import select
import socket
from collections.abc import Callable
from functools import partial
from typing import cast

from modelworks.core.errors import ConflictError, InvalidError
from modelworks.edge.connection import Connection
from modelworks.edge.exchange import Handler
from modelworks.edge.http2.call import GrpcHandler
from modelworks.edge.http2.connection import Http2Connection
from modelworks.edge.hub import Hub
from modelworks.edge.journal import Journal
from modelworks.edge.kernel import backlog, hold_off
from modelworks.edge.key_gate import Gate
from modelworks.edge.limits import Limits
from modelworks.edge.logged import LoggedConnection
from modelworks.edge.request import Sampled
from modelworks.edge.sharing import Sharing
from modelworks.edge.tls_channel import TlsChannel
from modelworks.edge.tls_gate import TlsGate

_log = logging.getLogger(__name__)
_SWEEP_S = 0.5
_DRAIN_STEP_S = 0.02
_DEFAULT_LIMITS = Limits()
BACKLOG = 2048


def bind(host: str, port: int, reuse_port: bool = False) -> socket.socket:  # noqa: FBT001, FBT002 - as the kernel calls it
    """A bound TCP socket, not yet listening: connections are refused until `Listener.start`.

    Args:
        host: address or name; the first address it resolves to is taken.
        port: 0 = any free one (`getsockname()[1]` says which).
        reuse_port: several sockets share the port, the kernel spreads connections over those that
            listen. Any process of the same user may join: whoever must know that the port is
            free binds once without it first.

    Raises:
        ConflictError: the port is taken.
        InvalidError: no such address on this machine, or not allowed.
    """
    if not 0 <= port <= 65535:  # getaddrinfo would wrap it around
        raise InvalidError(f"{port} is no port: 0 to 65535", field="port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InvalidError(
            f"'{host}' port {port} is no address to listen on: {error}", field="host"
        ) from error
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"port {port} on {host} is taken by another program: stop it or take another port",
                field="port",
            ) from error
        raise InvalidError(
            f"cannot listen on {host} port {port}: {error.strerror}", field="host"
        ) from error
    sock.setblocking(False)  # noqa: FBT003 - the library's signature
    return sock


class Listener:
    """Serves one handler on one or more sockets, on the running loop.

    Args:
        handler: called with every request.
        limits: of all sockets together.
        tls: of the TCP sockets; None = plain HTTP. Unix sockets are plain.
        journal: where answers are noted; None = nowhere, at no cost.
        sharing: with other workers, of plain TCP connections; None = what is accepted is kept.
        keys: who is let through to the handler; None = everybody, at no cost.
        traced: told of each answer to a request whose trace is kept; None = nobody is.
        made: makes another kind of connection, which has no use for the handler, the journal and
            the keys; None = one that collects whole requests for the handler, and speaks HTTP/2
            with clients that begin with it.
        grpc: called with every call of gRPC that may pass; None = they are refused.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - every one is a part that may be left out
        self,
        handler: Handler,
        limits: Limits = _DEFAULT_LIMITS,
        tls: TlsGate | None = None,
        journal: Journal | None = None,
        sharing: Sharing | None = None,
        keys: Gate | None = None,
        traced: Callable[[Sampled, int], None] | None = None,
        made: Callable[[Hub], asyncio.Protocol] | None = None,
        grpc: GrpcHandler | None = None,
    ) -> None:
        """Nothing is opened before `start`."""
        self._handler = handler if keys is None else keys.before(handler)
        self._admit = None if keys is None else keys.admit
        self._limits = limits
        self._tls = tls
        self._journal = journal
        self._sharing = sharing if tls is None else None
        self._traced = traced
        self._kind = made
        self._grpc = grpc
        self._hub: Hub | None = None
        self._servers: list[asyncio.Server] = []
        self._socks: tuple[socket.socket, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._hub.connections) if self._hub else 0

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return self._hub.in_flight if self._hub else 0

    @property
    def draining(self) -> bool:
        """Whether `drain` has begun."""
        return self._hub is not None and self._hub.drain_since is not None

    async def start(self, *socks: socket.socket) -> None:
        """Listen; connections are served from here on. The sockets belong to the listener now."""
        loop = asyncio.get_running_loop()
        hub = Hub(self._handler, self._limits, loop, self._admit)
        hub.traced, hub.grpc = self._traced, self._grpc
        if self._kind is None:
            hub.http2 = cast(
                "Callable[[], asyncio.Protocol]", partial(Http2Connection, hub, self._journal)
            )
        self._hub, self._socks = hub, socks
        plain = self._plain(hub)
        if self._sharing is not None:
            self._sharing.begin(hub, plain)
        for sock in socks:
            if sock.family == socket.AF_UNIX:
                server = await loop.create_unix_server(plain, sock=sock, backlog=BACKLOG)
            else:
                server = await loop.create_server(self._made(plain), sock=sock, backlog=BACKLOG)
            self._servers.append(server)
        self._timer = loop.call_later(_SWEEP_S, self._sweep)
        if self._tls is not None:
            self._following = loop.create_task(self._tls.follow())

    def _made(self, plain: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """What a new TCP connection is given to."""
        if self._tls is not None:
            return _secure(self._tls, plain)
        return plain if self._sharing is None else self._sharing.accept

    def _plain(self, hub: Hub) -> Callable[[], asyncio.Protocol]:
        """What makes a connection: with a journal, of the kind that keeps it."""
        if self._kind is not None:
            return partial(self._kind, hub)
        journal = self._journal
        made: Callable[[], Connection] = (
            partial(Connection, hub) if journal is None else partial(LoggedConnection, hub, journal)
        )
        return cast("Callable[[], asyncio.Protocol]", made)  # in all but its base class

    async def drain(self, deadline_s: float) -> None:
        """Stop without losing a request.

        New handshakes are held off (they reach another listener of the port, or find it closed
        later), what has connected is served, every last answer of a connection says `close`, and
        a silent connection is closed after `drain_linger_s`. HTTP/1.1 leaves one gap that no
        server can close: a request sent on an idle connection in the very moment it is closed;
        clients repeat those.

        Args:
            deadline_s: seconds until what is left is cut off.
        """
        hub = self._hub
        if hub is None or not self._servers or hub.drain_since is not None:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        hub.sweep()
        hub.drain_since = hub.now
        if self._sharing is not None:
            self._sharing.leave()
        if self._following is not None:
            self._following.cancel()
        await self._stop_accepting(min(end, loop.time() + 1.0))
        if self._tls is not None:
            self._tls.hurry()
        while (hub.connections or self._shaking) and loop.time() < end:
            self._look()
            await asyncio.sleep(_DRAIN_STEP_S)
        if hub.connections:
            _log.warning(
                "the drain's deadline passed: %d connections with %d requests are cut off",
                len(hub.connections),
                hub.in_flight,
            )
        if self._sharing is not None:
            self._sharing.end()
        for connection in list(hub.connections):
            connection.cut()
        await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()

    async def _stop_accepting(self, end: float) -> None:
        """Let no new handshake begin, accept those that ended, then close the sockets."""
        loop = asyncio.get_running_loop()
        # A Unix socket's path is gone by now: whoever connected waits in its backlog.
        waiting = [_accepts if s.family == socket.AF_UNIX else backlog for s in self._socks]
        held = [s.family == socket.AF_UNIX or hold_off(s) for s in self._socks]
        if any(held):
            # Handshakes that had begun end within a round trip; the loop accepts them meanwhile.
            await asyncio.sleep(2 * _DRAIN_STEP_S)
        for sock, left, is_held in zip(self._socks, waiting, held, strict=True):
            while is_held and left(sock) and loop.time() < end:  # noqa: ASYNC110 - the kernel sets no event
                await asyncio.sleep(_DRAIN_STEP_S / 4)
        for server in self._servers:
            server.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.close()

    @property
    def _shaking(self) -> int:
        return self._tls.under_way if self._tls is not None else 0

    def _look(self) -> None:
        """One sweep."""
        assert self._hub is not None  # noqa: S101 - start was called
        self._hub.sweep()
        if self._tls is not None:
            self._tls.sweep(self._hub.now)

    def _sweep(self) -> None:
        assert self._hub is not None  # noqa: S101 - start was called
        try:
            self._look()
        finally:
            self._timer = self._hub.loop.call_later(_SWEEP_S, self._sweep)


def _secure(gate: TlsGate, plain: Callable[[], asyncio.Protocol]) -> Callable[[], TlsChannel]:
    return lambda: TlsChannel(gate, plain())


def _accepts(sock: socket.socket) -> int:
    """Whether a connection waits to be accepted."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return len(poll.poll(0))
