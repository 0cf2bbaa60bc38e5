"""Which model servers run on this machine: one small file a process in `HOME/run/endpoints`."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from modelworks.core import codec
from modelworks.core.errors import ModelworksError
from modelworks.core.home import Home
from modelworks.core.ids import now_ns


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One running server.

    Attributes:
        name: for people: `up`, or the first model served.
        url: `http://127.0.0.1:8000`.
        pid: of the process that owns the entry.
        started_ns: UTC nanoseconds.
        kind: `serve` or `up`.
        models: references as they were asked for; empty = everything registered.
    """

    name: str
    url: str
    pid: int
    started_ns: int
    kind: str
    models: tuple[str, ...] = ()


def register(home: Home, name: str, url: str, kind: str, models: tuple[str, ...]) -> Path:
    """Write this process's entry; the caller removes the file when its server has ended."""
    folder = home.run / "endpoints"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    endpoint = Endpoint(name, url, os.getpid(), now_ns(), kind, models)
    path = folder / f"{endpoint.pid}.json"
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        json.dump(codec.encode(endpoint), file)
    Path(temporary).replace(path)
    return path


def listed(home: Home) -> list[Endpoint]:
    """Entries whose process lives, oldest first; entries of the dead are removed."""
    found = []
    for path in sorted((home.run / "endpoints").glob("*.json")):
        try:
            endpoint = codec.decode(Endpoint, json.loads(path.read_bytes()))
        except (OSError, ValueError, ModelworksError):
            continue  # being written, or not ours
        if alive(endpoint.pid):
            found.append(endpoint)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda endpoint: endpoint.started_ns)


def alive(pid: int) -> bool:
    """Whether a process of that id exists, a zombie excepted."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True  # no /proc here: existing is all we know
    return stat.rpartition(")")[2].split()[:1] != ["Z"]
