"""The folder of a deployment on a plain machine, and the processes that belong to it."""

import fcntl
import hashlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.local import LocalStatus, LocalWanted
from modelworks.core.processes import marked, parent

T = TypeVar("T")
MARK: Final = "MODELWORKS_REPLICA"
"""Variable of every process of a replica: whose it is; see `Mark`."""
BEAT_S: Final = 2.0
"""The supervisor touches its status so often: one that hangs is told from one at rest."""
_SILENT_S: Final = 15.0
_LONGEST: Final = 107  # bytes of a Unix socket's path
_SOCKET: Final = 48  # of it, for a replica's name


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
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        name = f"modelworks-{os.getuid()}-{digest}"
        places = (self.folder / "s", Path(tempfile.gettempdir()) / name)
        fits = (place for place in places if len(os.fsencode(place)) + _SOCKET <= _LONGEST)
        return next(fits, Path("/tmp") / name)  # noqa: S108 - TMPDIR may be too long as well

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


def beating(path: Path) -> bool:
    """Whether who writes the status has touched it lately."""
    try:
        return time.time() - path.stat().st_mtime < _SILENT_S
    except FileNotFoundError:
        return False


def _read(kind: type[T], path: Path) -> T:
    try:
        data: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidError(f"{path.name} is gone: {error.strerror}") from error
    except ValueError as error:
        raise InvalidError(f"{path.name} was edited: it is no JSON") from error
    return codec.decode(kind, data)
