"""A real Prometheus, and the tools of Prometheus and Alertmanager that check files."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store_servers import eventually, free_port, missing, running


def program(name: str) -> str:
    """The path of one; a test without it is skipped, or fails where everything must be there."""
    path = shutil.which(name)
    if path is None:
        package = {"amtool": "prometheus-alertmanager", "promtool": "prometheus"}.get(name, name)
        missing(name, f"apt-get install {package}")
    return str(path)


def promtool(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """One command, with `text` as its input."""
    command = [program("promtool"), *words]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=60
    )


def amtool(*words: str) -> subprocess.CompletedProcess[str]:
    """One command."""
    command = [program("amtool"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class Prometheus:
    """A running one.

    Attributes:
        url: of it.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        """Whether it answers queries."""
        address = f"{self.url}/-/ready"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status == 200
        return False

    def api(self, path: str, **query: str) -> Any:
        """`data` of an answer."""
        told = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{told}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each line that an expression has now."""
        found = self.api("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def eventually(self, ask: Callable[[], Any], seconds: float = 60.0) -> Any:
        """What is true in the end."""
        deadline = time.monotonic() + seconds
        while not (found := ask()):
            assert time.monotonic() < deadline, self.api("targets")
            time.sleep(0.2)
        return found


@contextmanager
def prometheus(config: Path, data: Path) -> Iterator[Prometheus]:
    """Started with a configuration, on a port of its own; its data go with the test.

    Args:
        config: `prometheus.yml`.
        data: a folder.
    """
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with running("Prometheus", command, port, data.with_suffix(".log")):
        found = Prometheus(port)
        eventually("Prometheus", found.ready, None)
        yield found


@contextmanager
def alertmanager(config: Path, data: Path) -> Iterator[str]:
    """A running Alertmanager; its `host:port`.

    Args:
        config: `alertmanager.yml`.
        data: a folder.
    """
    port = free_port()
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={config}",
        f"--storage.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with running("Alertmanager", command, port, data.with_suffix(".log")):
        yield f"127.0.0.1:{port}"
