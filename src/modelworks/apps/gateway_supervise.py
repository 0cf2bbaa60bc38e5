"""Several gateway workers on one port: started, started again when one dies, drained together."""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from modelworks.apps.gateway_run import announce, bind_admin, fetcher_of, snapshot_of, warn
from modelworks.apps.gateway_settings import GatewaySettings
from modelworks.core.errors import CrashedError
from modelworks.edge.listener import bind
from modelworks.edge.sharing import Board
from modelworks.protocol.routes.limits import CELLS, SUBJECTS
from modelworks.serving.block_file import memory_file

_log = logging.getLogger("modelworks.gateway")
_READY_S: Final = 30.0
_FIRST_S: Final = 5.0
_POLL_S: Final = 0.05
_REST_S: Final = 0.2  # before a worker that died is started again; doubled each time
_LONGEST_S: Final = 10.0
_WELL_S: Final = 30.0  # a worker that lived so long begins anew with the short rest
_SLACK_S: Final = 5.0


def supervise(settings: GatewaySettings, arguments: Sequence[str]) -> int:
    """Run `settings.workers` workers until a signal; the exit code.

    Raises:
        ConflictError: a port is taken.
        InvalidError: an address is none.
        CrashedError: the workers do not become ready.
    """
    warn(settings)
    # Alone first: a port that is shared on purpose would not tell that somebody has it.
    with bind(settings.host, settings.port, settings.share_port) as probe:
        port = probe.getsockname()[1]
    kept = bind(settings.host, port, reuse_port=True)  # never listens
    admin = bind_admin(settings)
    admin_port = admin.getsockname()[1] if admin is not None else -1
    if admin is not None:
        admin.close()
    fetcher = fetcher_of(settings)
    if fetcher is not None:
        fetcher.start()
        fetcher.first(_FIRST_S)
    with tempfile.TemporaryDirectory(prefix="modelworks-gateway-") as folder:
        chosen = [*arguments, "--port", str(port), "--admin-port", str(admin_port)]
        crew = _Crew(settings, chosen, Path(folder))
        try:
            crew.start()
            announce(settings, port, max(admin_port, 0))
            return crew.run()
        finally:
            crew.end()
            kept.close()
            if fetcher is not None:
                fetcher.close()


class _Crew:
    """The workers."""

    def __init__(self, settings: GatewaySettings, arguments: Sequence[str], folder: Path) -> None:
        self._settings = settings
        self._arguments = arguments
        self._folder = folder
        self._count = settings.workers
        self._board = memory_file("modelworks-gateway-connections", Board.size(self._count))
        self._cells = memory_file("modelworks-gateway-limits", CELLS * SUBJECTS * 8)
        self._pairs = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(self._count)]
        self._workers: list[subprocess.Popen[bytes] | None] = [None] * self._count
        self._began = [0.0] * self._count
        self._rests = [_REST_S] * self._count
        self._again = [0.0] * self._count
        self._over = False
        self._born = time.time()
        self._parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on if settings.access_log else self._stop)

    def start(self) -> None:
        """Start all; back when all serve."""
        for slot in range(self._count):
            Board.close(self._board, slot)
        waiting = [self._spawn(slot) for slot in range(self._count)]
        end = time.monotonic() + _READY_S
        for fd in waiting:
            found, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
            ready = bool(found) and os.read(fd, 1) == b"."
            os.close(fd)
            if self._over:
                return
            if not ready:
                raise CrashedError("a worker of the gateway did not become ready: see its messages")

    def run(self) -> int:
        """Mind them until a signal; 0 when drained."""
        while not self._over:
            time.sleep(_POLL_S)
            if self._settings.with_parent and os.getppid() != self._parent:
                break
            for slot in range(self._count):
                self._mind(slot)
        return 0

    def end(self) -> None:
        """Drain all."""
        for worker in self._workers:
            if worker is not None and worker.poll() is None:
                worker.terminate()
        end = time.monotonic() + self._settings.drain_seconds + _SLACK_S
        for worker in self._workers:
            if worker is None:
                continue
            try:
                worker.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _mind(self, slot: int) -> None:
        """Start a worker again that died, after a rest."""
        worker, now = self._workers[slot], time.monotonic()
        if worker is not None:
            code = worker.poll()
            if code is None:
                return
            self._workers[slot] = None
            Board.close(self._board, slot)
            if now - self._began[slot] > _WELL_S:
                self._rests[slot] = _REST_S
            self._again[slot] = now + self._rests[slot]
            self._rests[slot] = min(2 * self._rests[slot], _LONGEST_S)
            _log.error("worker %d of the gateway ended (code %d): starting another", slot, code)
        elif now >= self._again[slot]:
            os.close(self._spawn(slot))

    def _spawn(self, slot: int) -> int:
        """Start one; the reading end of where it says that it is ready."""
        reading, writing = os.pipe()
        inbox = self._pairs[slot][1]
        inboxes = [end.fileno() for end, _ in self._pairs]
        told = {
            "slot": slot,
            "ready": writing,
            "snapshot": str(snapshot_of(self._settings)),
            "board": self._board,
            "inboxes": inboxes,
            "inbox": inbox.fileno(),
            "cells": self._cells,
            "cells_size": CELLS * SUBJECTS * 8,
            "tallies": str(self._folder),
            "began": self._born,
        }
        command = [sys.executable, "-m", "modelworks.apps.gateway", *self._arguments]
        try:
            self._workers[slot] = subprocess.Popen(
                [*command, "--worker", json.dumps(told)],
                pass_fds=(writing, self._board, self._cells, inbox.fileno(), *inboxes),
            )
        finally:
            os.close(writing)
        self._began[slot] = time.monotonic()
        return reading

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._over = True

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """The access log was moved away."""
        del frame
        for worker in self._workers:
            if worker is not None and worker.poll() is None:
                worker.send_signal(number)
