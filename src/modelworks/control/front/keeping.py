"""The snapshot for gateways as it is kept: its generation rises with every change, over restarts.

It lies in a file beside the list of what is served. A generation is the second of its change, and
above the one before it: so none falls even where somebody emptied the folder.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelworks.core import codec
from modelworks.core.errors import ModelworksError
from modelworks.core.files import Mark, mark_of, replace_text
from modelworks.core.lock import locked
from modelworks.core.routes import Route, Snapshot

_log = logging.getLogger(__name__)
FILE: Final = "front.json"
_WAIT_S: Final = 5.0


class Keeper:
    """One file; several processes may write it, one at a time.

    Args:
        path: of it.
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._mark: Mark | None = None
        self._last = Snapshot(0)
        self._highest = 0

    def last(self) -> Snapshot:
        """As it was kept last; generation 0 = nothing is kept, or it is damaged."""
        mark = mark_of(self._path)
        if mark != self._mark:
            self._last, self._mark = self._read(), mark
        self._highest = max(self._highest, self._last.generation)
        return self._last

    def keep(self, make: Callable[[Snapshot], tuple[Route, ...]]) -> Snapshot:
        """Make routes from those before, and keep them where they are others.

        Args:
            make: of the last snapshot; called while nobody else writes.

        Raises:
            UnavailableError: another process holds the file.
            OSError: it cannot be written.
        """
        with locked(self._path.with_suffix(".lock"), _WAIT_S):
            before = self.last()
            routes = make(before)
            if before.generation and routes == before.routes:
                return before
            generation = max(before.generation, self._highest, int(self._clock()) - 1) + 1
            made = Snapshot(generation, routes)
            replace_text(self._path, json.dumps(codec.encode(made)))
            self._last, self._mark, self._highest = made, mark_of(self._path), generation
            return made

    def _read(self) -> Snapshot:
        try:
            return codec.decode(Snapshot, json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return Snapshot(0)
        except (OSError, ValueError, ModelworksError) as error:
            _log.warning("%s is damaged, and is written anew: %s", self._path, error)
            return Snapshot(0)
