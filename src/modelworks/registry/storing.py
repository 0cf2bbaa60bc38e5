"""Brings files into the store before rows refer to them: leases, blobs, then one transaction."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from modelworks.blobs.folder import checked_path
from modelworks.blobs.store import BlobStore
from modelworks.core import digest as digests
from modelworks.core.errors import ConflictError, InvalidError, ModelworksError, UnavailableError
from modelworks.core.ids import uuid7
from modelworks.core.model import Artifact
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.registry import store

T = TypeVar("T")

LEASE_NS: Final = 3600 * 10**9
"""How long a publisher may take to store its files before a collection may take them away; it
then stores them again."""

MAX_FILES: Final = 10_000
_ATTEMPTS: Final = 3


class Storer:
    """Stores artifacts of one tenant.

    Args:
        scope: the tenant's rows.
        blobs: where the bytes go.
        clock: UTC nanoseconds.
    """

    def __init__(self, scope: TenantScope, blobs: BlobStore, clock: Callable[[], int]) -> None:
        self._scope = scope
        self._blobs = blobs
        self._clock = clock

    def keep(
        self,
        files: Mapping[str, tuple[Path, str]],
        kind: str,
        commit: Callable[[TenantSession, Artifact], T],
    ) -> T:
        """Store the files, then make what refers to them visible in one transaction.

        A process that ends at any point leaves nothing visible, or the whole.

        Args:
            files: name in the artifact -> where it lies, and its digest.
            kind: format of the artifact.
            commit: adds the rows.

        Raises:
            InvalidError: no file, too many, or a name that cannot be stored.
            ConflictError: a file changed meanwhile; or as `commit`.
            UnavailableError: disk full, database locked, store out of reach.
        """
        artifact = _artifact(files, kind)
        for _ in range(_ATTEMPTS):
            with self._leases(artifact) as holder:
                for name, (path, digest) in sorted(files.items()):
                    if self._blobs.put(path) != digest:
                        raise ConflictError(f"{name} changed while it was published; try again")
                with self._scope.write() as session:
                    # Where a collection took the leases it may have taken the files.
                    if store.held_leases(session, holder) == len({d for _, d in artifact.files}):
                        made = commit(session, artifact)
                        store.drop_leases(session, holder)
                        return made
        raise UnavailableError("storing the files took too long, again and again; retry")

    @contextlib.contextmanager
    def _leases(self, artifact: Artifact) -> Iterator[str]:
        holder = uuid7()
        with self._scope.write() as session:
            until = self._clock() + LEASE_NS
            store.take_leases(session, holder, (digest for _, digest in artifact.files), until)
        try:
            yield holder
        except BaseException:
            # A lease that stays behind runs out by itself.
            with contextlib.suppress(ModelworksError), self._scope.write() as session:
                store.drop_leases(session, holder)
            raise


def files_of(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name -> path and digest of every file of a folder, or of the one file.

    Raises:
        InvalidError: nothing is there, or links and special files.
    """
    entries = digests.tree(folder)
    if not entries:
        raise InvalidError(f"{folder.name}: nothing to publish: no file is there")
    alone = folder.is_file()
    return {name: (folder if alone else folder / name, digest) for name, digest in entries}


def _artifact(files: Mapping[str, tuple[Path, str]], kind: str) -> Artifact:
    """The files as an artifact.

    Raises:
        InvalidError: too many files, or a name that cannot be stored.
    """
    if len(files) > MAX_FILES:
        raise InvalidError(f"{len(files)} files; an artifact has at most {MAX_FILES}")
    for name in files:
        checked_path(name)
    entries = tuple(sorted((name, digest) for name, (_, digest) in files.items()))
    size = sum(path.stat().st_size for path, _ in files.values())
    return Artifact(digests.of_entries(entries), kind, size, entries)
