"""The parent's side of a job: start its process, hand the job over, end it within its limits."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelworks.core import codec
from modelworks.core.errors import CrashedError, InvalidError
from modelworks.sandbox.limits import Limits
from modelworks.sandbox.start import how
from modelworks.sandbox.watch import LONGEST_ERRORS, Outcome, Progress, Watch, last_line

_GRACE_S = 5.0
_START_S = 300.0


@dataclass(frozen=True, slots=True)
class Job:
    """One call to be made in the sandbox.

    Attributes:
        function: `module:function`; called with the arguments and a callable for progress lines.
        arguments: JSON values.
        work: an existing folder, the only one that the job can write.
        limits: of the job.
        reads: what else it may read, besides Python and the system.
        path: folders put before `sys.path`, for functions that are not installed.
        python: of an environment that `environments.make` made; None = the one running here.
        devices: files of accelerators, which it may also write to.
    """

    function: str
    arguments: dict[str, Any]
    work: Path
    limits: Limits = field(default_factory=Limits)
    reads: tuple[Path, ...] = ()
    path: tuple[Path, ...] = ()
    python: Path | None = None
    devices: tuple[Path, ...] = ()


def run(job: Job, progress: Progress | None = None) -> Outcome:
    """Run a job in a process of its own.

    Args:
        job: what to run.
        progress: told each line that the job reports.

    Raises:
        ModelworksError: raised by the job itself, same class and message.
        RefusedError: a limit was reached; the message names it.
        CrashedError: the process died of something else.
        NotFoundError: the environment that it needs is gone.
    """
    threads = job.limits.threads
    with _Host(warm=False, modules=(), threads=threads, python=job.python) as host:
        return host.run(job, progress)


class Warm:
    """A process that has imported heavy modules once and forks one limited child a job.

    Same isolation and limits as `run`; for many jobs in a row. One job at a time: other threads
    wait. A job that names another Python runs in a process of its own.

    Args:
        modules: to import before the first job.
        threads: that numeric libraries may start in a job.
        python: of an environment that `environments.make` made; None = the one running here.

    Raises:
        CrashedError: (on entering) a module cannot be imported.
    """

    def __init__(
        self, modules: tuple[str, ...], threads: int = 2, python: Path | None = None
    ) -> None:
        self._host = _Host(warm=True, modules=modules, threads=threads, python=python)
        self._python = python
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._host.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._host.__exit__(kind, error, traceback)

    def run(self, job: Job, progress: Progress | None = None) -> Outcome:
        """As the module's `run`."""
        if job.python != self._python:
            return run(job, progress)
        with self._lock:
            return self._host.run(job, progress)


class _Host:
    """The child process: cold (it is the job) or warm (it forks the jobs)."""

    def __init__(
        self, *, warm: bool, modules: tuple[str, ...], threads: int, python: Path | None
    ) -> None:
        self._warm, self._modules, self._threads = warm, modules, threads
        self._how = how("" if python is None else str(python))
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.enter_context(control)
            with theirs:
                errors = stack.enter_context(tempfile.TemporaryFile())
                fd = str(theirs.fileno())
                process = subprocess.Popen(
                    [*self._how.command, "-m", "modelworks.sandbox.child", fd],
                    pass_fds=(theirs.fileno(),),
                    env=self._how.environment(self._threads),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            stack.callback(_end, process)
            control.settimeout(_START_S)
            setup = {"warm": self._warm, "modules": list(self._modules)}
            with suppress(OSError):  # a child that died at once is told of below
                control.send(json.dumps(setup).encode())
            if self._warm and _receive(control) != b"ready":
                errors.seek(0)
                raise CrashedError(
                    f"the sandbox did not start: {last_line(errors.read(LONGEST_ERRORS))}"
                )
            self._process, self._control = process, control
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(self, job: Job, progress: Progress | None) -> Outcome:
        began = time.monotonic()
        with ExitStack() as stack:
            out, err = self._start(job, stack)
            pid = self._pid()
            watch = Watch(job.limits, job.work, progress)
            try:
                watch.follow(out, err, began + job.limits.wall_seconds)
            except BaseException:
                _kill(pid)
                self._reap(pid)
                raise
            if watch.fault is not None:
                _kill(pid)
            ended = self._reap(pid)
        return watch.conclude(ended, time.monotonic() - began)

    def _start(self, job: Job, stack: ExitStack) -> tuple[int, int]:
        """Hand the job over; returns our ends of the pipes for its answer and its errors."""
        for folder in ("tmp", "home"):
            (job.work / folder).mkdir(exist_ok=True)
        work = job.work.resolve()
        order = {
            "function": job.function,
            "arguments": job.arguments,
            "work": str(work),
            "limits": codec.encode(job.limits),
            "reads": [str(path.resolve()) for path in (*job.reads, *self._how.reads)],
            "path": [str(path.resolve()) for path in job.path],
            "devices": [str(path) for path in job.devices],
            "environment": {"HOME": str(work / "home"), "TMPDIR": str(work / "tmp")},
        }
        data = json.dumps(order).encode()
        if len(data) > 128 << 10:
            raise InvalidError("the job's arguments are longer than 128 KiB")
        ours, theirs = [], []
        for _ in range(2):
            read, write = os.pipe()
            stack.callback(os.close, read)
            ours.append(read)
            theirs.append(write)
        try:
            assert self._control is not None  # noqa: S101 - entered
            socket.send_fds(self._control, [data], theirs)
        except OSError as error:
            raise CrashedError("the sandbox's process is gone") from error
        finally:
            for handle in theirs:
                os.close(handle)
        return ours[0], ours[1]

    def _pid(self) -> int:
        assert self._process is not None  # noqa: S101 - entered
        assert self._control is not None  # noqa: S101 - entered
        if not self._warm:
            return self._process.pid
        data = _receive(self._control)
        if not data:
            raise CrashedError("the sandbox's process is gone")
        return int(json.loads(data)["pid"])

    def _reap(self, pid: int) -> dict[str, Any]:
        """Wait for the job's process, which has closed its pipes; kill it where it lingers."""
        assert self._process is not None  # noqa: S101 - entered
        assert self._control is not None  # noqa: S101 - entered
        if not self._warm:
            return _wait(self._process)
        self._control.settimeout(_GRACE_S)
        with suppress(OSError):
            self._control.send(b"ended")
        data = _receive(self._control)
        if not data:
            _kill(pid)
            data = _receive(self._control)
        self._control.settimeout(_START_S)
        if not data:
            raise CrashedError("the sandbox's process is gone")
        ended: dict[str, Any] = json.loads(data)
        ended["code"] = os.waitstatus_to_exitcode(ended["status"])
        return ended


def _receive(control: socket.socket) -> bytes:
    try:
        return control.recv(1 << 16)
    except OSError:
        return b""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The end of a child and what it used; killed where it lingers after its answer."""
    patience = time.monotonic() + _GRACE_S
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    while not pid:
        if time.monotonic() > patience:
            _kill(process.pid)
        time.sleep(0.002)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return {"code": process.returncode, "peak": usage.ru_maxrss, "cpu": cpu}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _kill(process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
