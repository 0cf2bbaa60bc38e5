"""What was applied last, on this machine: how many of which revision. Survives a `kill -9`."""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelworks.core.errors import UnavailableError
from modelworks.core.files import replace_text

_LOCKED_S: Final = 120
_LOOK_S: Final = 0.05


class Kept:
    """A file for each deployment.

    Args:
        folder: of the target.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, deployment: str) -> Path:
        """A deployment's own; it may not be there."""
        return self._folder / deployment

    def read(self, deployment: str) -> dict[int, int] | None:
        """Revision -> replicas; None = nothing was applied from this machine."""
        try:
            said = json.loads(self._file(deployment).read_bytes())
            return {int(number): int(many) for number, many in said.items()}
        except FileNotFoundError:
            return None
        except (ValueError, AttributeError):  # somebody wrote into it: as if it were not there
            return None

    def write(self, deployment: str, replicas: Mapping[int, int]) -> None:
        """Replace it; a reader sees the old one or the new one."""
        said = {str(number): many for number, many in replicas.items()}
        replace_text(self._file(deployment), json.dumps(said))

    def forget(self, deployment: str) -> None:
        """With all that lies in its folder. Quiet where there is none."""
        shutil.rmtree(self.folder(deployment), ignore_errors=True)

    def _file(self, deployment: str) -> Path:
        return self.folder(deployment) / "applied.json"


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Be alone with a folder; the descriptor of the lock, for programs that are to hold it too.

    Raises:
        UnavailableError: somebody else has it for too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + _LOCKED_S
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise UnavailableError(
                        f"{path.parent.name} is being applied by another process"
                    ) from None
                time.sleep(_LOOK_S)
        yield file.fileno()
