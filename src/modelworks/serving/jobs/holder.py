"""Who runs jobs, told by a lock that ends with the process: the dead are known at once."""

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelworks.core.ids import uuid7

_SUFFIX: Final = ".runner"


class Holder:
    """This process, as the jobs' file names it.

    Args:
        folder: of the jobs; on a disk of this machine, for locks to hold.

    Attributes:
        name: unique.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = uuid7()
        self._path = folder / f"{self.name}{_SUFFIX}"
        # Locked under another name first: nobody finds it before it is held.
        making = folder / f".{self.name}.making"
        self._handle = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        making.rename(self._path)

    def dead(self, names: Iterable[str]) -> set[str]:
        """Those of `names` whose process has ended."""
        return {name for name in names if name != self.name and not self._alive(name)}

    def forget(self, names: Iterable[str]) -> None:
        """Remove what the dead left, once nothing in the file names them."""
        for name in names:
            with suppress(OSError):
                (self._folder / f"{name}{_SUFFIX}").unlink()

    def others(self) -> set[str]:
        """Everybody else who has a lock's file here."""
        names = {path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}")}
        return names - {self.name}

    def close(self) -> None:
        """Hold nothing any more."""
        self.forget((self.name,))
        os.close(self._handle)

    def _alive(self, name: str) -> bool:
        try:
            handle = os.open(self._folder / f"{name}{_SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # not known: it is left alone
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(handle)
