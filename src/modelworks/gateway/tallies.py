"""The counts of all workers of one port: each writes its own file, and any of them adds them up.

A worker that comes in the place of one that died goes on from the numbers that it left, so that a
counter never falls.
"""

import logging
import os
import threading
from pathlib import Path
from typing import Final

import orjson

from modelworks.gateway.counts import Counts

_log = logging.getLogger(__name__)
_PERIOD_S: Final = 1.0
_END_S: Final = 2.0


class Tallies:
    """One worker's part.

    Args:
        folder: that the workers share; None = there is one worker.
        slot: ours.
        counts: ours; takes up what the file of our slot says.
    """

    def __init__(self, folder: Path | None, slot: int, counts: Counts) -> None:
        self._folder = folder
        self._slot = slot
        self._counts = counts
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tallies", daemon=True)
        if folder is not None:
            self._add(folder / f"{slot}.json", counts)

    def start(self) -> None:
        """Write now and then, where there is anybody to read it."""
        if self._folder is not None:
            self._thread.start()

    def close(self) -> None:
        """Write a last time."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_END_S)

    def all(self) -> Counts:
        """Of all workers; those of the others may be a second old."""
        if self._folder is None:
            return self._counts
        summed = Counts()
        summed.add(self._counts.told())
        for path in self._folder.glob("*.json"):
            if path.name != f"{self._slot}.json":
                self._add(path, summed)
        return summed

    def _run(self) -> None:
        while not self._over.wait(_PERIOD_S):
            self._write()
        self._write()

    def _write(self) -> None:
        assert self._folder is not None  # noqa: S101 - started only then
        path = self._folder / f"{self._slot}.json"
        try:
            temporary = path.with_suffix(".tmp")
            temporary.write_bytes(orjson.dumps(self._counts.told()))
            os.replace(temporary, path)  # noqa: PTH105 - as it is said everywhere
        except OSError as error:
            _log.warning("counts cannot be written to %s: %s", path, error.strerror)

    @staticmethod
    def _add(path: Path, into: Counts) -> None:
        try:
            into.add(orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("the counts in %s are left out: %s", path, error)
