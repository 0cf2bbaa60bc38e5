"""Lays an artifact's files out as a folder that an engine can open."""

import contextlib
import shutil
import time
import uuid
from pathlib import Path, PurePosixPath

from modelworks.blobs.store import STALE_SECONDS, BlobStore
from modelworks.core import digest as digests
from modelworks.core.errors import CorruptError, InvalidError, NotFoundError, UnavailableError
from modelworks.core.model import Artifact

_TEMPORARY = ".making-"


def materialise(blobs: BlobStore, artifact: Artifact, cache: Path) -> Path:
    """The folder `cache/<hex>` with the artifact's files, every byte checked when it is made.

    A folder that is there is used again when its names and its total size are right (see
    `check_folder` for every byte). Callers in any number of threads and processes may race: each
    gets a whole folder.

    Raises:
        CorruptError: a stored file does not match its digest; the message names it.
        NotFoundError: a stored file is gone.
        UnavailableError: disk full, not writable.
    """
    final = cache / artifact.digest.removeprefix(digests.PREFIX)
    if _looks_right(final, artifact):
        return final
    making = cache / f"{_TEMPORARY}{uuid.uuid4().hex}"
    try:
        making.mkdir(parents=True, mode=0o700)
        for name, digest in artifact.files:
            _place(blobs, name, digest, making / checked_path(name))
        _install(making, final, artifact)
    except OSError as error:
        raise UnavailableError(f"{cache}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return final


def check_folder(folder: Path, artifact: Artifact) -> list[str]:
    """Every byte of a folder against the artifact; one sentence a problem."""
    wanted = dict(artifact.files)
    try:
        found = dict(digests.tree(folder))
    except (InvalidError, OSError) as error:
        return [f"{folder.name} cannot be read: {error}"]
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} does not belong" for name in sorted(found.keys() - wanted.keys())]
    same = sorted(wanted.keys() & found.keys())
    return problems + [f"{name} was altered" for name in same if found[name] != wanted[name]]


def drop_damaged(cache: Path, artifact: Artifact) -> None:
    """Take an artifact's folder out of the cache where a byte of it is wrong."""
    folder = cache / artifact.digest.removeprefix(digests.PREFIX)
    if folder.is_dir() and check_folder(folder, artifact):
        _discard(folder)


def checked_path(name: str) -> PurePosixPath:
    """A file's path inside an artifact, which must stay inside.

    Raises:
        InvalidError: absolute, upward, empty, or too long.
    """
    path = PurePosixPath(name)
    bad = path.is_absolute() or ".." in path.parts or not path.parts or str(path) != name
    if bad or len(name) > 1024 or "\0" in name or "\\" in name:
        raise InvalidError(f"{name[:80]!r} is no path inside an artifact", field="files")
    return path


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
            if folder.name.startswith(_TEMPORARY):
                doomed += [folder] if old else []
            elif folder.name not in kept:
                doomed.append(folder.rename(cache / f"{_TEMPORARY}{uuid.uuid4().hex}"))
    return doomed


def _place(blobs: BlobStore, name: str, digest: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        local = blobs.local(digest)
        if local is not None:
            blobs.check(digest)
            with contextlib.suppress(OSError):  # another disk, or no hard links: copy
                target.hardlink_to(local)
                return
        blobs.fetch(digest, target)
    except (CorruptError, NotFoundError) as error:
        kind = "is damaged" if isinstance(error, CorruptError) else "is gone"
        raise type(error)(
            f"{name}: the stored file {kind} ({digest[:19]}... at {blobs.where}); "
            "restore it from a backup, or import the model again"
        ) from error


def _install(making: Path, final: Path, artifact: Artifact) -> None:
    for _ in range(3):
        with contextlib.suppress(OSError):
            making.rename(final)
            return
        if _looks_right(final, artifact):
            return  # another caller was first
        _discard(final)  # what is there is wrong
    raise UnavailableError(f"{final}: cannot be made; is another program writing there?")


def _discard(folder: Path) -> None:
    """Move a folder out of the way at once, then delete it."""
    with contextlib.suppress(FileNotFoundError):
        aside = folder.rename(folder.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}"))
        shutil.rmtree(aside, ignore_errors=True)


def _looks_right(folder: Path, artifact: Artifact) -> bool:
    if not folder.is_dir():
        return False
    wanted = {name for name, _ in artifact.files}
    size = 0
    found = set()
    try:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found.add(path.relative_to(folder).as_posix())
                size += path.stat().st_size
    except OSError:
        return False
    return found == wanted and size == artifact.size
