"""One serving process: models, listener, signals, drain. Alone, or one of several on a port."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.core.errors import ModelworksError
from modelworks.core.served import ServedList
from modelworks.edge.key_ring import KeyRing
from modelworks.edge.limits import Limits
from modelworks.protocol.openmetrics import Family
from modelworks.serving.app import App
from modelworks.serving.block import Block
from modelworks.serving.control import Link, LocalControl, act_here
from modelworks.serving.doors import Doors, Openings
from modelworks.serving.export import Export
from modelworks.serving.grpc.service import GrpcService
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.owners import owner_of
from modelworks.serving.models import ModelTable
from modelworks.serving.outbox import Outbox
from modelworks.serving.policy import Policy
from modelworks.serving.routing.routes import RouteOptions, Routes
from modelworks.serving.sizing import Sizing, as_set
from modelworks.serving.statistics import Recorder
from modelworks.serving.traces import Traces
from modelworks.serving.watch import ListWatch

_log = logging.getLogger("modelworks.serving")
_PARENT_PERIOD_S: Final = 0.25
_FAMILIES_S: Final = 2.0
_LIMITS: Final = Limits()
# A request leaves no cycle behind. With Python's own 700, of every eight microseconds of a request
# one goes into looking for what is not there.
_GARBAGE: Final = (20_000, 20, 50)
_POLICY: Final = Policy()
_ALONE: Final = as_set(1, 1)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How one worker serves.

    Attributes:
        version: of Modelworks.
        threads: engine threads a model.
        drain_s: seconds a drain may take.
        limits: of the HTTP edge.
        served: a list that never changes; None = `watched`.
        watched: a served list's file, followed while we run.
        strict: a model that cannot be loaded at the start ends the process instead of being
            unavailable.
        parent: id of the parent process: end when it does; 0 = do not look.
        policy: about memory, and about loading on demand.
        patient: listen only when the models are loaded: others serve the port meanwhile.
        sizing: how many workers and threads there are, and why.
        door: to the logger of records; None = nothing is recorded.
        exporter: command of the process that traces and metrics are told to; () = there is none.
        export_seconds: between two tellings of the metrics.
        routes: that are gone by; None = there are none.
        jobs: how they are kept; None = they are not.
    """

    version: str
    threads: int = 1
    drain_s: float = 30.0
    limits: Limits = _LIMITS
    served: ServedList | None = None
    watched: Path | None = None
    strict: bool = False
    parent: int = 0
    patient: bool = False
    policy: Policy = _POLICY
    sizing: Sizing = _ALONE
    door: socket.socket | None = None
    exporter: tuple[str, ...] = ()
    export_seconds: float = 15.0
    routes: RouteOptions | None = None
    jobs: JobOptions | None = None


