"""A gateway as a child process, and callers that ask it for a while."""

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Self

READY_S = 30.0


class Gateway:
    """`python -m modelworks.apps.gateway`, announced and ready; drained on exit from `with`."""

    def __init__(self, snapshot: Path | str, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="modelworks-test-")
        self.log_file = Path(self._folder.name) / "log"
        announced = Path(self._folder.name) / "announce.json"
        command = [*prefix, sys.executable, "-m", "modelworks.apps.gateway"]
        ports = [] if "--port" in arguments else ["--port", "0"]
        command += ["--snapshot", str(snapshot), *ports, "--admin-port", "0", *arguments]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--announce", str(announced)], stderr=log, stdout=log
            )
        end = time.monotonic() + READY_S
        while not announced.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                words = self.log
                self._folder.cleanup()
                raise RuntimeError(f"exit {self.process.returncode}: {words}")
            time.sleep(0.005)
        told = json.loads(announced.read_bytes())
        self.url, self.port, self.admin = told["url"], told["port"], told["admin"]

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def state(self) -> dict:
        with urllib.request.urlopen(f"{self.admin}/-/state", timeout=5) as answer:
            return json.load(answer)

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
        }

    def memory(self, what: str = "VmHWM") -> int:
        """Kilobytes of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{what}:")[1].split()[0])

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.kill()
            self._folder.cleanup()


class Callers:
    """Threads that ask the same thing until `stop`; each keeps its connection."""

    def __init__(self, port: int, target: str, body: bytes, count: int = 4) -> None:
        self.statuses: list[int] = []
        self.errors: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(port, target, body)) for _ in range(count)
        ]

    def _ask(self, port: int, target: str, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Content-Type": "application/json"}
        while not self._over.is_set():
            try:
                connection.request("POST", target, body, headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()
                time.sleep(0.01)
        connection.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def until(self, count: int, seconds: float = 30.0) -> None:
        """Wait for so many further answers."""
        wanted = len(self.statuses) + count
        end = time.monotonic() + seconds
        while len(self.statuses) < wanted:
            assert time.monotonic() < end, (len(self.statuses), wanted, self.errors[-3:])
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask no more; twice is quiet."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def __exit__(self, *_: object) -> None:
        self.stop()
