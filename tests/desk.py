"""A user at a terminal, for tests that go the whole way: types commands, looks at what answers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

HTTP = urllib3.PoolManager(maxsize=4, retries=False, timeout=20)


@dataclass
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Desk:
    """A user at a terminal: a folder with files, a home of their own."""

    folder: Path
    notes: dict[str, Any] = field(default_factory=dict)

    def environ(self, **extra: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MODELWORKS_")}
        return kept | {"MODELWORKS_HOME": str(self.folder / "home")} | extra

    def mw(self, *words: str, code: int = 0, **extra: str) -> Done:
        """Type `modelworks ...`; it must end with that code."""
        done = subprocess.run(
            [sys.executable, "-m", "modelworks.cli.main", *words],
            cwd=self.folder,
            env=self.environ(**extra),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        told = f"modelworks {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, told
        assert "Traceback" not in done.stderr, told
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *words: str) -> Iterator["Server"]:
        """`modelworks ... --json` beside us; it says where it is, and drains on SIGTERM."""
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelworks.cli.main", *words, "--json"],
                cwd=self.folder,
                env=self.environ(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            yield Server(process, json.loads(process.stdout.readline()))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
            process.stdout.close()


@dataclass
class Server:
    """A command that serves."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def drain(self) -> None:
        """SIGTERM; it must end with 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0


def get(url: str) -> Any:
    answer = HTTP.request("GET", url)
    assert answer.status == 200, answer.data
    return answer.data.decode() if "json" not in answer.headers["Content-Type"] else answer.json()


def predict(url: str, model: str, rows: Any) -> dict[str, Any]:
    answer = HTTP.request("POST", f"{url}/predict/{model}", json={"rows": rows})
    assert answer.status == 200, answer.data
    return answer.json()


def until(what: str, true: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)
