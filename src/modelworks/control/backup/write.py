"""Writes a backup: one state of all rows, then every file that they refer to.

Others go on publishing meanwhile. The files are held by leases, so that a collection leaves them
alone; a file that is stored is never changed.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self

from modelworks.blobs.store import BlobStore
from modelworks.control.backup.container import Writer
from modelworks.control.backup.manifest import (
    FILES,
    KIND,
    LAYOUT,
    MANIFEST,
    SUM,
    Manifest,
    TablePart,
    entry_of,
    sum_of,
    to_bytes,
)
from modelworks.control.backup.pace import Pace
from modelworks.control.backup.target import Spool, target, whole
from modelworks.core.errors import CorruptError, ModelworksError, NotFoundError
from modelworks.core.ids import now_ns, uuid7
from modelworks.db import files, schema
from modelworks.db.dump import Snapshot, snapshot
from modelworks.db.engine import Database
from modelworks.db.session import EveryTenantSession

Progress = Callable[[str], None]
Listed = list[tuple[str, int]]

HOLD_NS: Final = 3600 * 10**9
"""How long the leases last; they are renewed long before."""
_RENEW_S: Final = 600.0


def backup(
    database: Database, blobs: BlobStore, into: Path, say: Progress
) -> tuple[Path, Manifest]:
    """Write everything that the registry knows into one file.

    Args:
        database: its rows.
        blobs: its files.
        into: a file that does not exist, or a folder: a file named by the time is made in it.
        say: told of the steps.

    Returns:
        The file, complete and on the disk, and what is in it. It never exists half-written.

    Raises:
        ConflictError: the file exists, or another process is writing it.
        NotFoundError: its folder does not exist.
        CorruptError: a stored file is damaged or gone: the message says whose.
        UnavailableError: disk full, not writable; database or store out of reach.
    """
    made_ns = now_ns()
    path = target(into, made_ns)
    with whole(path) as file, _Hold(database) as hold, Spool(path.parent) as spool:
        say("reading the registry")
        with snapshot(database, hold.take) as taken:
            tables = tuple(
                TablePart(name, columns, spool.add(taken.lines(name)))
                for name, columns in taken.tables()
            )
            listed = _listed(taken, blobs)
        told = spool.add(f'["{digest}",{size}]\n'.encode() for digest, size in listed)
        manifest = Manifest(
            KIND,
            LAYOUT,
            version("modelworks"),
            schema.HEAD,
            made_ns,
            tables,
            told,
            sum(size for _, size in listed),
        )
        writer = Writer(file, made_ns // 10**9)
        head = to_bytes(manifest)
        writer.add(MANIFEST, len(head), [head])
        writer.add(SUM, len(sum_of(head)), [sum_of(head)])
        spool.rewind()
        for table in tables:
            writer.add(table.entry, table.part.size, spool.next(table.part))
        writer.add(FILES, told.size, spool.next(told))
        pace = Pace("copying", listed, say)
        for digest, size in listed:
            with _naming(database, digest):
                pieces = hold.kept(pace.watched(blobs.read(digest)))
                writer.add(entry_of(digest), size, pieces)
        writer.end()
    return path, manifest


class _Hold:
    """Leases on every file of a snapshot, until the block ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = uuid7()
        self._renewed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A lease that stays behind runs out by itself.
        with contextlib.suppress(ModelworksError), self._database.every_tenant() as session:
            files.release(session, self._holder)

    def take(self, session: EveryTenantSession) -> None:
        """Take them, in a transaction that sees the snapshot's rows."""
        files.hold(session, self._holder, now_ns() + HOLD_NS)

    def kept(self, pieces: Iterable[memoryview]) -> Iterator[memoryview]:
        """The same pieces; the leases are renewed while they come."""
        for piece in pieces:
            if time.monotonic() - self._renewed > _RENEW_S:
                self._renewed = time.monotonic()
                with self._database.every_tenant() as session:
                    files.renew(session, self._holder, now_ns() + HOLD_NS)
            yield piece


def _listed(taken: Snapshot, blobs: BlobStore) -> Listed:
    """(digest, size) of every file of the snapshot, sorted.

    Raises:
        CorruptError: one is not stored.
    """
    wanted = files.referred(taken.session)
    sizes = {blob.digest: blob.size for blob in blobs.list() if blob.digest in wanted}
    missing = sorted(wanted - sizes.keys())
    if missing:
        raise CorruptError(_whose(files.owners(taken.session, missing[0]), "is gone"))
    return sorted(sizes.items())


@contextmanager
def _naming(database: Database, digest: str) -> Iterator[None]:
    """Say whose file it is that cannot be read."""
    try:
        yield
    except (CorruptError, NotFoundError) as error:
        with database.every_tenant() as session:
            found = files.owners(session, digest)
        raise CorruptError(f"{_whose(found, 'is damaged')} ({error.message})") from error


def _whose(owners: list[str], what: str) -> str:
    named = ", ".join(owners) or "of a deleted version"
    return (
        f"the stored file {named} {what}, so no backup of it can be made: import it again, or "
        "delete that version"
    )
