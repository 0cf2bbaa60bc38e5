"""The supervisor of one deployment's replicas: makes what it is told so, and says what it sees."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from modelworks.apps.replica import ReplicaProcess
from modelworks.apps.replica_rules import decide
from modelworks.core.errors import ConflictError, InvalidError, ModelworksError, UnavailableError
from modelworks.core.files import replace_text
from modelworks.core.local import LocalShare, LocalStatus, LocalWanted
from modelworks.core.local_folder import (
    BEAT_S,
    Layout,
    read_status,
    read_wanted,
    replicas_of,
)
from modelworks.core.lock import locked
from modelworks.edge.listener import bind

_log = logging.getLogger("modelworks.replicas")
_TICK_S: Final = 0.1
_WEIGH_S: Final = 1.0
_PORT_S: Final = 0.5
_PROBES: Final = 16  # at the same time; one that hangs holds up no other but these


class Replicas:
    """All replicas of a deployment, on one thread; probes wait on others.

    Args:
        layout: of its folder.
        over: set when all of them are to drain and end.
    """

    def __init__(self, layout: Layout, over: threading.Event) -> None:
        self._layout = layout
        self._over = over
        self._wanted: LocalWanted | None = None
        self._stamp: tuple[int, int] = (0, 0)
        self._told: set[int] = set()
        self._ports = _Ports()
        self._next_ports = self._next_weigh = 0.0
        self._written = ""
        self._beat = 0.0
        self._problem = ""
        self._replicas: list[ReplicaProcess] = []

    def run(self) -> None:
        """Until `over`, or until the folder is gone, and every replica has ended."""
        with ThreadPoolExecutor(_PROBES, "probe") as pool:
            while self._replicas or not self._over.is_set():
                self._turn(time.monotonic(), pool)
                time.sleep(_TICK_S)
        shutil.rmtree(self._layout.sockets, ignore_errors=True)

    def _turn(self, now: float, pool: ThreadPoolExecutor) -> None:
        self._read()
        for replica in self._replicas:
            replica.tend(now, pool)
        for replica in [one for one in self._replicas if one.gone]:
            self._replicas.remove(replica)
            replica.forget()
        if self._over.is_set():
            self._change(now, ())
        elif self._wanted is not None:
            self._change(now, self._startable(now, self._wanted.shares))
        if now >= self._next_weigh:
            self._next_weigh = now + _WEIGH_S
            for replica in self._replicas:
                replica.weigh()
                replica.trim()
            self._forget()
        self._tell(now)

    def _change(self, now: float, shares: tuple[LocalShare, ...]) -> None:
        name = self._layout.folder.name
        changes = decide(name, shares, [one.known for one in self._replicas])
        ending = set(changes.end)
        for replica in self._replicas:
            if replica.name in ending:
                replica.drain(now)
        for new, share in changes.start:
            self._replicas.append(ReplicaProcess(new, share, self._layout))

    def _startable(self, now: float, shares: tuple[LocalShare, ...]) -> tuple[LocalShare, ...]:
        """The shares, with none more of those whose port is somebody else's."""
        if now >= self._next_ports:
            self._next_ports = now + _PORT_S
            ours = {(one.share.host, one.share.port) for one in self._replicas if one.pid}
            self._ports.hold({(s.host, s.port) for s in shares if s.replicas}, ours)
        return tuple(
            share
            for share in shares
            if not share.replicas or (share.host, share.port) in self._ports.held
        )

    def _read(self) -> None:
        """What is wanted, when the file is another than before."""
        try:
            found = self._layout.wanted.stat()
        except FileNotFoundError:
            if not self._layout.folder.exists():
                self._over.set()  # somebody removed everything: nobody will tell us to end
            return
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        first = self._wanted is None
        try:
            self._wanted, self._problem = read_wanted(self._layout.wanted), ""
        except InvalidError as error:
            self._problem = f"{error.message}; what was wanted before stays in force"
            _log.warning("%s", self._problem)
            return
        self._next_ports = 0.0
        self._told |= {share.revision for share in self._wanted.shares}
        if first:
            self._adopt(self._wanted)

    def _forget(self) -> None:
        """Remove lists and secrets of revisions that were wanted once and that nobody runs."""
        layout = self._layout
        if self._over.is_set() or self._told == {one.share.revision for one in self._replicas}:
            return
        with contextlib.suppress(UnavailableError), locked(layout.applying, 0.0):
            self._read()  # whoever applies writes them before we are told of them
            shares = self._wanted.shares if self._wanted is not None else ()
            needed = {share.revision for share in shares}
            needed |= {replica.share.revision for replica in self._replicas}
            for revision in self._told - needed:
                shutil.rmtree(layout.served(revision).parent, ignore_errors=True)
                shutil.rmtree(layout.secrets(revision), ignore_errors=True)
            self._told &= needed

    def _adopt(self, wanted: LocalWanted) -> None:
        """Take over what an earlier supervisor left running."""
        before = read_status(self._layout.status)
        restarts = {one.name: one.restarts for one in before.replicas} if before else {}
        shares = {one.digest: one for one in wanted.shares}
        for pid, mark in sorted(replicas_of(self._layout.folder).items()):
            taken = {one.name for one in self._replicas}
            if mark.digest in shares and mark.replica not in taken:
                share, again = shares[mark.digest], restarts.get(mark.replica, 0)
                self._replicas.append(ReplicaProcess(mark.replica, share, self._layout, pid, again))
                continue
            _log.warning("%s runs what nobody wants any more: it drains", mark.replica)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _tell(self, now: float) -> None:
        status = LocalStatus(
            applied=self._wanted.digest if self._wanted is not None else "",
            replicas=tuple(one.seen for one in sorted(self._replicas, key=lambda one: one.name)),
            pids={one.name: one.pid for one in self._replicas if one.pid},
            problem=self._ports.problem or self._problem,
            port_taken=bool(self._ports.problem),
        )
        text = status.text()
        if text != self._written:
            with contextlib.suppress(FileNotFoundError):  # the folder is being removed
                if self._layout.folder.exists():
                    replace_text(self._layout.status, text, 0o700)
            self._written, self._beat = text, now
        elif now >= self._beat + BEAT_S:
            self._beat = now
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._layout.status)


