"""One gateway process: routes, callers, admin address, signals, drain. Alone, or one of several."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from modelworks.core.discovery import Finder
from modelworks.core.errors import ModelworksError
from modelworks.core.ids import iso
from modelworks.core.routes import Snapshot
from modelworks.edge.access_lines import Form
from modelworks.edge.access_log import AccessLog
from modelworks.edge.exchange import Exchange
from modelworks.edge.hub import Hub
from modelworks.edge.journal import Journal
from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener
from modelworks.edge.sharing import Sharing
from modelworks.edge.tls import TlsFiles
from modelworks.edge.tls_gate import TlsGate
from modelworks.gateway.admin import Admin
from modelworks.gateway.caller import Caller
from modelworks.gateway.checks import Checks
from modelworks.gateway.counts import Counts
from modelworks.gateway.fetch import Fetcher
from modelworks.gateway.follow import Follower
from modelworks.gateway.front import Front, Ways
from modelworks.gateway.names import Names
from modelworks.gateway.own import Own
from modelworks.gateway.pairs import Pairs
from modelworks.gateway.shadows import Shadows
from modelworks.gateway.table import Maker
from modelworks.gateway.tallies import Tallies
from modelworks.plugins.load import load
from modelworks.protocol.routes.access import Access
from modelworks.protocol.routes.limits import Table as LimitTable

_log = logging.getLogger("modelworks.gateway")
_PARENT_S: Final = 0.25
_GARBAGE: Final = (20_000, 20, 50)
_SWITCH_S: Final = 0.0005  # the thread that makes tables gives way to the loop so often
_LIMITS: Final = Limits(max_body_bytes=1 << 40)
_WAYS: Final = Ways()


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How one worker goes about it.

    Attributes:
        snapshot: file that is followed.
        socks: of callers, bound and not listening.
        admin: of the admin address; None = there is none.
        ways: see there.
        limits: of the HTTP edge.
        tls: of callers' connections; None = plain HTTP.
        upstream_ca: authorities (PEM) that upstreams are trusted by; None = the system's.
        zone: our own.
        access_log: a path, `-`, or empty for none.
        form: of its lines.
        pairs: file of pairs of answers; None = none are kept.
        check_s: between two health checks of one upstream.
        drain_s: seconds a drain may take.
        parent: end when the parent process does.
        sharing: of connections with other workers; None = there are none.
        cells: of limits, that workers share; None = ours alone.
        tallies: folder of the workers' counts; None = there is one worker.
        slot: ours.
        strict: callers are not served without routes: it ends instead.
        directories: address and secret of `dns` and `consul`, where they are told.
        began: when the first of the workers did, seconds since 1970; 0 = now.
    """

    snapshot: Path
    socks: tuple[socket.socket, ...]
    admin: socket.socket | None = None
    ways: Ways = _WAYS
    limits: Limits = _LIMITS
    tls: TlsFiles | None = None
    upstream_ca: Path | None = None
    zone: str = ""
    access_log: str = ""
    form: Form = Form.JSON
    pairs: Path | None = None
    check_s: float = 2.0
    drain_s: float = 30.0
    parent: bool = False
    sharing: Sharing | None = None
    cells: "memoryview[float] | None" = None
    tallies: Path | None = None
    slot: int = 0
    strict: bool = False
    began: float = 0.0
    directories: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class GatewayWorker:
    """Runs until a signal, its parent's end or `stop`.

    Args:
        options: see there.
        ready: called once, when callers are served.
        fetcher: of the snapshot's file; None = somebody else writes it.

    Raises:
        ModelworksError: a file cannot be used.
    """

    def __init__(
        self, options: GatewayOptions, ready: Callable[[], None], fetcher: Fetcher | None = None
    ) -> None:
        self._options = options
        self._ready = ready
        self._fetcher = fetcher
        self._over = asyncio.Event()
        counts = Counts()
        self._tallies = Tallies(options.tallies, options.slot, counts)
        self._pairs = Pairs(options.pairs, counts) if options.pairs is not None else None
        journal = Journal() if options.access_log else None
        self._journal = (
            AccessLog(options.access_log, options.form, journal) if journal is not None else None
        )
        self._front = Front(options.ways, counts, Shadows(self._pairs), journal)
        self._own = Own(self._front)
        cafile = str(options.upstream_ca) if options.upstream_ca is not None else None
        context = ssl.create_default_context(cafile=cafile)
        limits = LimitTable(options.cells)
        self._names = Names(partial(_finder, options.directories))
        maker = Maker(counts, options.zone, partial(_let_in, limits), context, self._names.expand)
        self._follower = Follower(options.snapshot, maker, self._front, self._names)
        gate = None
        if options.tls is not None:
            gate = TlsGate(options.tls, handshake_timeout_s=options.limits.header_timeout_s)
        self._listener = Listener(
            _nothing, options.limits, gate, sharing=options.sharing, made=self._caller
        )
        self._admin: Listener | None = None
        if options.admin is not None:
            parts = (self._front, self._own, self._tallies, self._follower, self._listener)
            self._admin = Listener(Admin(*parts, self._told, options.began))

    def _caller(self, hub: Hub) -> asyncio.Protocol:
        made = Caller(hub, self._front, self._own)
        return cast("asyncio.Protocol", made)  # in all but its base class

    async def run(self) -> None:
        """Serve, then drain.

        Raises:
            ModelworksError: the first snapshot cannot be gone by.
        """
        loop = self._front.loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        again = self._journal.reopen if self._journal is not None else self.stop
        loop.add_signal_handler(signal.SIGHUP, again)
        gc.set_threshold(*_GARBAGE)
        options = self._options
        if self._fetcher is None or options.strict or options.snapshot.exists():
            self._follower.first()
        tasks = [loop.create_task(Checks(self._front, self._options.check_s).run())]
        if self._options.parent:
            tasks.append(loop.create_task(self._mind_parent()))
        self._follower.start()
        self._tallies.start()
        if self._journal is not None:
            self._journal.start()
        try:
            if self._admin is not None and self._options.admin is not None:
                await self._admin.start(self._options.admin)
            await self._listener.start(*self._options.socks)
            gc.collect()
            gc.freeze()
            self._ready()
            await self._over.wait()
            await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            self._front.shadows.close()
            table = self._front.table
            for place in table.places.values() if table is not None else ():
                place.end()
            self._close()

    def stop(self) -> None:
        """Drain, and end; twice is quiet."""
        self._over.set()

    async def _drain(self) -> None:
        self._own.draining = True
        _log.info("draining: %d requests are under way", self._listener.in_flight)
        await self._listener.drain(self._options.drain_s)
        if self._admin is not None:
            await self._admin.drain(1.0)

    def _close(self) -> None:
        self._follower.close()
        if self._fetcher is not None:
            self._fetcher.close()
        if self._pairs is not None:
            self._pairs.close()
        if self._journal is not None:
            self._journal.close()
        self._tallies.close()

    def _told(self) -> dict[str, Any]:
        """What the state tells beside the routes."""
        told: dict[str, Any] = {"pid": os.getpid(), "worker": self._options.slot}
        fetcher = self._fetcher
        if fetcher is not None:
            heard = iso(int(fetcher.heard * 1e9)) if fetcher.heard else None
            told["control_plane"] = {"heard": heard, "problem": fetcher.problem or None}
        if names := self._names.told():
            told["names"] = names
        return told

    async def _mind_parent(self) -> None:
        parent = os.getppid()
        while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(_PARENT_S)
        self.stop()


def _let_in(limits: LimitTable, snapshot: Snapshot) -> Access:
    """Who a snapshot lets in; what checks signatures is loaded where it is needed."""
    key = None
    if snapshot.tokens is not None:
        with contextlib.suppress(ModelworksError):
            key = load("tokens", "jwt")
    return Access(snapshot, key, limits)


def _finder(directories: Mapping[str, tuple[str, str]], directory: str) -> Finder:
    """What finds endpoints in a directory; loaded where a route asks for it."""
    made: Finder = load("finders", directory)(*directories.get(directory, ("", "")))
    return made


def _nothing(exchange: Exchange) -> None:
    """No request comes this way: `Caller` takes them all."""
    exchange.reply(500, b"", b"")
