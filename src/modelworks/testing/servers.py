"""A real model server as a child process, for tests and benchmarks."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from modelworks.core.served import ServedList, ServedModel, write_served

READY_S = 60.0
END_S = 60.0


class Server:
    """`python -m modelworks.apps.server`, announced and ready; ended on exit from `with`.

    Args:
        arguments: beside `--announce` and, unless given, `--port 0`.
        prefix: of the command, such as `taskset -c 0`.

    Raises:
        RuntimeError: it ended instead of becoming ready; the message carries its words.
    """

    def __init__(self, arguments: Sequence[str], prefix: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="modelworks-test-")
        self.log_file = Path(self._folder.name) / "log"
        announced = Path(self._folder.name) / "announce.json"
        port = [] if "--port" in arguments else ["--port", "0"]
        command = [sys.executable, "-m", "modelworks.apps.server", *arguments, *port]
        began = time.monotonic()
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *command, "--announce", str(announced)], stderr=log, stdout=log
            )
        while not announced.exists():
            if self.process.poll() is not None or time.monotonic() > began + READY_S:
                self.kill()
                words = self.log
                self._folder.cleanup()
                raise RuntimeError(f"exit {self.process.returncode}: {words}")
            time.sleep(0.005)
        self.ready_s = time.monotonic() - began
        told = json.loads(announced.read_bytes())
        self.url: str = told["url"]
        self.port: int = told["port"]
        self.address = self.url.removeprefix("http://")

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self.process.pid

    def terminate(self) -> None:
        """Ask it to drain."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = END_S) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.terminate()
        try:
            self.wait()
        finally:
            self.kill()
            self._folder.cleanup()


def serve_list(path: Path, models: Iterable[ServedModel], generation: int = 1) -> Path:
    """Write a served list; returns its path."""
    write_served(path, ServedList(generation, tuple(models)))
    return path