class Worker:
    """Runs until a signal, its parent's end or `stop`.

    Args:
        options: see there.
        block: the counters.
        openings: where it is reached.
        ready: called once, when the models have been loaded.
        link: to the supervisor; None = alone.
    """

    def __init__(
        self,
        options: WorkerOptions,
        block: Block,
        openings: Openings,
        ready: Callable[[], None],
        link: socket.socket | None = None,
    ) -> None:
        self._options = options
        self._link_socket = link
        self._link: Link | None = None
        self._ready = ready
        self._over = asyncio.Event()
        self._routes = (
            Routes(options.routes, block.workers, block.slot, openings.keys)
            if options.routes is not None
            else None
        )
        router = self._routes.router if self._routes is not None else None
        self._app = App(
            *(block, options.version, time.time(), options.sizing, openings.keys, router)
        )
        self._outbox = Outbox(options.door, block) if options.door is not None else None
        self._table = ModelTable(
            block, options.threads, self._app.refresh, options.policy, self._outbox
        )
        if options.jobs is not None:
            self._keep_jobs(block, options.jobs, openings.keys)
        self._export = self._exporting(block, "http" if openings.tls is None else "https")
        gate = self._routes.gate if self._routes is not None else None
        self._grpc = GrpcService(self._app)
        self._doors = Doors(
            *(self._app, options.limits, openings, self._app.traced, gate), grpc=self._grpc
        )
        self._watch: ListWatch | None = None
        self._newest: ServedList | None = None
        self._applying: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, overrides: tuple[tuple[str, str], ...] = ()) -> None:
        """Serve, then drain.

        Args:
            overrides: (model, `load` or `unload`) as asked for before this worker began.

        Raises:
            ModelworksError: the list, or with `strict` a model, cannot be served.
        """
        self._loop = loop = asyncio.get_running_loop()
        if self._export is not None:
            self._export.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        # Without an access log to open anew it is the end, as everywhere.
        loop.add_signal_handler(
            signal.SIGHUP, self._doors.reopen if self._doors.logs else self.stop
        )
        if self._link_socket is not None:
            self._link = await Link.connect(self._link_socket, self._table, self.stop)
        self._app.begin(self._table, self._link or LocalControl(self._table))
        if self._routes is not None:
            await self._routes.start(self._app.refresh)
        patient = self._options.patient
        minding = loop.create_task(self._mind_parent()) if self._options.parent else None
        if not patient:
            await self._doors.start()
        try:
            await self._load(overrides)
            self._app.jobs.start()
            if patient and not self._over.is_set():
                await self._doors.start()
            if not self._over.is_set():
                self._announce()
            await self._over.wait()
        finally:
            if minding is not None:
                minding.cancel()
            await self._drain()

    def _keep_jobs(self, block: Block, options: JobOptions, keys: KeyRing | None) -> None:
        """Load whoever keeps jobs: only where there are any."""
        from modelworks.serving.jobs.desk import Desk  # noqa: PLC0415 - and SQLite with it

        who = owner_of(keys, self._routes.router if self._routes is not None else None)
        self._app.jobs = Desk(options, self._table, Recorder.of_server(block), who)

    def _exporting(self, block: Block, scheme: str) -> Export | None:
        """What tells the exporter, where there is one; one worker tells it the metrics of all."""
        options = self._options
        if not options.exporter:
            return None
        traces = Traces(scheme)
        self._app.export(traces)
        families = self._on_loop if block.slot == 0 else None
        command, seconds = options.exporter, options.export_seconds
        return Export(command, traces, families, time.time(), seconds)

    def _on_loop(self) -> list[Family]:
        """The metrics, for another thread: counters are read on the loop's own.

        Raises:
            TimeoutError: the loop is too busy, or has ended.
        """
        told: Future[list[Family]] = Future()

        def read() -> None:
            if not told.cancelled():
                told.set_result(self._app.families())

        assert self._loop is not None  # noqa: S101 - it runs
        self._loop.call_soon_threadsafe(read)
        try:
            return told.result(_FAMILIES_S)
        except TimeoutError:
            told.cancel()
            raise

    def stop(self) -> None:
        """Begin to drain."""
        self._over.set()

    async def _load(self, overrides: tuple[tuple[str, str], ...]) -> None:
        served = self._options.served
        if self._options.watched is not None:
            self._watch = ListWatch(self._options.watched, self._changed, self._broken)
            served = await asyncio.to_thread(self._watch.read)
        loading = asyncio.ensure_future(self._table.apply(served or ServedList(0, ())))
        over = asyncio.ensure_future(self._over.wait())
        await asyncio.wait({loading, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not loading.done():  # asked to stop while loading: nothing is owed to anybody
            loading.cancel()
            return
        loading.result()
        for entry in self._table.entries():
            wanted = entry.starts or self._options.watched is None
            if self._options.strict and wanted and entry.live is None:
                # Loading it again raises the reason with its class.
                await self._table.load(entry.served.name)
        for model, verb in overrides:
            with contextlib.suppress(ModelworksError):
                await act_here(self._table, verb, model)
        if self._watch is not None:
            self._watch.start()

    def _announce(self) -> None:
        self._grpc.refresh()
        gc.freeze()  # what is here now stays: a full collection need not walk it, and is short
        gc.set_threshold(*_GARBAGE)
        if self._link is not None:
            self._link.say({"type": "ready", "pid": os.getpid()})
        self._ready()

    async def _mind_parent(self) -> None:
        """Stop when the parent process is gone, while models are still loading too."""
        while not self._over.is_set():
            if os.getppid() != self._options.parent:
                _log.warning("the parent process is gone: stopping")
                self.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), _PARENT_PERIOD_S)

    async def _drain(self) -> None:
        began = time.monotonic()
        self._app.draining = True
        self._grpc.drain()
        if self._watch is not None:
            self._watch.stop()
        if self._routes is not None:
            self._routes.stop()
        await self._doors.drain(self._options.drain_s)
        await self._app.jobs.close()
        left = self._options.drain_s - (time.monotonic() - began)
        await self._table.close(max(0.5, left))
        if self._outbox is not None:
            await self._outbox.close()
        if self._export is not None:
            await asyncio.to_thread(self._export.close)
        _log.info("drained in %.2f s", time.monotonic() - began)

    def _changed(self, served: ServedList) -> None:
        """A new list: in force as soon as the one before it is; only the newest waits."""
        self._newest = served
        if self._applying is None:
            self._applying = asyncio.get_running_loop().create_task(self._apply())

    async def _apply(self) -> None:
        try:
            while self._newest is not None:
                served, self._newest = self._newest, None
                try:
                    await self._table.apply(served)
                    self._table.problem = ""
                except ModelworksError as error:
                    self._broken(error.message)
        finally:
            self._applying = None

    def _broken(self, reason: str) -> None:
        _log.error("the served list is not usable, the last good one stays in force: %s", reason)
        self._table.problem = reason
