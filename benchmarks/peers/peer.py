"""What an adapter says about its server: how to install, write, start and ask it."""

import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.models import Model
from benchmarks.peers.wires import Wire

FOLDER = Path(__file__).resolve().parent
SERVERS, INSIDE = FOLDER / "servers", FOLDER / "inside"


def free_port():
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server runs for one model.

    Attributes:
        python: of the server's own environment.
        folder: an empty one for everything that it writes; also its HOME.
        model: what it serves.
        port: where it must answer over HTTP.
        service: the adapter's own folder, with its service file.
    """

    python: Path
    folder: Path
    model: Model
    port: int
    service: Path

    def tool(self, name):
        """A command of the server's environment."""
        return str(self.python.parent / name)


@dataclass(frozen=True, slots=True)
class Peer:
    """One server in one configuration.

    Attributes:
        name: in the table.
        folder: under `servers/`: `requirements.lock`, the adapter, its service file. None: ours.
        setting: its configuration in a few words, for the table's reader.
        wires: by name (json, binary): how to ask it for a model.
        command: what starts it.
        prepare: what comes before: archives, model folders.
        environ: more of the environment.
        tools: programs that pip does not bring.
        models: which of the three it is measured with.
        freezes: stands still (SIGSTOP) while another one is measured.
        wake_s: how long it takes to be itself again afterwards.
    """

    name: str
    folder: str | None
    setting: str
    wires: Mapping[str, Callable[[Model], Wire]]
    command: Callable[[Place], list[str]]
    prepare: Callable[[Place], None] = lambda _: None
    environ: Callable[[Place], dict[str, str]] = lambda _: {}
    tools: tuple[str, ...] = ()
    models: str = "SMT"
    freezes: bool = True
    wake_s: float = 0.2

    @property
    def service(self):
        """The adapter's own folder."""
        return SERVERS / self.folder if self.folder else FOLDER

    def lacking(self):
        """Programs that are not here."""
        return [name for name in self.tools if shutil.which(name) is None]

    def variables(self, place):
        """The whole environment of the server: nothing of the caller's but the search path."""
        batch = str(place.model.batch)
        return {
            "PATH": f"{place.python.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(place.folder),
            "TMPDIR": str(place.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{place.service}:{INSIDE}" if self.folder else "",
            "PYTHONPYCACHEPREFIX": str(place.folder / "pycache"),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "DO_NOT_TRACK": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "PEER_MODEL": str(place.model.path),
            "PEER_BATCH": batch,
            "PEER_PORT": str(place.port),
            "PEER_FOLDER": str(place.folder),
            **self.environ(place),
        }


def ours():
    """The Python that runs this, for our own server."""
    return Path(sys.executable)
