"""One serving process: the whole server, or one worker of a supervisor."""

import json
import logging
import socket
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop

from modelworks.apps.server_announce import announce, warn_if_open
from modelworks.apps.server_doors import bind_grpc, open_unix, with_files
from modelworks.apps.server_export import exporter_of
from modelworks.apps.server_jobs import jobs_of
from modelworks.apps.server_models import policy_of
from modelworks.apps.server_records import LAST_RECORDS_S, logger_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.edge.key_ring import KeyRing
from modelworks.edge.listener import bind
from modelworks.edge.sharing import Board, Sharing
from modelworks.edge.unix import UnixSocket
from modelworks.serving.block import Block
from modelworks.serving.doors import Openings
from modelworks.serving.heap import keep_freed
from modelworks.serving.routing.routes import RouteOptions
from modelworks.serving.sizing import Sizing
from modelworks.serving.worker import Worker, WorkerOptions

_log = logging.getLogger("modelworks.server")


def serve(settings: ServerSettings, sizing: Sizing) -> int:
    """Serve until a signal; 0 when drained.

    Args:
        settings: with the workers and threads of `sizing`.
        sizing: why so many; told to whoever asks.

    Raises:
        ModelworksError: the port, the list or the model of `--file` cannot be had.
    """
    keep_freed()
    if settings.worker:
        return _serve_worker(settings)
    sock = None if settings.unix_only else bind(settings.host, settings.port, settings.share_port)
    grpc = bind_grpc(settings, reuse_port=settings.share_port)
    unix = open_unix(settings)
    if warning := warn_if_open(settings):
        _log.warning("%s", warning)
    openings = _openings(settings, (sock, grpc, unix.sock if unix else None), unix)
    logger = logger_of(settings)

    async def run() -> None:
        door = logger.door if logger is not None else None
        options = _options(settings, sizing, door, _routes(settings))
        ready = partial(announce, settings, sock, unix, sizing)
        await Worker(options, Block(), openings, ready).run()

    if logger is not None:
        logger.start()
    try:
        uvloop.run(run())
    finally:
        if unix is not None:
            unix.remove()
        if logger is not None:
            logger.close(LAST_RECORDS_S)
    return 0


def _serve_worker(settings: ServerSettings) -> int:
    told = json.loads(settings.worker)
    link = socket.socket(fileno=told["link"])
    block = Block(settings.workers, told["slot"], told["block"])
    sock = None if settings.unix_only else bind(settings.host, settings.port, reuse_port=True)
    unix = socket.socket(fileno=told["unix"]) if told["unix"] is not None else None
    socks = (sock, bind_grpc(settings, reuse_port=True), unix)
    openings = replace(_openings(settings, socks), sharing=_sharing(settings, told))
    sizing = codec.decode(Sizing, told["sizing"], "sizing")
    door = socket.socket(fileno=told["door"]) if told["door"] is not None else None
    routes = _routes(settings, told["routes"])
    options = _options(settings, sizing, door, routes, patient=told["patient"], alone=False)

    async def run() -> None:
        worker = Worker(options, block, openings, lambda: None, link)
        await worker.run(tuple((model, verb) for model, verb in told["overrides"]))

    uvloop.run(run())
    return 0


def _sharing(settings: ServerSettings, told: dict[str, Any]) -> Sharing:
    """Our part in evening out the connections of the workers."""
    shared = told["sharing"]
    return Sharing(
        told["slot"],
        Board(settings.workers, shared["board"]),
        [socket.socket(fileno=fd) for fd in shared["inboxes"]],
        socket.socket(fileno=shared["inbox"]),
    )


def _openings(
    settings: ServerSettings,
    socks: Sequence[socket.socket | None],
    owned: UnixSocket | None = None,
) -> Openings:
    return Openings(
        socks=tuple(sock for sock in socks if sock is not None),
        tls=settings.tls,
        owned=owned,
        access_log=settings.access_log,
        form=settings.form,
        keys=KeyRing(Path(settings.keys)) if settings.keys else None,
    )


def _options(
    settings: ServerSettings,
    sizing: Sizing,
    door: socket.socket | None,
    routes: RouteOptions | None,
    *,
    patient: bool = False,
    alone: bool = True,
) -> WorkerOptions:
    return WorkerOptions(
        version=version("modelworks"),
        threads=settings.threads,
        drain_s=settings.drain_seconds,
        limits=with_files(settings.limits),
        served=settings.single(),
        watched=Path(settings.served) if settings.served else None,
        strict=bool(settings.file) or settings.share_port,
        parent=settings.minded if alone else 0,
        patient=patient or settings.share_port,
        policy=policy_of(settings),
        sizing=sizing,
        door=door,
        exporter=exporter_of(settings),
        export_seconds=settings.otlp_seconds,
        routes=routes,
        jobs=jobs_of(settings),
    )


def _routes(settings: ServerSettings, shared: Sequence[int] = ()) -> RouteOptions | None:
    """What is told of routes; `shared` are the descriptors of what all workers count in."""
    return RouteOptions(Path(settings.routes), *shared) if settings.routes else None