class _Ports:
    """The addresses that the replicas share: they are ours before one of them starts.

    A socket that does not listen keeps each: who does not share ports on purpose cannot have it.

    Attributes:
        held: host and port.
        problem: why one cannot be had; "" = all can.
    """

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self.problem = ""

    @property
    def held(self) -> set[tuple[str, int]]:
        return set(self._sockets)

    def hold(self, wanted: set[tuple[str, int]], ours: set[tuple[str, int]]) -> None:
        """Have these, and no others.

        Args:
            wanted: by replicas that are to run.
            ours: where replicas of ours run already.
        """
        self.problem = ""
        for address in self.held - wanted - ours:
            self._sockets.pop(address).close()
        for host, port in wanted - self.held:
            try:
                if (host, port) not in ours:
                    bind(host, port).close()  # alone: a shared one tells nobody that it is taken
                self._sockets[host, port] = bind(host, port, reuse_port=True)
            except ConflictError:
                self.problem = f"port {port} on {host} is taken by another program"
            except ModelworksError as error:
                self.problem = error.message


def make_sockets(layout: Layout) -> None:
    """Have the private folder of the replicas' sockets, which may lie where others write too.

    Raises:
        InvalidError: it is somebody else's.
    """
    sockets = layout.sockets
    sockets.mkdir(mode=0o700, exist_ok=True)
    found = sockets.lstat()
    if found.st_uid != os.getuid() or sockets.is_symlink():
        raise InvalidError(f"{sockets} is not ours: remove it")
