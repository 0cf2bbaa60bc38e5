"""Content-addressed files over an object store: put once, never changed, checked when read."""

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from modelworks.blobs import remote
from modelworks.core import digest as digests
from modelworks.core.errors import (
    CorruptError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.home import Access

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PATH = re.compile(r"sha256/[0-9a-f]{2}/([0-9a-f]{64})")
_PIECE = 1 << 20
_PART = 8 << 20
_PARALLEL = 4
_MOST_PARTS = 9_000  # stores end at 10,000
_HERE = Access()
STALE_SECONDS = 3600.0
"""A half-written file older than this belongs to a process that died."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored file."""

    digest: str
    size: int


class BlobStore:
    """Files by digest, at `sha256/ab/<hex>` of a folder or of a bucket.

    Args:
        where: a local folder, or a URL: `file:///`, `s3://`, `gs://`, `az://`, `abfss://`.
        access: how a bucket is reached.

    Raises:
        InvalidError: no such kind of URL, or settings that do not fit it.
        UnavailableError: the folder cannot be made.
    """

    def __init__(self, where: Path | str, access: Access = _HERE) -> None:
        self.where = remote.shown(where)
        self.folder = remote.folder_of(where)
        """The local folder; None where the store is not on this machine."""
        self._store: ObjectStore = remote.open_store(where, access)

    def put(self, path: Path) -> str:
        """Store a file unless it is there already; a damaged copy is replaced.

        The bytes are hashed again on their way: a store never sees the last of them where the
        file changed meanwhile. A large file goes up in parts, a few in memory at a time.

        Returns:
            Its digest. The blob is visible whole or not at all, whenever the process ends.

        Raises:
            UnavailableError: disk full, not writable, store out of reach.
            CorruptError: the file changed while it was read, or the store kept other bytes.
        """
        try:
            digest = digests.of_file(path)
            size = path.stat().st_size
        except OSError as error:
            raise UnavailableError(f"{path}: {error.strerror or error}") from error
        with contextlib.suppress(NotFoundError, CorruptError):
            self.check(digest)
            return digest
        try:
            self._send(_sent(path, digest), digest, size)
        except UnavailableError:
            # Where two put the same at once, some stores take the first and fail the second.
            with contextlib.suppress(NotFoundError, CorruptError, UnavailableError):
                self.check(digest)
                return digest
            raise
        self._kept(path.name, digest, size)
        return digest

    def take(self, digest: str, size: int, pieces: Iterable[bytes]) -> None:
        """Store bytes whose digest and size are known, unless they are there already.

        All of `pieces` is read and hashed in either case; the last of them reaches the store only
        when they are what the digest says.

        Raises:
            CorruptError: the bytes are others, or the store kept others.
            UnavailableError: disk full, not writable, store out of reach.
        """
        checked = _checked(pieces, digest, f"the bytes given for {digest} are others")
        try:
            self.check(digest)
        except (NotFoundError, CorruptError):
            self._send(checked, digest, size)
            self._kept(digest, digest, size)
        else:
            for _ in checked:
                pass

    def read(self, digest: str) -> Iterator[memoryview]:
        """A blob's bytes, in pieces; after the last one, an error unless they match the digest.

        Raises:
            NotFoundError: not stored.
            CorruptError: the bytes are others.
        """
        return self._pieces(digest)

    def _kept(self, name: str, digest: str, size: int) -> None:
        if self.size(digest) != size:
            self.delete(digest)
            raise CorruptError(f"{name}: {self.where} did not keep all of it; try again")

    def _send(self, pieces: Iterator[bytes], digest: str, size: int) -> None:
        key = _key(digest)
        with self._errors(digest, writing=True):
            obstore.put(
                self._store,
                key,
                pieces,
                chunk_size=max(_PART, size // _MOST_PARTS),
                max_concurrency=_PARALLEL,
            )
        if self.folder is not None:
            _settle(self.folder / key)

    def exists(self, digest: str) -> bool:
        """Whether a blob of that name is stored; its bytes are not looked at."""
        try:
            self.size(digest)
        except NotFoundError:
            return False
        return True

    def size(self, digest: str) -> int:
        """Bytes of a blob.

        Raises:
            NotFoundError: not stored.
        """
        with self._errors(digest):
            return int(obstore.head(self._store, _key(digest))["size"])

    def check(self, digest: str) -> None:
        """Read a blob and compare it with its name.

        Raises:
            NotFoundError: not stored.
            CorruptError: the bytes are others.
        """
        for _ in self._pieces(digest):
            pass

    def fetch(self, digest: str, into: Path) -> None:
        """Write a blob's bytes to the new file `into`, checked on the way.

        Raises:
            NotFoundError: not stored.
            CorruptError: the bytes are others; `into` does not exist then.
            UnavailableError: disk full, store out of reach.
        """
        try:
            handle, temporary = tempfile.mkstemp(dir=into.parent, prefix=".fetch-")
            try:
                with os.fdopen(handle, "wb") as file:
                    for piece in self._pieces(digest):
                        file.write(piece)
                Path(temporary).replace(into)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UnavailableError(f"{into.parent}: {error.strerror or error}") from error

    def local(self, digest: str) -> Path | None:
        """The blob's own file where the store is a local folder; else None."""
        return None if self.folder is None else self.folder / _key(digest)

    def list(self) -> Iterator[Blob]:
        """Every stored blob, in no order; what is half-written is not among them."""
        with self._errors("", writing=True):
            for chunk in obstore.list(self._store, "sha256"):
                for meta in chunk:
                    match = _PATH.fullmatch(meta["path"])
                    if match:
                        yield Blob(digests.PREFIX + match[1], int(meta["size"]))

    def delete(self, digest: str) -> None:
        """Remove a blob; a missing one is quiet."""
        self.delete_all([digest])

    def delete_all(self, doomed: Iterable[str]) -> None:
        """Remove blobs, in few requests where the store can; missing ones are quiet."""
        keys = [_key(digest) for digest in doomed]
        with self._errors("", writing=True):
            try:
                if keys:
                    obstore.delete(self._store, keys)
            except FileNotFoundError as error:
                if remote.missing_bucket(error):
                    raise
                for key in keys:  # one was gone; who knows what was done about the others
                    with contextlib.suppress(FileNotFoundError):
                        obstore.delete(self._store, key)

    def reach(self) -> None:
        """Ask the store for a sign of life.

        Raises:
            UnavailableError: no such bucket, no access, nothing there; the message has the cure.
        """
        with self._errors("", writing=True):
            for _ in obstore.list(self._store, "sha256/00", chunk_size=1):
                return

    def sweep(self) -> None:
        """Remove what processes that were killed left half-written in a local store.

        In a bucket such parts are invisible, and no tool of ours lists them: a rule of the bucket
        removes them (see the documentation).
        """
        if self.folder is None:
            return
        oldest = time.time() - STALE_SECONDS
        for path in self.folder.glob("sha256/??/*#*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _pieces(self, digest: str) -> Iterator[memoryview]:
        """The blob's bytes; after the last piece, an error unless they match the digest."""
        seen = hashlib.sha256()
        with self._errors(digest):
            for piece in obstore.get(self._store, _key(digest)).stream(min_chunk_size=_PIECE):
                seen.update(piece)
                yield memoryview(piece)
        if seen.hexdigest() != digest.removeprefix(digests.PREFIX):
            raise CorruptError(f"blob {digest} at {self.where} does not match its digest")

    @contextmanager
    def _errors(self, digest: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if writing or remote.missing_bucket(error):
                raise remote.explain(error, self.where) from error
            raise NotFoundError(f"blob {digest} is not stored at {self.where}") from error
        except (BaseError, OSError) as error:
            raise remote.explain(error, self.where) from error


def _sent(path: Path, digest: str) -> Iterator[bytes]:
    """A file's bytes; instead of the last ones an error, which ends the upload, if it changed."""
    with path.open("rb") as file:
        pieces = iter(lambda: file.read(_PIECE), b"")
        yield from _checked(pieces, digest, f"{path.name} changed while it was stored; try again")


def _checked(pieces: Iterable[bytes], digest: str, wrong: str) -> Iterator[bytes]:
    """The same pieces; instead of the last one an error, which says `wrong`, if it is not that."""
    seen = hashlib.sha256()
    last = b""
    for piece in pieces:
        seen.update(piece)
        if last:
            yield last
        last = piece
    if digests.PREFIX + seen.hexdigest() != digest:
        raise CorruptError(wrong)
    yield last


def _key(digest: str) -> str:
    if _DIGEST.fullmatch(digest) is None:
        raise InvalidError(f"'{digest[:80]}' is no digest: sha256:<64 hex digits> is wanted")
    name = digest.removeprefix(digests.PREFIX)
    return f"sha256/{name[:2]}/{name}"


def _settle(path: Path) -> None:
    """Make a new local blob read-only and durable before anything refers to it."""
    try:
        path.chmod(0o444)
        for target in (path, path.parent):
            handle = os.open(target, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise UnavailableError(f"blob store {path.parent}: {error.strerror or error}") from error
