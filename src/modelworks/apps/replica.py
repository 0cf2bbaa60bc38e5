"""One replica of a deployment: its process, its probes, its end."""

import contextlib
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final

from modelworks.apps.health import ready_unix
from modelworks.apps.last_words import last_words
from modelworks.apps.replica_rules import Known, wait_s
from modelworks.core.deployment import Phase, Replica
from modelworks.core.local import LocalShare
from modelworks.core.local_folder import MARK, Layout, Mark
from modelworks.core.processes import began, descendants, private_bytes

_STARTING_PERIOD_S: Final = 0.2
_GRACE_S: Final = 5.0  # after the drain's own deadline, before the kill
_HEALTHY_S: Final = 60.0  # ready for so long, what was before is forgotten
_ANEW: Final = 3  # times the failures after which it is not ready
_LOG_BYTES: Final = 8 << 20
_KEPT: Final = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"),
    *("LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV"),
)
"""Of our environment; a replica gets nothing else of it, for ours may hold secrets."""


class ReplicaProcess:
    """Keeps one process alive, until it is to end.

    Args:
        name: of the replica.
        share: what it runs.
        layout: where its files are.
        pid: of a process that an earlier supervisor started; 0 = none runs yet.
        restarts: how often it was started anew so far.
    """

    def __init__(
        self, name: str, share: LocalShare, layout: Layout, pid: int = 0, restarts: int = 0
    ) -> None:
        self.name = name
        self.share = share
        self.phase = Phase.STARTING
        self.restarts = restarts
        self.reason = ""
        self._layout = layout
        self._pid, self._began = pid, began(pid) if pid else 0
        self._child: subprocess.Popen[bytes] | None = None
        self._crashes = 0
        self._failures = 0
        self._probe: Future[str] | None = None
        self._next_probe = 0.0
        self._since = 0.0  # of the start, the readiness or the drain
        self._again = 0.0
        self._fault = ""
        self._why = "it does not answer"

    @property
    def pid(self) -> int:
        """Of the process; 0 = none runs."""
        return self._pid

    @property
    def known(self) -> Known:
        """For the rules."""
        return Known(self.name, self.share.revision, self.share.digest, self.phase)

    @property
    def seen(self) -> Replica:
        """For the status."""
        return Replica(self.name, self.share.revision, self.phase, self.reason, self.restarts)

    @property
    def gone(self) -> bool:
        """It was to end, and did."""
        return self.phase is Phase.STOPPING and not self._pid

    def tend(self, now: float, pool: Executor) -> None:
        """Look at it, and do what is due.

        Args:
            now: seconds of a monotonic clock.
            pool: where probes wait for their answers.
        """
        if self._pid and not self._alive():
            self._ended(now)
        if self.phase is Phase.STOPPING:
            if self._pid and now > self._since + self.share.drain_s + _GRACE_S:
                self.kill()
            return
        if not self._pid:
            if now >= self._again:
                self._start(now)
            return
        if self._since == 0.0:  # taken over from an earlier supervisor
            self._since = now
        self._look(now, pool)

    def drain(self, now: float) -> None:
        """It is to answer what it has, and end."""
        if self.phase is Phase.STOPPING:
            return
        self.phase, self.reason, self._since = Phase.STOPPING, "", now
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        for pid in descendants(self._pid) if self._pid else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def weigh(self) -> bool:
        """End it when it holds more memory than it may; whether it keeps within it."""
        if not self._pid or self.phase is Phase.STOPPING:
            return True
        held = private_bytes(descendants(self._pid))
        if held > self.share.memory_bytes:
            self._fault = (
                f"it held {held >> 20} MiB and may hold {self.share.memory_bytes >> 20} "
                "(resources.memory): it was ended"
            )
            self.kill()
            return False
        return True

    def trim(self) -> None:
        """Keep its log within bounds: what is too much becomes the log before."""
        log = self._layout.replica_log(self.name)
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > _LOG_BYTES:
                log.with_suffix(".log.1").write_bytes(log.read_bytes()[-_LOG_BYTES:])
                os.truncate(log, 0)  # the process appends, and so goes on at the beginning

    def forget(self) -> None:
        """Remove what is left of it."""
        self._socket.unlink(missing_ok=True)
        log = self._layout.replica_log(self.name)
        log.unlink(missing_ok=True)
        log.with_suffix(".log.1").unlink(missing_ok=True)

    @property
    def _socket(self) -> Path:
        return self._layout.sockets / self.name

    def _alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return began(self._pid) == self._began

    def _start(self, now: float) -> None:
        log = self._layout.replica_log(self.name)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            environ = self._environ()
            with log.open("ab") as sink, _on_cores(self.share.cores, self.name):
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "modelworks.apps.server"],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environ,
                )
        except OSError as error:
            self._crashed(now, f"it cannot be started: {error}")
            return
        self._pid, self._began = self._child.pid, 0
        if self._crashes:
            self.restarts += 1
        self.phase, self._since, self._next_probe = Phase.STARTING, now, now
        self._failures, self._fault, self._probe = 0, "", None

    def _environ(self) -> dict[str, str]:
        """Of its process."""
        own = {key: value for key in _KEPT if (value := os.environ.get(key)) is not None}
        folder = self._layout.secrets(self.share.revision)
        secrets = {name: (folder / f".{name}").read_text() for name in self.share.secrets}
        mark = Mark(str(self._layout.folder), self.name, self.share.revision, self.share.digest)
        told = {"MODELWORKS_SERVER_UNIX": str(self._socket), MARK: str(mark)}
        return {**own, **self.share.environment, **secrets, **told}

    def _ended(self, now: float) -> None:
        code = self._child.returncode if self._child is not None else None
        self._child, self._pid = None, 0
        if self.phase is Phase.STOPPING:
            return
        words = last_words(self._layout.replica_log(self.name))
        self._crashed(now, self._fault or _end_of(code, words))

    def _crashed(self, now: float, reason: str) -> None:
        if self.phase is Phase.READY and now > self._since + _HEALTHY_S:
            self._crashes = 0
        self._crashes += 1
        self.phase, self.reason = Phase.FAILED, reason
        self._again = now + wait_s(self._crashes)

    def _look(self, now: float, pool: Executor) -> None:
        """Ask it, and hear what it answered."""
        if self._probe is not None and self._probe.done():
            self._judge(now, self._probe.result())
            self._probe = None
        starting = self.phase is Phase.STARTING
        if starting and now > self._since + self.share.probes.startup_s:
            self._fault = (
                f"it was not ready after {self.share.probes.startup_s:g} s "
                f"(probes.startup_timeout_s): {self._why}"
            )
            self.kill()
        elif self._probe is None and now >= self._next_probe:
            period = _STARTING_PERIOD_S if starting else self.share.probes.period_s
            self._next_probe = now + period
            timeout_s = self.share.probes.timeout_s
            self._probe = pool.submit(ready_unix, str(self._socket), wait_s=timeout_s)

    def _judge(self, now: float, why: str) -> None:
        if not why:
            if self.phase is not Phase.READY:
                if not self.weigh():  # too heavy is never ready, however fast it started
                    return
                self._since = now
            self.phase, self.reason, self._failures = Phase.READY, "", 0
            return
        self._why = why
        if self.phase is Phase.STARTING:
            return
        self._failures += 1
        limit = self.share.probes.failures
        if self._failures >= limit:
            self.phase, self.reason = Phase.FAILED, why
        if self._failures >= _ANEW * limit:
            self._fault = f"it did not answer {self._failures} times in a row and was ended: {why}"
            self.kill()


@contextlib.contextmanager
def _on_cores(count: int, name: str) -> Iterator[None]:
    """What is started meanwhile has so many cores; which, goes by the replica's name. 0 = all."""
    every = os.sched_getaffinity(0)
    if not 0 < count < len(every):
        yield
        return
    order = sorted(every)
    first = zlib.crc32(name.encode()) % len(order)
    os.sched_setaffinity(0, {order[(first + place) % len(order)] for place in range(count)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def _end_of(code: int | None, words: str) -> str:
    """Why a process ended, for people."""
    if code is None or code == 0:
        how = "it ended"
    elif code > 0:
        how = f"it ended with exit code {code}"
    else:
        how = f"it was ended by {signal.Signals(-code).name}"
    return f"{how}: {words}" if words else how
