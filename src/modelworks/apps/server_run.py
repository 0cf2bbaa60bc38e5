"""One serving process: the whole server, or one worker of a supervisor."""

import json
import logging
import socket
from importlib.metadata import version
from pathlib import Path

import uvloop

from modelworks.apps.server_announce import announce, warn_if_open
from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.edge.listener import bind
from modelworks.serving.block import Block
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
    if settings.worker:
        return _serve_worker(settings)
    sock = bind(settings.host, settings.port)
    if warning := warn_if_open(settings.host):
        _log.warning("%s", warning)

    async def run() -> None:
        options = _options(settings, sizing)
        worker = Worker(options, Block(), sock, lambda: announce(settings, sock, sizing))
        await worker.run()

    uvloop.run(run())
    return 0


def _serve_worker(settings: ServerSettings) -> int:
    told = json.loads(settings.worker)
    link = socket.socket(fileno=told["link"])
    block = Block(settings.workers, told["slot"], told["block"])
    sock = bind(settings.host, settings.port, reuse_port=True)
    sizing = codec.decode(Sizing, told["sizing"], "sizing")
    options = _options(settings, sizing, patient=told["patient"], alone=False)

    async def run() -> None:
        worker = Worker(options, block, sock, lambda: None, link)
        await worker.run(tuple((model, verb) for model, verb in told["overrides"]))

    uvloop.run(run())
    return 0


def _options(
    settings: ServerSettings, sizing: Sizing, *, patient: bool = False, alone: bool = True
) -> WorkerOptions:
    return WorkerOptions(
        version=version("modelworks"),
        threads=settings.threads,
        drain_s=settings.drain_seconds,
        served=settings.single(),
        watched=Path(settings.served) if settings.served else None,
        strict=bool(settings.file),
        parent=settings.with_parent and alone,
        patient=patient,
        sizing=sizing,
    )
