"""Where Modelworks keeps its files on one machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelworks.core.errors import UnavailableError

CONTAINERS: Final = "containers"
"""Below the folder of records: what containers record."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is reached. Holds secrets: it is never printed.

    Attributes:
        config: settings of the object-store library, by its own names (`access_key_id`).
        http: whether an endpoint without TLS may be used.
        seconds: the longest wait for one answer of the store, and for all tries of one request.
    """

    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    http: bool = False
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the registry keeps its rows and its files, where that is not the data folder.

    Attributes:
        database: a URL, with its password; empty = a SQLite file in the data folder.
        artifacts: a URL or a folder; empty = a folder in the data folder.
        access: how the artifacts' bucket is reached.
        records: a URL or a folder, for records and feedback; empty = a folder in the data folder.
        records_access: how their bucket is reached.
    """

    database: str = field(default="", repr=False)
    artifacts: str = ""
    access: Access = field(default_factory=Access)
    records: str = ""
    records_access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True)
class Home:
    """The data folder (`MODELWORKS_HOME`, default `~/.modelworks`) and its rooms."""

    root: Path

    @property
    def database(self) -> Path:
        """The registry's SQLite file."""
        return self.root / "registry.db"

    @property
    def blobs(self) -> Path:
        """Content-addressed files."""
        return self.root / "blobs"

    @property
    def cache(self) -> Path:
        """Artifacts laid out as folders, ready to be served; may be deleted at any time."""
        return self.root / "cache"

    @property
    def keys(self) -> Path:
        """API keys, where `modelworks keys` is told no other file."""
        return self.root / "keys"

    @property
    def run(self) -> Path:
        """Served lists, endpoints and sockets of running processes."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Logs of processes that run in the background."""
        return self.root / "logs"

    @property
    def targets(self) -> Path:
        """What targets keep on this machine: a folder each."""
        return self.root / "targets"

    @property
    def records(self) -> Path:
        """Of predictions, and the feedback on them."""
        return self.root / "records"

    @property
    def recorded(self) -> Path:
        """What containers record, a folder a deployment, until it is taken in."""
        return self.records / CONTAINERS

    @classmethod
    def of_target(cls, folder: Path) -> "Home":
        """The data folder whose `targets` hold the folder of a target."""
        return cls(folder.parent.parent)

    @property
    def environments(self) -> Path:
        """Python environments of their own for importers and native models."""
        return self.root / "environments"

    @property
    def optimize(self) -> Path:
        """Forms of models that were tried, and the journals of the searches; may be deleted."""
        return self.root / "optimize"

    def create(self) -> "Home":
        """Make the folders, readable by their owner only; what is there stays.

        Raises:
            UnavailableError: they cannot be made.
        """
        try:
            for folder in (self.root, self.blobs, self.cache, self.run, self.logs):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UnavailableError(
                f"data folder {self.root}: {error.strerror or error}; choose another with "
                "MODELWORKS_HOME"
            ) from error
        return self
