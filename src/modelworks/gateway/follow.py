"""The snapshot's file, followed: read and made ready on a thread, taken by the loop in one step."""

import gc
import logging
import threading
import time
from pathlib import Path
from typing import Final

from modelworks.core import codec
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.files import Mark, mark_of
from modelworks.core.routes import Snapshot
from modelworks.gateway.front import Front
from modelworks.gateway.names import Names
from modelworks.gateway.slices import read_slices
from modelworks.gateway.table import Maker, Table

_log = logging.getLogger(__name__)
PERIOD_S: Final = 0.25
_END_S: Final = 5.0
_LEAST_S: Final = 0.5  # between two tables because of addresses
_SHARE: Final = 10  # times as long as one took to make


def read_snapshot(path: Path) -> Snapshot:
    """A snapshot's file.

    Raises:
        InvalidError: it cannot be read, or is none.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidError(
            f"the snapshot {path} cannot be read: {error.strerror}", field="snapshot"
        ) from error
    return parse_snapshot(raw)


def parse_snapshot(raw: bytes) -> Snapshot:
    """A snapshot's bytes.

    Raises:
        InvalidError: they are none.
    """
    return codec.decode(Snapshot, read_slices(raw))


class Follower:
    """Follows one file from a thread.

    A file that cannot be gone by leaves the last good table in force and is told of once. An older
    generation is taken too: whoever puts an old file back means it.

    Args:
        path: of the file.
        maker: of tables.
        front: that goes by them; its `loop` is set.
        names: of endpoints; a new table is made when they stand for something else.

    Attributes:
        problem: what is wrong with the file now; empty = nothing.
        taken: when the last table was taken, seconds since 1970; 0 = none was.
    """

    def __init__(self, path: Path, maker: Maker, front: Front, names: Names) -> None:
        self._path = path
        self._maker = maker
        self._front = front
        self._names = names
        self._version = names.version
        self._snapshot: Snapshot | None = None  # in force
        self._again = 0.0  # a table with other addresses is not made before
        self._mark: Mark | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="routes", daemon=True)
        self.problem = ""
        self.taken = 0.0

    def first(self) -> None:
        """Take what the file has now, before anything listens; called before `start`.

        Raises:
            InvalidError: it cannot be gone by.
        """
        mark = mark_of(self._path)
        self._front.swap(self._made(read_snapshot(self._path), None))
        self._mark, self.taken = mark, time.time()

    def start(self) -> None:
        """Follow it."""
        self._thread.start()

    def close(self) -> None:
        """Follow it no longer."""
        self._over.set()
        self._names.close()
        if self._thread.ident is not None:
            self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._over.wait(PERIOD_S):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - the next file may be better
                _log.exception("following the routes failed")

    def look(self) -> None:
        """Take the file's snapshot, if it has changed, or other addresses of its names."""
        mark = mark_of(self._path)
        same = mark is None or mark == self._mark
        if same and (self._version == self._names.version or time.monotonic() < self._again):
            return
        # What is made here makes no garbage, and a collection that looked at all of it would keep
        # the loop waiting.
        gc.disable()
        try:
            if mark is not None and not same:
                self._read(mark)
            elif self._snapshot is not None:
                self._readdress(self._snapshot)
        finally:
            gc.enable()

    def _read(self, mark: Mark) -> None:
        old = self._front.table
        try:
            table = self._made(read_snapshot(self._path), old)
        except ModelworksError as error:
            if mark == mark_of(self._path):
                self._mark = mark
                where = f" ({error.field})" if error.field else ""
                self.problem = f"{error.message}{where}"
                _log.error("the new routes are not taken, the last ones stay: %s", self.problem)
            return
        self._mark = mark
        self._put(table, old)
        self.problem, self.taken = "", time.time()
        _log.info("routes of generation %d are in force: %d", table.generation, len(table.routes))

    def _readdress(self, snapshot: Snapshot) -> None:
        """The same routes, at other addresses; not oftener than making them is cheap."""
        began, old = time.monotonic(), self._front.table
        self._put(self._made(snapshot, old), old)
        now = time.monotonic()
        self._again = now + max(_LEAST_S, _SHARE * (now - began))

    def _made(self, snapshot: Snapshot, old: Table | None) -> Table:
        version = self._names.version
        self._names.follow(snapshot)
        table = self._maker.make(snapshot, old)
        self._names.forget_others(snapshot)
        self._version, self._snapshot = version, snapshot
        return table

    def _put(self, table: Table, old: Table | None) -> None:
        """In force from the next request on; the old one is taken apart on this thread."""
        done = threading.Event()
        self._front.loop.call_soon_threadsafe(self._take, table, done)
        if done.wait(_END_S) and old is not None:
            old.take_apart()

    def _take(self, table: Table, done: threading.Event) -> None:
        self._front.swap(table)
        gc.freeze()  # what was just made stays: no collection need look at it
        done.set()
