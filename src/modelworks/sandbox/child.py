"""The process that a sandboxed job runs in: `python -m modelworks.sandbox.child CONTROL`.

CONTROL is an inherited socket. The parent sends one frame of setup and, with each job, the two
pipes for its answer and its errors. A cold child runs one job itself; a warm one imports what it
is told to, then forks a child a job.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from modelworks.core import codec
from modelworks.sandbox import kernel
from modelworks.sandbox.isolate import Guard, isolate
from modelworks.sandbox.limits import Limits
from modelworks.sandbox.report import describe, one_line, send

FRAME = 1 << 20


def main() -> None:
    """Serve the parent until it hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    setup = json.loads(control.recv(FRAME))
    if not setup["warm"]:
        _die_with_parent()
        job, out, err = _receive(control)
        if job is not None:
            control.close()
            _work(job, out, err)
    for name in setup["modules"]:
        importlib.import_module(name)
    gc.freeze()
    control.send(b"ready")
    while True:
        job, out, err = _receive(control)
        if job is None:
            return
        _fork(control, job, out, err)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        kernel.die_with_parent()


def _receive(control: socket.socket) -> tuple[dict[str, Any] | None, int, int]:
    data, handles, _, _ = socket.recv_fds(control, FRAME, 2)
    if not data:
        return None, -1, -1
    return json.loads(data), handles[0], handles[1]


def _fork(control: socket.socket, job: dict[str, Any], out: int, err: int) -> None:
    pid = os.fork()
    if pid == 0:
        control.close()
        os.setsid()
        _die_with_parent()
        _work(job, out, err)
    os.close(out)
    os.close(err)
    control.send(json.dumps({"pid": pid}).encode())
    if control.recv(FRAME):  # the parent saw the job's end: until then its pid stays taken
        _, status, usage = os.wait4(pid, 0)
        ended = {"status": status, "peak": usage.ru_maxrss, "cpu": usage.ru_utime + usage.ru_stime}
        control.send(json.dumps(ended).encode())
    else:
        os.killpg(pid, signal.SIGKILL)
        os.wait4(pid, 0)


def _work(job: dict[str, Any], out: int, err: int) -> None:
    """Run one job and leave; never returns."""
    code = 1
    try:
        _redirect(err)
        code = _run(job, out)
    finally:
        os._exit(code)


def _redirect(err: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(err, 1)
    os.dup2(err, 2)
    os.close(null)
    os.close(err)


def _run(job: dict[str, Any], out: int) -> int:
    guard = Guard()
    try:
        limits = codec.decode(Limits, job["limits"])
        work = Path(job["work"])
        os.chdir(work)
        os.environ.update(job["environment"])
        tempfile.tempdir = None  # decided anew from the environment
        sys.path[:0] = job["path"]
        reads = tuple(Path(p) for p in (*job["reads"], *job["path"]))
        isolation = isolate(work, reads, limits, tuple(map(Path, job["devices"])))
        send(out, {"isolation": codec.encode(isolation)})
        guard.arm()
        module, _, name = job["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        value = function(job["arguments"], lambda text: send(out, {"progress": one_line(text)}))
        send(out, {"result": value, "attempts": guard.attempts, "peak": _peak()})
    except BaseException as error:  # noqa: BLE001 - the parent is told whatever it was
        _answer(out, error, guard.attempts)
        return 1
    return 0


def _peak() -> int:
    """KiB of resident memory at its highest, of this program alone; 0 where nobody says.

    What the system counts at the end of a process begins with the memory of the one that started
    it, which may be a control plane of any size.
    """
    try:
        with Path("/proc/self/status").open() as file:
            return next((int(line.split()[1]) for line in file if line.startswith("VmHWM:")), 0)
    except (OSError, ValueError, IndexError):
        return 0


def _answer(out: int, error: BaseException, attempts: list[str]) -> None:
    data = describe(error)
    error.__traceback__ = None  # frees what the job held, for the answer itself needs memory
    send(out, {"error": data, "attempts": attempts})


if __name__ == "__main__":
    main()
