"""The parent's side: start a job, wait within its limits, end it, say in one line how it went."""

import json
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelworks.core import codec
from modelworks.core.errors import CrashedError, InvalidError, ModelworksError, RefusedError
from modelworks.sandbox.isolate import Isolation
from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.report import Frames, one_line, rebuild
from modelworks.sandbox.start import how

Progress = Callable[[str], None]
_POLL_S = 0.25
_STDERR = 64 << 10
_GRACE_S = 5.0
_START_S = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job went that came to its end.

    Attributes:
        value: what the function returned.
        isolation: the walls that stood around it.
        attempts: what it tried and was refused inside Python; libraries try harmless things too.
        peak_bytes: resident memory at its highest.
        cpu_seconds: used.
        wall_seconds: from start to answer.
    """

    value: dict[str, Any]
    isolation: Isolation
    attempts: tuple[str, ...]
    peak_bytes: int
    cpu_seconds: float
    wall_seconds: float


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
    """

    function: str
    arguments: dict[str, Any]
    work: Path
    limits: Limits = field(default_factory=Limits)
    reads: tuple[Path, ...] = ()
    path: tuple[Path, ...] = ()
    python: Path | None = None


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


@dataclass(slots=True)
class _Watch:
    """What the parent has seen of a running job."""

    frames: Frames
    isolation: Isolation = field(default_factory=Isolation)
    answer: dict[str, Any] | None = None
    stderr: bytes = b""
    fault: ModelworksError | None = None


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
                raise CrashedError(f"the sandbox did not start: {_last_line(errors.read(_STDERR))}")
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
            watch = _Watch(Frames(job.limits.result_bytes))
            try:
                _follow(job, watch, (out, err), began + job.limits.wall_seconds, progress)
            except BaseException:
                _kill(pid)
                self._reap(pid)
                raise
            if watch.fault is not None:
                _kill(pid)
            ended = self._reap(pid)
        return _conclude(job, watch, ended, time.monotonic() - began)

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


def _follow(
    job: Job, watch: _Watch, pipes: tuple[int, int], deadline: float, progress: Progress | None
) -> None:
    """Read both pipes until the job closes the first, breaks a rule or runs out of time."""
    out, err = pipes
    with selectors.DefaultSelector() as selector:
        selector.register(out, selectors.EVENT_READ)
        selector.register(err, selectors.EVENT_READ)
        checked = time.monotonic()
        while watch.fault is None:
            now = time.monotonic()
            if now >= deadline:
                watch.fault = RefusedError(
                    f"the job was stopped: it took longer than {job.limits.wall_seconds:g} s; "
                    "MODELWORKS_IMPORT_SECONDS raises the limit if the file may need that long"
                )
                return
            if now - checked > 1.0:
                checked = now
                watch.fault = _disk_fault(job)
            for key, _ in selector.select(min(_POLL_S, deadline - now)):
                data = os.read(key.fd, 1 << 16)
                if key.fd == err:
                    watch.stderr = (watch.stderr + data)[-_STDERR:]
                    if not data:
                        selector.unregister(err)
                elif not data:
                    return
                else:
                    _take(watch, data, progress)


def _take(watch: _Watch, data: bytes, progress: Progress | None) -> None:
    try:
        frames = watch.frames.feed(data)
    except CrashedError as error:
        watch.fault = error
        return
    for frame in frames:
        if "isolation" in frame:
            watch.isolation = codec.decode(Isolation, frame["isolation"])
        elif "progress" in frame and progress is not None:
            progress(one_line(str(frame["progress"])))
        elif "result" in frame or "error" in frame:
            watch.answer = frame


def _disk_fault(job: Job) -> ModelworksError | None:
    used = 0
    for folder, _, files in os.walk(job.work):
        for name in files:
            with suppress(OSError):
                used += os.lstat(Path(folder, name)).st_blocks * 512
    if used <= job.limits.disk_bytes:
        return None
    return RefusedError(
        f"the job was stopped: it wrote more than {job.limits.disk_bytes} bytes to disk"
    )


def _conclude(job: Job, watch: _Watch, ended: dict[str, Any], wall: float) -> Outcome:
    if watch.fault is not None:
        raise watch.fault
    answer = watch.answer or {}
    if isinstance(answer.get("error"), dict):
        raise rebuild(answer["error"])
    if ended["code"] or not isinstance(answer.get("result"), dict):
        raise _death(int(ended["code"]), float(ended["cpu"]), watch.stderr, job.limits)
    return Outcome(
        value=answer["result"],
        isolation=watch.isolation,
        attempts=tuple(one_line(str(a), 200) for a in answer.get("attempts", ())[:20]),
        peak_bytes=_peak(answer.get("peak"), int(ended["peak"])) * 1024,
        cpu_seconds=float(ended["cpu"]),
        wall_seconds=wall,
    )


def _peak(told: Any, counted: int) -> int:
    """KiB: what the job says of itself, never more than what the system counted."""
    return min(told, counted) if type(told) is int and told > 0 else counted


def _death(code: int, cpu: float, stderr: bytes, limits: Limits) -> ModelworksError:
    """Why a job gave no answer."""
    last = _last_line(stderr)
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and cpu >= limits.cpu_seconds):
        return RefusedError(
            f"the job was stopped: it used more than {limits.cpu_seconds} s of CPU time; "
            "MODELWORKS_IMPORT_SECONDS raises the limit if the file may need that much"
        )
    if code == -signal.SIGXFSZ:
        return RefusedError(
            f"the job was stopped: it wrote a file of more than {limits.file_bytes} bytes"
        )
    if any(word in stderr for word in (b"bad_alloc", b"MemoryError", b"Cannot allocate memory")):
        return RefusedError(
            f"the job needs more memory than the {limits.memory_bytes / GIB:.3g} GiB that it may "
            "have; MODELWORKS_IMPORT_MEMORY raises the limit"
        )
    if code == -signal.SIGKILL:
        return CrashedError(
            "the job was killed from outside (SIGKILL), most often by the system for want of "
            "memory; free some and try again"
        )
    if code < 0:
        name = signal.Signals(-code).name
        return CrashedError(
            f"the job died of {name}; the file is probably damaged" + (f" ({last})" if last else "")
        )
    return CrashedError(
        f"the job ended with code {code} and no answer" + (f": {last}" if last else "")
    )


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return one_line(lines[-1], 300) if lines else ""


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
