"""The exporter beside a worker: a process of its own that is told lines and may fail as it likes.

Its pipe never blocks: what it does not take waits in a bounded queue, then is dropped and counted.
"""

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from modelworks.core import codec
from modelworks.core.spans import Measured
from modelworks.protocol.openmetrics import Family
from modelworks.serving.traces import Traces

_log = logging.getLogger("modelworks.serving")
_PERIOD_S: Final = 0.25
_CHUNK: Final = 256
_TELL_S: Final = 60.0
_LAST_S: Final = 3.0
_SHORT_S: Final = 0.02
_LONGEST_WAIT_S: Final = 60.0


class Export:
    """A thread that packs, and the process that it tells.

    Args:
        command: of the process; it reads lines and ends with them.
        traces: what there is to tell.
        families: the metrics as they are now; None = another worker tells them.
        started: when they began at 0, seconds since 1970.
        seconds: between two tellings of them.
    """

    def __init__(
        self,
        command: Sequence[str],
        traces: Traces,
        families: Callable[[], list[Family]] | None,
        started: float,
        seconds: float,
    ) -> None:
        self._command = list(command)
        self._traces = traces
        self._families = families
        self._started = int(started * 1e9)
        self._seconds = seconds
        self._measured = time.monotonic() - seconds + 1.0  # the first ones soon
        self._process: subprocess.Popen[bytes] | None = None
        self._born = 0.0
        self._due = 0.0
        self._wait = 0.5
        self._left = b""  # the rest of a line that the pipe did not take
        self._told = time.monotonic() - _TELL_S
        self._reported = 0
        self.lost = 0  # lines that the process did not take
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="export", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Tell what is left, for three seconds at most; the process ends by itself, or is ended."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST_S)
        process, self._process = self._process, None
        if process is not None:
            _close(process)
            try:
                process.wait(_LAST_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- on the thread

    def _run(self) -> None:
        self._keep()  # at once: a server may end before the first period is over
        while not self._over.wait(_PERIOD_S):
            self._turn(last=False)
        self._turn(last=True)

    def _turn(self, *, last: bool) -> None:
        try:
            self._keep()
            until = time.monotonic() + (_LAST_S / 2 if last else 0.0)
            while self._ready(until) and (found := self._traces.take(_CHUNK, last=last)):
                self._send(b"".join(_line("traced", one) for one in found), len(found))
            if self._families is not None and self._due_now(last=last):
                self._measured = time.monotonic()
                with contextlib.suppress(TimeoutError):  # the loop is busy: the next time
                    self._send(_line("measured", self._measure(self._families())), 1)
            self._mind_losses()
        except Exception:  # noqa: BLE001 - telling others must not end with one line
            _log.exception("what was to be exported is lost")

    def _ready(self, until: float) -> bool:
        """Whether the process takes more, at that time at the latest."""
        process = self._process
        if process is None or process.stdin is None:
            return True  # what is told now is lost, and counted
        while self._left:
            self._left = _write(process.stdin.fileno(), self._left)
            if self._left and time.monotonic() >= until:
                return False
            if self._left:
                time.sleep(_SHORT_S)
        return True

    def _due_now(self, *, last: bool) -> bool:
        return last or time.monotonic() - self._measured >= self._seconds

    def _measure(self, families: list[Family]) -> Measured:
        told = [
            (
                family.name,
                family.kind.value,
                family.text,
                [[(p.suffix, dict(p.labels), p.value) for p in group] for group in family.groups],
            )
            for family in families
        ]
        return Measured(time.time_ns(), self._started, told)

    def _keep(self) -> None:
        """Start the process, or again with a growing wait where it ended."""
        now = time.monotonic()
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            self._tell(f"the exporter ended with {self._process.returncode} and is started again")
            _close(self._process)
            self._process, self._left = None, b""
            self._wait = 0.5 if now - self._born > _LONGEST_WAIT_S else self._wait * 2
            self._due = now + min(self._wait, _LONGEST_WAIT_S)
        if now < self._due or self._over.is_set():
            return
        self._born = now
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        except OSError as error:
            self._due = now + _LONGEST_WAIT_S
            self._tell(f"the exporter cannot be started: {error.strerror}")
            return
        assert self._process.stdin is not None  # noqa: S101 - asked for
        os.set_blocking(self._process.stdin.fileno(), False)

    def _send(self, lines: bytes, count: int) -> None:
        process = self._process
        if process is None or process.stdin is None:
            self.lost += count
            return
        if self._left:  # a line that was begun is finished first
            self.lost += count
        else:
            self._left = _write(process.stdin.fileno(), lines)

    def _mind_losses(self) -> None:
        lost = self.lost + self._traces.dropped
        if lost > self._reported:
            self._tell(f"{lost - self._reported} traces and metrics were not taken in time")
            self._reported = lost

    def _tell(self, message: str) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            _log.warning("%s; requests are answered all the same", message)


def _close(process: subprocess.Popen[bytes]) -> None:
    """Its pipe: it reads to the end of it, and ends."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _line(kind: str, value: object) -> bytes:
    return orjson.dumps({kind: codec.encode(value)}) + b"\n"


def _write(fd: int, data: bytes) -> bytes:
    """What the pipe does not take."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BlockingIOError:
        return bytes(view)
    except OSError:  # it is gone
        return b""
    return b""
