"""What is measured: our server, the sketch and onnxruntime itself, each pinned to the one core."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from workloads import NAME

from modelworks.core.compiled import compiled
from modelworks.testing.servers import Server

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1
PINNED = ("taskset", "-c", str(SERVER_CORE))
ENGINE = Path(__file__).resolve().parent / "engine.py"


def tools():
    """End where a program that all of this needs is missing."""
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not here; as root: apt-get install wrk util-linux")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are wanted: one for the server, one for the load")


def server(model, *arguments):
    """Our server with one model, pinned; a context."""
    return Server(["--file", str(model.path), "--name", NAME, *arguments], PINNED)


def request_path():
    """Whether the servers that are started run the compiled request path."""
    return f"our request path {'compiled' if compiled() else 'as Python'}"


def sketch_path():
    """The yardstick; None when it is not there."""
    given = os.environ.get("MODELWORKS_SKETCH")
    path = Path(given) if given else ROOT.parent / "shared" / "sketch" / "hot_path.py"
    return path if path.is_file() else None


@contextmanager
def sketch(script, model):
    """The sketch on a free port: (url, pid)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*PINNED, sys.executable, str(script), str(model.path), str(port)])
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                yield f"http://127.0.0.1:{port}", process.pid
                return
        raise RuntimeError("the sketch did not start")
    finally:
        process.terminate()
        process.wait(10)


class Engine:
    """onnxruntime alone in a process on the server's core, at its best batch size.

    Attributes:
        batch: the best size.
        curve: batch size -> rows a second, as measured at the start.
    """

    def __init__(self, model):
        self._process = subprocess.Popen(
            [*PINNED, sys.executable, str(ENGINE), str(model.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._answer()
        self.batch, self.curve = told["batch"], told["curve"]

    def run(self, seconds):
        """Rows a second, and CPU microseconds a row, at the best batch size."""
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engine's process ended with {self._process.wait(10)}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def ready_seconds(model, times=3):
    """Start to announcement, median of a few."""
    taken = []
    for _ in range(times):
        with Server(["--file", str(model.path), "--name", NAME]) as started:
            taken.append(started.ready_s)
    return statistics.median(taken)


def resident_mb(pid):
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
