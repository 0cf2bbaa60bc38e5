"""Lays an artifact's files out as a folder that an engine can open."""

import contextlib
import time
import uuid
from functools import partial
from pathlib import Path

from modelworks.blobs.folder import TEMPORARY, lay_out
from modelworks.blobs.store import STALE_SECONDS, BlobStore
from modelworks.core import digest as digests
from modelworks.core.errors import CorruptError, NotFoundError
from modelworks.core.model import Artifact


def materialise(blobs: BlobStore, artifact: Artifact, cache: Path) -> Path:
    """The folder `cache/<hex>` with the artifact's files: see `folder.lay_out`.

    Raises:
        CorruptError: a stored file does not match its digest; the message names it.
        NotFoundError: a stored file is gone.
        UnavailableError: disk full, not writable.
    """
    return lay_out(artifact, cache, partial(_place, blobs))


def prune(cache: Path, known: set[str]) -> list[Path]:
    """Set aside the folders of artifacts that are not `known`, and what was left half-made.

    Args:
        cache: the cache.
        known: digests to keep.

    Returns:
        Folders under names that nobody opens, for the caller to delete at leisure.
    """
    kept = {digest.removeprefix(digests.PREFIX) for digest in known}
    doomed = []
    for folder in cache.iterdir() if cache.is_dir() else ():
        with contextlib.suppress(OSError):
            old = folder.stat().st_mtime < time.time() - STALE_SECONDS
            if folder.name.startswith(TEMPORARY):
                doomed += [folder] if old else []
            elif folder.name not in kept:
                doomed.append(folder.rename(cache / f"{TEMPORARY}{uuid.uuid4().hex}"))
    return doomed


def _place(blobs: BlobStore, name: str, digest: str, target: Path) -> None:
    try:
        # A copy, no link: what happens to the stored file later does not reach a server.
        blobs.fetch(digest, target)
        target.chmod(0o444)
    except (CorruptError, NotFoundError) as error:
        kind = "is damaged" if isinstance(error, CorruptError) else "is gone"
        raise type(error)(
            f"{name}: the stored file {kind} ({digest[:19]}... at {blobs.where}); "
            "restore it from a backup, or import the model again"
        ) from error
