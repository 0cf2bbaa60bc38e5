"""A real Alertmanager, started by a test."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_server import program
from store_servers import eventually, free_port, running


class Alertmanager:
    """A running one.

    Attributes:
        url: of it.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(OSError):
            return bool(self.get("/api/v2/status"))
        return False

    def get(self, path: str) -> Any:
        """An answer, as JSON."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def alertmanager(config: str, folder: Path) -> Iterator[Alertmanager]:
    """One with this configuration, from its start to its end."""
    file, port = folder / "alertmanager.yml", free_port()
    file.write_text(config)
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={file}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    found = Alertmanager(port)
    with running("Alertmanager", command, port, folder / "alertmanager.log") as process:
        eventually("Alertmanager", found.ready, process)
        yield found
