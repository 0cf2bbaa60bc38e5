"""Where one worker is reached: its sockets, TLS, its access log; opened, drained, reopened."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from modelworks.edge.access_lines import Form
from modelworks.edge.access_log import AccessLog
from modelworks.edge.exchange import Handler
from modelworks.edge.http2.call import GrpcHandler
from modelworks.edge.journal import Journal
from modelworks.edge.key_gate import KeyGate, NamingGate
from modelworks.edge.key_ring import KeyRing
from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener
from modelworks.edge.request import Sampled
from modelworks.edge.sharing import Sharing
from modelworks.edge.tls import TlsFiles
from modelworks.edge.tls_gate import TlsGate
from modelworks.edge.unix import UnixSocket


@dataclass(frozen=True, slots=True)
class Openings:
    """What a worker opens.

    Attributes:
        socks: TCP ones are bound and do not listen yet; Unix ones listen.
        tls: of the TCP ones; None = plain HTTP.
        owned: the Unix socket whose path this process takes away when it drains.
        access_log: a path, `-`, or empty for none.
        form: of its lines.
        sharing: of connections with the other workers; None = there are none.
        keys: the API keys that are asked for; None = none are.
    """

    socks: tuple[socket.socket, ...]
    tls: TlsFiles | None = None
    owned: UnixSocket | None = None
    access_log: str = ""
    form: Form = Form.JSON
    sharing: Sharing | None = None
    keys: KeyRing | None = None


class Doors:
    """The listener of a worker and what belongs to it.

    Args:
        handler: of every request.
        limits: of the HTTP edge.
        openings: see there.
        traced: told of each answer to a request whose trace is kept.
        gate: in front of the handler in the place of the API keys' own; None = that one, where
            there are keys.
        grpc: answers calls of gRPC; None = they are refused.

    Raises:
        InvalidError: a TLS file or the access log cannot be used; `field` says which.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        openings: Openings,
        traced: Callable[[Sampled, int], None] | None = None,
        gate: NamingGate | None = None,
        grpc: GrpcHandler | None = None,
    ) -> None:
        self._openings = openings
        tls = None
        if openings.tls is not None:
            # As patient with a handshake as with the headers that follow it.
            tls = TlsGate(openings.tls, handshake_timeout_s=limits.header_timeout_s, http2=True)
        journal = Journal() if openings.access_log else None
        self._keys = keys = openings.keys
        name_of = keys.name_of if keys is not None else None
        name_of = name_of if gate is None else gate.name_of
        self._log = (
            AccessLog(openings.access_log, openings.form, journal, name_of)
            if journal is not None
            else None
        )
        known = gate or (KeyGate(keys) if keys is not None else None)
        self._listener = Listener(
            *(handler, limits, tls, journal, openings.sharing, known, traced), grpc=grpc
        )

    @property
    def logs(self) -> bool:
        """Whether an access log is kept."""
        return self._log is not None

    async def start(self) -> None:
        """Serve from here on."""
        if self._keys is not None:
            self._keys.start()
        if self._log is not None:
            self._log.start()
        await self._listener.start(*self._openings.socks)

    async def drain(self, seconds: float) -> None:
        """Let nobody new in, answer who is there, write the log's last lines."""
        if self._openings.owned is not None:
            self._openings.owned.remove()
        await self._listener.drain(seconds)
        if self._keys is not None:
            self._keys.close()
        if self._log is not None:
            self._log.close()

    def reopen(self) -> None:
        """The access log was moved away."""
        if self._log is not None:
            self._log.reopen()
