"""Several workers on one port, under one supervisor process."""

import json
import logging
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from modelworks.apps.server_announce import announce, warn_if_open
from modelworks.apps.server_doors import bind_grpc, open_unix
from modelworks.apps.server_records import LAST_RECORDS_S, logger_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.core.key_file import parse_file
from modelworks.edge.listener import bind
from modelworks.edge.sharing import Board
from modelworks.serving.block_file import memory_file, shared_file
from modelworks.serving.routing.shared import LIMITS_BYTES
from modelworks.serving.sizing import Sizing
from modelworks.serving.supervisor import Start, Supervisor

_log = logging.getLogger("modelworks.server")


def supervise(settings: ServerSettings, arguments: Sequence[str], sizing: Sizing) -> int:
    """Run `settings.workers` workers until a signal; the exit code.

    Args:
        settings: with the workers and threads of `sizing`.
        arguments: of the command line, given on to the workers.
        sizing: why so many; told to whoever asks.

    Raises:
        ConflictError: the port is taken.
        InvalidError: the address is none, or the key file is.
        NotFoundError: there is no key file.
    """
    if settings.keys:
        parse_file(Path(settings.keys))  # said here once, not by every worker
    port, sock = _port(settings)
    _second = _grpc_port(settings)  # never listens: it keeps the port ours
    unix = open_unix(settings)
    block = shared_file(settings.workers)
    shared = _Shared(settings.workers)
    routes: list[int] = []
    if settings.routes:
        routes = [shared_file(settings.workers), memory_file("modelworks-limits", LIMITS_BYTES)]
    logger = logger_of(settings)
    if warning := warn_if_open(settings):
        _log.warning("%s", warning)

    def command(start: Start) -> list[str]:
        told = {
            "slot": start.slot,
            "link": start.link,
            "block": block,
            "sharing": shared.told(start.slot),
            "unix": unix.sock.fileno() if unix is not None else None,
            "door": logger.door.fileno() if logger is not None else None,
            "routes": routes,
            "patient": start.patient,
            "overrides": start.overrides,
            "sizing": codec.encode(sizing),
        }
        module = [sys.executable, "-m", "modelworks.apps.server"]
        chosen = ["--workers", str(sizing.workers), "--threads", str(sizing.threads)]
        return [*module, *arguments, *chosen, "--port", str(port), "--worker", json.dumps(told)]

    beside = [part.fileno() for part in (unix and unix.sock, logger and logger.door) if part]
    supervisor = Supervisor(
        settings.workers,
        command,
        (block, *shared.fds, *beside, *routes),
        settings.drain_seconds,
        partial(announce, settings, sock, unix, sizing),
        parent=settings.minded,
        reopens=bool(settings.access_log),
        ended=shared.ended,
        leaving=unix.remove if unix is not None else lambda: None,
    )
    if logger is None:
        return supervisor.run()
    logger.start()
    try:
        return supervisor.run()
    finally:
        logger.close(LAST_RECORDS_S)


class _Shared:
    """What the workers need to even out their connections; kept here for those that come later."""

    def __init__(self, workers: int) -> None:
        self._board = memory_file("modelworks-connections", Board.size(workers))
        self._pairs = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(workers)]
        for place in range(workers):
            self.ended(place)

    @property
    def fds(self) -> tuple[int, ...]:
        """What every worker inherits."""
        return (self._board, *(end.fileno() for pair in self._pairs for end in pair))

    def told(self, slot: int) -> dict[str, object]:
        """What one worker is told."""
        return {
            "board": self._board,
            "inboxes": [writing.fileno() for writing, _ in self._pairs],
            "inbox": self._pairs[slot][1].fileno(),
        }

    def ended(self, slot: int) -> None:
        """A worker takes no connections any more."""
        Board.close(self._board, slot)


def _grpc_port(settings: ServerSettings) -> socket.socket | None:
    """What keeps the second port ours; None = there is none."""
    if not settings.share_port and (probe := bind_grpc(settings)) is not None:
        probe.close()  # alone first, as there
    return bind_grpc(settings, reuse_port=True)


def _port(settings: ServerSettings) -> tuple[int, socket.socket | None]:
    """The port that the workers share, and what keeps it ours."""
    if settings.unix_only:
        return settings.port, None
    if settings.share_port:
        return settings.port, bind(settings.host, settings.port, reuse_port=True)
    # Alone first: a port that is shared on purpose would not tell that somebody has it.
    with bind(settings.host, settings.port) as probe:
        port = probe.getsockname()[1]
    return port, bind(settings.host, port, reuse_port=True)  # never listens
