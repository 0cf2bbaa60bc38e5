"""Reads a backup: looks at it alone, or fills an empty installation from it.

A restore is one transaction. Files come into the store under their digests, where nothing refers
to them; the rows that do become visible together, after the last byte of the file was read and
found right. A process that dies before leaves an empty installation: the restore is run again, and
takes up the files that are there.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from modelworks.blobs.store import BlobStore
from modelworks.control.backup.container import Reader, lines
from modelworks.control.backup.manifest import (
    FILES,
    MANIFEST,
    MAX_BYTES,
    SUM,
    Manifest,
    Part,
    entry_of,
    from_bytes,
    sum_of,
)
from modelworks.control.backup.pace import Pace
from modelworks.core import digest as digests
from modelworks.core.errors import (
    ConflictError,
    CorruptError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from modelworks.db import files
from modelworks.db.dump import Filling, filling
from modelworks.db.engine import Database

Progress = Callable[[str], None]
Listed = list[tuple[str, int]]

_MOST_ROW: Final = 64 << 20
_MOST_LISTED: Final = 256


def head(path: Path) -> Manifest:
    """What a backup says of itself; nothing else of it is read.

    Raises:
        NotFoundError: no such file.
        InvalidError: no backup of ours.
        UnsupportedError: a newer Modelworks made it.
    """
    with _opened(path) as (_, manifest):
        return manifest


def look(path: Path, say: Progress, digest: str = "") -> Manifest:
    """Read a backup to its end and compare every part with its digest.

    Args:
        path: the file.
        say: told of the steps.
        digest: that the backup must have; empty = any.

    Raises:
        NotFoundError: no such file.
        InvalidError: no backup of ours, or another one than `digest` says.
        UnsupportedError: a newer Modelworks made it.
        CorruptError: cut off or changed: the message says where.
    """
    with _opened(path, digest) as (reader, manifest):
        for table in manifest.tables:
            for _ in _lines(reader, table.entry, table.part, _MOST_ROW):
                pass
        listed = _listed(reader, manifest)
        pace = Pace("checking", listed, say)
        for name, size in listed:
            checked = _checked(reader, entry_of(name), size, name)
            for _ in pace.watched(checked):
                pass
        reader.end()
    return manifest


def restore(
    database: Database, blobs: BlobStore, path: Path, say: Progress, digest: str = ""
) -> Manifest:
    """Fill an empty installation; nothing is visible before every byte was found right.

    Args:
        database: without a row; of this build's schema.
        blobs: without a file that is not in the backup.
        path: the file.
        say: told of the steps.
        digest: that the backup must have; empty = any.

    Raises:
        ConflictError: the installation is not empty.
        NotFoundError: no such file.
        InvalidError: no backup of ours, or another one than `digest` says.
        UnsupportedError: a newer Modelworks made it.
        CorruptError: cut off or changed: the message says where.
        UnavailableError: disk full; database or store out of reach.
    """
    with (
        _opened(path, digest) as (reader, manifest),
        _naming(path),
        filling(database, manifest.schema) as fill,
    ):
        say("restoring rows")
        for table in manifest.tables:
            rows = _lines(reader, table.entry, table.part, _MOST_ROW)
            fill.add(table.name, table.columns, rows)
        listed = _listed(reader, manifest)
        fill.bring_up()
        _agree(fill, listed)
        _ours(blobs, listed)
        pace = Pace("restoring", listed, say)
        for name, size in listed:
            pieces = _checked(reader, entry_of(name), size, name)
            blobs.take(name, size, pace.watched(pieces))
        reader.end()
    return manifest


@contextmanager
def _opened(path: Path, digest: str = "") -> Iterator[tuple[Reader, Manifest]]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {path}", field="file") from error
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}") from error
    with file:
        reader = Reader(file, str(path))
        first = reader.first(MANIFEST, MAX_BYTES)
        manifest = from_bytes(first, str(path))
        if b"".join(reader.part(SUM, len(sum_of(first)))) != sum_of(first):
            raise CorruptError(f"{path}: {MANIFEST} does not match {SUM}: the file was changed")
        if digest and manifest.digest != digest:
            raise InvalidError(
                f"{path} is the backup {manifest.digest}, not {digest[:80]}", field="digest"
            )
        yield reader, manifest


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say which file it is whose rows are wrong."""
    try:
        yield
    except CorruptError as error:
        if error.message.startswith(str(path)):
            raise
        raise CorruptError(f"{path}: {error.message}") from error


def _lines(reader: Reader, name: str, part: Part, most: int) -> Iterator[bytes]:
    """The lines of a part; after the last one, an error unless they are what was written."""
    count = 0
    for line in lines(_checked(reader, name, part.size, part.digest), most):
        count += 1
        yield line
    if count != part.lines:
        raise CorruptError(f"{reader.where}: {name} has {count} lines, not {part.lines}")


def _checked(reader: Reader, name: str, size: int, digest: str) -> Iterator[bytes]:
    """A part's bytes; after the last one, an error unless they match the digest."""
    at = reader.offset
    seen = sha256()
    for piece in reader.part(name, size):
        seen.update(piece)
        yield piece
    if digests.PREFIX + seen.hexdigest() != digest:
        raise CorruptError(
            f"{reader.where}: {name}, at byte {at}, does not match its digest: the file was "
            "changed; take another copy"
        )


def _listed(reader: Reader, manifest: Manifest) -> Listed:
    listed = []
    for line in _lines(reader, FILES, manifest.files, _MOST_LISTED):
        try:
            digest, size = json.loads(line)
        except (ValueError, TypeError) as error:
            raise CorruptError(f"{reader.where}: {FILES} cannot be read") from error
        if type(digest) is not str or type(size) is not int or size < 0:
            raise CorruptError(f"{reader.where}: {FILES} cannot be read")
        listed.append((digest, size))
    if any(one >= after for (one, _), (after, _) in itertools.pairwise(listed)):
        raise CorruptError(f"{reader.where}: {FILES} names a file twice")
    return listed


def _agree(fill: Filling, listed: Iterable[tuple[str, int]]) -> None:
    """The rows mean the files that are there, and each artifact is what its digest says."""
    wanted, given = files.referred(fill.session), {digest for digest, _ in listed}
    if wanted != given:
        raise CorruptError(
            f"the rows refer to {len(wanted - given)} files that are not in it, and "
            f"{len(given - wanted)} are in it that no row refers to"
        )
    for digest, entries in files.artifacts(fill.session):
        if digests.of_entries(entries) != digest:
            raise CorruptError(f"the artifact {digest} does not consist of the files of its rows")


def _ours(blobs: BlobStore, listed: Iterable[tuple[str, int]]) -> None:
    """No file of another registry is in the store: its collection would take ours, and ours its.

    Raises:
        ConflictError: one is.
    """
    given = {digest for digest, _ in listed}
    others = sum(1 for blob in blobs.list() if blob.digest not in given)
    if others:
        raise ConflictError(
            f"{blobs.where} holds {others} files that are not of this backup: another registry's? "
            "Name an empty place with MODELWORKS_ARTIFACTS, or, if nobody needs them: modelworks "
            "collect"
        )
