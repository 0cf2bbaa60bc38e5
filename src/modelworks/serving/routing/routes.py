"""What a worker has to do with routes: its router, its gate, the file that it follows."""

import asyncio
import logging
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelworks.edge.key_ring import KeyRing
from modelworks.plugins.load import load
from modelworks.protocol.routes.limits import Table
from modelworks.protocol.routes.tokens import PublicKey
from modelworks.serving.block import Block
from modelworks.serving.routing.book import Book, open_book
from modelworks.serving.routing.follow import RouteWatch
from modelworks.serving.routing.gate import RouteGate
from modelworks.serving.routing.router import Router
from modelworks.serving.routing.shared import LIMITS_BYTES

_log = logging.getLogger("modelworks.serving")


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """Routes of a server.

    Attributes:
        path: of the file that is followed.
        block: descriptor of the counters that the workers share; None = this process alone.
        limits: descriptor of the memory that limits are counted in; None = the same.
    """

    path: Path
    block: int | None = None
    limits: int | None = None


class Routes:
    """Of one worker.

    Args:
        options: see there.
        workers: how many there are.
        slot: this one's.
        ring: the server's own API keys; None = there are none.

    Attributes:
        router: says who answers.
        gate: keeps bodies out.
    """

    def __init__(
        self, options: RouteOptions, workers: int, slot: int, ring: KeyRing | None
    ) -> None:
        self.router = Router(Block(workers, slot, options.block), ring)
        self.gate = RouteGate(self.router)
        shared = mmap.mmap(-1 if options.limits is None else options.limits, LIMITS_BYTES)
        opener = partial(open_book, load_key=_load_key, table=Table(memoryview(shared).cast("d")))
        self._watch = RouteWatch(options.path, opener, self._found, self._broken)
        self._changed: Callable[[], None] = lambda: None

    async def start(self, changed: Callable[[], None]) -> None:
        """Read the routes and follow them.

        Args:
            changed: called when others are in force.

        Raises:
            ModelworksError: there are none that could be used.
        """
        self._changed = changed
        book, problem = await asyncio.to_thread(self._watch.first)
        self.router.use(book)
        if problem:
            self._broken(problem)
        self._watch.start()

    def stop(self) -> None:
        """Follow them no longer; copies that wait are dropped."""
        self._watch.stop()
        self.router.close()

    def _found(self, book: Book) -> None:
        self.router.use(book)
        self._changed()
        snapshot = book.snapshot
        _log.info("%d routes, generation %d", len(snapshot.routes), snapshot.generation)

    def _broken(self, reason: str) -> None:
        _log.error("the changed routes are not used, the last good ones stay: %s", reason)
        self.router.problem = reason


def _load_key() -> Callable[[str], PublicKey]:
    found: Callable[[str], PublicKey] = load("tokens", "jwt")
    return found
