"""Watches one process of ours: its end, its words, its disk; says in one line why it ended."""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.report import one_line

_TICK_S: Final = 0.5
_DISK_S: Final = 2.0
_TAIL: Final = 16 << 10
_HUNG_UP_S: Final = 1.0
_NO_MEMORY: Final = (
    *(b"bad_alloc", b"MemoryError", b"Cannot allocate memory", b"can't allocate memory"),
    *(b"std::length_error", b"Unable to allocate"),
)


class Watched:
    """A process and what is known of its end.

    Args:
        process: started, and not waited for by anybody else.
        output: our end of the pipe with its standard output and error; closed here.
        work: the folder that it writes.
        limits: that it has.

    Attributes:
        pid: of the process.
        ended: set when it has ended and was reaped.
        reason: why it ended, in words that follow "the process"; known when `ended` is set.
        dismissed: we wanted it to end.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], output: int, work: Path, limits: Limits
    ) -> None:
        self.process = process
        self.output = output
        self.work = work
        self.limits = limits
        self.pid = process.pid
        self.ended = threading.Event()
        self.reason = ""
        self.dismissed = False
        self.handle = os.pidfd_open(process.pid)
        self.lock = threading.Lock()
        self._fault = ""

    def end(self, why: str) -> None:
        """Kill it for a reason; the first one counts."""
        self._fault = self._fault or why
        self.kill()

    def dismiss(self) -> None:
        """Kill it because it is not needed any more."""
        self.dismissed = True
        self.kill()

    def hung_up(self) -> None:
        """It closed its end of the socket: it ends by itself now, or is made to."""
        if not self.ended.wait(_HUNG_UP_S):
            self.end("hung up")

    def kill(self) -> None:
        """SIGKILL; quiet when it is gone."""
        with self.lock, suppress(ProcessLookupError):
            if not self.ended.is_set():
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def settle(self, tail: bytes) -> None:
        """It has ended: reap it and note why."""
        code = self.process.wait()
        self.reason = self._fault or _why(code, tail, self.limits)
        with self.lock:
            self.ended.set()
            os.close(self.handle)
        os.close(self.output)


class Vigil:
    """The thread that watches.

    Args:
        watched: the process.
        tidy: called when it has ended, before anybody is told.
        ended: called then with the reason, unless we wanted it to end.
    """

    def __init__(
        self, watched: Watched, tidy: Callable[[], None], ended: Callable[[str], None]
    ) -> None:
        self.watched = watched
        self._tidy = tidy
        self._ended = ended
        self._tail = b""
        os.set_blocking(watched.output, False)
        self._thread = threading.Thread(target=self._run, name=f"vigil-{watched.pid}", daemon=True)
        self._thread.start()

    def join(self, wait_s: float) -> None:
        """Wait until it is tidied up: a program that ends before leaves half of it behind."""
        if threading.current_thread() is not self._thread:
            self._thread.join(wait_s)

    def _run(self) -> None:
        watched = self.watched
        poll = select.poll()
        poll.register(watched.handle, select.POLLIN)
        poll.register(watched.output, select.POLLIN)
        looked = time.monotonic()
        while True:
            ready = {handle for handle, _ in poll.poll(_TICK_S * 1000)}
            if watched.output in ready and not self._listen():
                poll.unregister(watched.output)
            if watched.handle in ready:
                break
            if not ready:
                self._tick()
            if time.monotonic() - looked > _DISK_S:
                looked = time.monotonic()
                self._measure()
        while self._listen():
            pass
        watched.settle(self._tail)
        self._tidy()
        ended, self._ended = self._ended, _nobody
        if not watched.dismissed:
            ended(watched.reason)

    def _listen(self) -> bool:
        """Keep the end of what it says; False when there is nothing more."""
        try:
            data = os.read(self.watched.output, 1 << 16)
        except BlockingIOError:
            return False
        self._tail = (self._tail + data)[-_TAIL:]
        return bool(data)

    def _tick(self) -> None:
        """A process that was stopped answers nobody: end it."""
        with suppress(ChildProcessError):
            flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
            if os.waitid(os.P_PID, self.watched.pid, flags) is not None:
                self.watched.end("was stopped (SIGSTOP) and could not answer")

    def _measure(self) -> None:
        limit = self.watched.limits.disk_bytes
        if disk_use(self.watched.work) > limit:
            self.watched.end(f"wrote more than {limit} bytes to disk")


def _nobody(_reason: str) -> None:
    """Told instead of whoever holds us too: what has ended lies in no circle of references."""


def disk_use(folder: Path) -> int:
    """Bytes that a folder takes on disk."""
    used = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                used += os.lstat(Path(where, name)).st_blocks * 512
    return used


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _why(code: int, tail: bytes, limits: Limits) -> str:
    lines = tail.decode(errors="replace").strip().splitlines()
    last = one_line(lines[-1], 200) if lines else ""
    if any(word in tail for word in _NO_MEMORY) and code:
        return (
            f"needed more memory than the {limits.memory_bytes / GIB:.3g} GiB that it may have "
            f"and ended{f' ({last})' if last else ''}"
        )
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL), by hand or by the system for want of memory"
    if code == -signal.SIGXFSZ:
        return f"wrote a file of more than {limits.file_bytes} bytes"
    said = f" ({last})" if last else ""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"died of {name}{said}"
    return f"ended itself with code {code}{said}"
