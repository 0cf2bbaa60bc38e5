"""What the target `local` and the supervisor of a deployment's replicas tell each other, as files.

One folder a deployment. The target writes `wanted.json`, the supervisor `status.json`; each file
has one writer and is replaced as a whole.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from modelworks.core import codec
from modelworks.core.deployment import Replica
from modelworks.core.errors import InvalidError
from modelworks.core.processes import marked, parent
from modelworks.core.served import ServedModel

T = TypeVar("T")
MARK: Final = "MODELWORKS_REPLICA"
"""Variable of every process of a replica: whose it is; see `Mark`."""
_LONGEST: Final = 107  # bytes of a Unix socket's path
_SOCKET: Final = 48  # of it, for a replica's name


@dataclass(frozen=True, slots=True)
class Probes:
    """When a replica is ready, and when it is started anew; see the manifest.

    Attributes:
        startup_s: for loading the model.
        period_s: between two looks.
        timeout_s: for an answer.
        failures: in a row; then it is not ready, and after three times as many started anew.
    """

    startup_s: float
    period_s: float
    timeout_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class LocalShare:
    """So many replicas of one revision, as processes of this machine.

    Attributes:
        revision: number.
        replicas: how many.
        model: what they serve.
        environment: of their servers; each gets a socket of its own on top.
        secrets: variables whose values lie in the revision's private folder: name -> source.
        files: secrets that lie there as files, the same.
        cpu: cores that the machine has to have for it.
        cores: that a replica may use; 0 = all.
        memory_bytes: that a replica may hold.
        host: where they listen.
        port: on which.
        probes: when they are ready.
        drain_s: for requests that they still have at their end.
    """

    revision: int
    replicas: int
    model: ServedModel
    environment: dict[str, str]
    secrets: dict[str, str]
    files: dict[str, str]
    cpu: float
    cores: int
    memory_bytes: int
    host: str
    port: int
    probes: Probes
    drain_s: float

    @property
    def digest(self) -> str:
        """Of all that a replica is; not of how many there are."""
        said = codec.encode(self)
        del said["replicas"]
        return _digest(said)


@dataclass(frozen=True, slots=True)
class LocalWanted:
    """What the supervisor is to run.

    Attributes:
        name: of the deployment.
        shares: by revision.
        labels: of the manifest.
        description: of the manifest.
        url: where its replicas answer.
        digest: of all that stands here; another one = somebody edited the file.
    """

    name: str
    shares: tuple[LocalShare, ...]
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""
    url: str = ""
    digest: str = ""

    def text(self) -> str:
        """Of the file, with the digest."""
        said = codec.encode(self) | {"digest": self.own()}
        return json.dumps(said, indent=1, sort_keys=True) + "\n"

    def own(self) -> str:
        """The digest that it ought to have."""
        said = codec.encode(self)
        del said["digest"]
        return _digest(said)


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What the supervisor saw.

    Attributes:
        applied: digest of what it was told last and obeys.
        replicas: all of them.
        pids: process of each replica that lives.
        problem: why no replica can start; "" = they can.
        port_taken: it is that somebody else has the port.
    """

    applied: str
    replicas: tuple[Replica, ...] = ()
    pids: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    port_taken: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose a process is, as its environment says it.

    Attributes:
        folder: of the deployment.
        replica: its name.
        revision: number.
        digest: of the `LocalShare` that it was started with.
    """

    folder: str
    replica: str
    revision: int
    digest: str

    def __str__(self) -> str:
        return f"{self.folder}:{self.replica}:{self.revision}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> "Mark | None":
        """What `str` made; None = it is none."""
        folder, *parts = text.rsplit(":", 3)
        if len(parts) != 3 or not parts[1].isdigit():
            return None
        return cls(folder, parts[0], int(parts[1]), parts[2])


def replicas_of(folder: Path) -> dict[int, Mark]:
    """The processes of a deployment that live: one a replica, by number."""
    marks = {pid: Mark.parse(value) for pid, value in marked(MARK).items()}
    own = {pid: mark for pid, mark in marks.items() if mark and mark.folder == str(folder)}
    return {pid: mark for pid, mark in own.items() if parent(pid) not in own}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies.

    Attributes:
        folder: of the deployment; readable by its owner only.
    """

    folder: Path

    @property
    def wanted(self) -> Path:
        """Written by the target."""
        return self.folder / "wanted.json"

    @property
    def status(self) -> Path:
        """Written by the supervisor."""
        return self.folder / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives; its number stands in it."""
        return self.folder / "supervisor.lock"

    @property
    def log(self) -> Path:
        """The supervisor's own."""
        return self.folder / "supervisor.log"

    def served(self, revision: int) -> Path:
        """The list that replicas of a revision follow."""
        return self.folder / "revisions" / str(revision) / "served.json"

    def secrets(self, revision: int) -> Path:
        """Private folder of a revision's secrets."""
        return self.folder / "secrets" / str(revision)

    def replica_log(self, name: str) -> Path:
        """What a replica wrote."""
        return self.folder / "logs" / f"{name}.log"

    @property
    def sockets(self) -> Path:
        """Folder of the replicas' sockets: elsewhere, when their paths would be too long here."""
        here = self.folder / "s"
        if len(os.fsencode(here)) + _SOCKET <= _LONGEST:
            return here
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"modelworks-{os.getuid()}-{name}"

    @property
    def applying(self) -> Path:
        """Lock of whoever applies or deletes; beside the folder, which comes and goes."""
        return self.folder.with_name(f".{self.folder.name}.lock")

    def supervisor(self) -> int | None:
        """Number of the supervisor that lives; 0 = it has not said it yet, None = none does."""
        try:
            with self.lock.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    said = file.read().strip()
                    return int(said) if said.isdigit() else 0
        except FileNotFoundError:
            return None
        return None


def read_wanted(path: Path) -> LocalWanted:
    """What is wanted.

    Raises:
        InvalidError: it is gone, damaged, or was edited.
    """
    wanted = _read(LocalWanted, path)
    if wanted.own() != wanted.digest:
        raise InvalidError(f"{path.name} was edited")
    return wanted


def read_status(path: Path) -> LocalStatus | None:
    """What was seen; None = nothing yet."""
    try:
        return _read(LocalStatus, path)
    except InvalidError:
        return None


def replace_text(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner only; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}", suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def status_text(status: LocalStatus) -> str:
    """Of the status's file."""
    return json.dumps(codec.encode(status), indent=1) + "\n"


def _read(kind: type[T], path: Path) -> T:
    try:
        data: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidError(f"{path.name} is gone: {error.strerror}") from error
    except ValueError as error:
        raise InvalidError(f"{path.name} was edited: it is no JSON") from error
    return codec.decode(kind, data)


def _digest(said: Any) -> str:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
