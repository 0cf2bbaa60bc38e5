"""What gateways are given: composed twice a second, kept, and told to whoever waits for it."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from modelworks.control.front.keeping import Keeper
from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.routes import Route, Snapshot
from modelworks.protocol.routes.checking import check_route

PERIOD_S: Final = 0.5
_LONGEST_S: Final = 15.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """A snapshot as it goes out.

    Attributes:
        generation: of it.
        body: JSON.
    """

    generation: int
    body: bytes


class Front:
    """One thread; an error is said once, and the last snapshot stays.

    Args:
        sources: makes all routes of those before.
        path: where the snapshot is kept.
        close: called at the end.
        period_s: between two looks.
        known: whether the routes are those of now: until then nothing is told, for the addresses of
            the last run may be somebody else's, or nobody's. Gateways go by what they have.
    """

    def __init__(
        self,
        sources: Callable[[Snapshot], tuple[Route, ...]],
        path: Path,
        close: Callable[[], None] = lambda: None,
        period_s: float = PERIOD_S,
        known: Callable[[], bool] = lambda: True,
    ) -> None:
        self._sources = sources
        self._keeper = Keeper(path)
        self._close = close
        self._period = period_s
        self._known = known
        self._told: Told | None = None
        self._listening: list[Callable[[], None]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said = ""
        self._odd: frozenset[str] = frozenset()

    @property
    def told(self) -> Told | None:
        """The snapshot now; None = none could be made yet."""
        return self._told

    def listen(self, call: Callable[[], None]) -> None:
        """Have something called on our thread whenever there is another snapshot."""
        self._listening.append(call)

    def start(self) -> None:
        """Compose once, then begin; twice is quiet."""
        if self._thread is None:
            self._stop.clear()
            self._look()
            self._thread = threading.Thread(target=self._run, name="front", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread. Twice is quiet."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=30)
        self._close()

    def tick(self) -> bool:
        """Compose once; whether the snapshot is another one than before.

        Raises:
            ModelworksError: the database or a file cannot be read.
            OSError: the snapshot cannot be kept.
        """
        made = self._keeper.keep(lambda before: self._good(self._sources(before)))
        return self._take(made)

    def _take(self, snapshot: Snapshot) -> bool:
        if self._told is None:
            if not self._known():
                return False
        elif self._told.generation == snapshot.generation:
            return False
        self._told = Told(snapshot.generation, orjson.dumps(codec.encode(snapshot)))
        for call in self._listening:
            call()
        return True

    def _good(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Those that gateways can go by: one that is odd keeps no other from them."""
        found, odd = [], []
        for route in routes:
            try:
                check_route(route, f"route '{route.name}'")
            except InvalidError as error:
                odd.append(error.message)
            else:
                found.append(route)
        for message in set(odd) - self._odd:
            _log.error("gateways are not given a route: %s", message)
        self._odd = frozenset(odd)
        return tuple(found)

    def _look(self) -> bool:
        """Compose, whatever happens; whether it went well."""
        try:
            self.tick()
        except Exception as error:  # noqa: BLE001 - this thread must not die of anything
            line = str(error) or type(error).__name__
            if line != self._said:
                self._said = line
                _log.error("the snapshot for gateways stays as it was: %s", line)
            last = self._keeper.last()
            if last.generation:
                self._take(last)
            return False
        if self._said:
            _log.info("the snapshot for gateways is kept up to date again")
        self._said = ""
        return True

    def _run(self) -> None:
        failures = 0
        while not self._stop.wait(min(self._period * 2.0 ** min(failures, 16), _LONGEST_S)):
            failures = 0 if self._look() else failures + 1
