"""Which gateways run on this machine: one small file a process in `HOME/run/gateways`.

Apart from the list of servers: a gateway is asked nothing at the address of its callers.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from modelworks.client.endpoints import alive
from modelworks.core import codec
from modelworks.core.errors import ModelworksError
from modelworks.core.files import replace_text
from modelworks.core.home import Home
from modelworks.core.ids import now_ns


@dataclass(frozen=True, slots=True)
class Gateway:
    """One running gateway.

    Attributes:
        url: where callers reach it, `http://127.0.0.1:8080`.
        admin: where it tells its metrics and state; empty = nowhere.
        snapshot: file or address of the routes that it follows.
        pid: of the process that owns the entry.
        started_ns: UTC nanoseconds.
    """

    url: str
    admin: str
    snapshot: str
    pid: int
    started_ns: int


def register(home: Home, url: str, admin: str, snapshot: str) -> Path:
    """Write this process's entry; the caller removes the file when its gateway has ended."""
    folder = home.run / "gateways"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = Gateway(url, admin, snapshot, os.getpid(), now_ns())
    path = folder / f"{found.pid}.json"
    replace_text(path, json.dumps(codec.encode(found)))
    return path


def listed(home: Home) -> list[Gateway]:
    """Entries whose process lives, oldest first; entries of the dead are removed."""
    found = []
    for path in sorted((home.run / "gateways").glob("*.json")):
        try:
            gateway = codec.decode(Gateway, json.loads(path.read_bytes()))
        except (OSError, ValueError, ModelworksError):
            continue  # not ours
        if alive(gateway.pid):
            found.append(gateway)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda gateway: gateway.started_ns)
