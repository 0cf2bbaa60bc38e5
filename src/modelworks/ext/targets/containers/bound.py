"""The folder of this machine that replicas of a deployment write records to.

It is bound into them, and holds a copy of the key of hashes, so that a person is found by the same
hash whoever recorded it. A worker takes in what is in it: see `control.records.containers`.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.home import Home
from modelworks.ext.targets.containers.container import USER, Container, Shelf
from modelworks.ext.targets.containers.engine import Engine
from modelworks.protocol.records.fields import KEY, hash_key

_USER: Final = int(USER.partition(":")[0])
_SEGMENTS: Final = "segments"


class Bound:
    """Those of one target.

    Args:
        folder: of the target.
    """

    def __init__(self, folder: Path) -> None:
        self._home = Home.of_target(folder.absolute())

    def folder(self, deployment: str) -> Path:
        """A deployment's own; it may not be there."""
        return self._home.recorded / deployment

    def shelf(self, deployment: str) -> Shelf:
        """The same, as replicas have it."""
        return Shelf(str(self.folder(deployment)), f"{os.getgid()}" if os.geteuid() else "")

    def provide(self, engine: Engine, containers: Iterable[Container]) -> None:
        """Have the folders that containers write records to; quiet where none does.

        Raises:
            InvalidError: the engine is another machine's.
            UnavailableError: the disk takes no more, or a folder is another user's.
        """
        wanted = {Path(one.shelf.folder) for one in containers if one.shelf}
        if wanted and engine.remote:
            raise InvalidError(
                "records are bound from folders of the engine's own machine, and this engine is "
                "another's: run the reconciler there",
                field="monitoring.records",
            )
        for folder in wanted:
            try:
                self._make(folder)
            except OSError as error:
                raise UnavailableError(f"{folder}: {error.strerror or error}") from error

    def leave(self, deployment: str) -> None:
        """Nobody writes there any more; what waits to be taken in stays until it is."""
        folder = self.folder(deployment)
        (folder / KEY).unlink(missing_ok=True)
        for one in (folder / _SEGMENTS, folder):
            with suppress(OSError):  # there is none, or something waits in it
                one.rmdir()

    def _make(self, folder: Path) -> None:
        """Only the folder of segments is the container's: root writes where it cannot."""
        key, root = hash_key(self._home.records), os.geteuid() == 0
        self._home.recorded.mkdir(exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        segments = folder / _SEGMENTS
        segments.mkdir(exist_ok=True, mode=0o700)
        _give(segments, 0o700 if root else 0o2770)
        path = folder / KEY
        if path.exists() and path.read_bytes() == key:
            return
        made = folder / f".{KEY}"
        made.unlink(missing_ok=True)
        made.touch(mode=0o600)
        made.write_bytes(key)
        _give(made, 0o400 if root else 0o440)
        made.replace(path)


def _give(path: Path, mode: int) -> None:
    """To the container's user, by root; else to our group, which the container is of."""
    if os.geteuid() == 0:
        os.chown(path, _USER, _USER)
    else:
        os.chown(path, -1, os.getgid())
    path.chmod(mode)
