"""Folders with an artifact's files: made whole under another name, then moved into their place."""

import contextlib
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from modelworks.core import digest as digests
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.model import Artifact

TEMPORARY: Final = ".making-"
"""How the names of folders begin that are half-made, or on their way out."""


def lay_out(artifact: Artifact, cache: Path, place: Callable[[str, str, Path], None]) -> Path:
    """The folder `cache/<hex>` with the artifact's files.

    A folder that is there is used again when every byte of it is right. Callers in any number of
    threads and processes may race: each gets a whole folder.

    Args:
        artifact: whose files.
        cache: where folders are.
        place: (file's name, digest, path) -> puts that file there, every byte checked.

    Raises:
        UnavailableError: disk full, not writable.
    """
    final = cache / artifact.digest.removeprefix(digests.PREFIX)
    if _is_right(final, artifact):
        return final
    making = cache / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        making.mkdir(parents=True, mode=0o700)
        for name, digest in artifact.files:
            target = making / checked_path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            place(name, digest, target)
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


def _install(making: Path, final: Path, artifact: Artifact) -> None:
    for _ in range(3):
        with contextlib.suppress(OSError):
            making.rename(final)
            return
        if _is_right(final, artifact):
            return  # another caller was first
        _discard(final)  # what is there is wrong
    raise UnavailableError(f"{final}: cannot be made; is another program writing there?")


def _discard(folder: Path) -> None:
    """Move a folder out of the way at once, then delete it."""
    with contextlib.suppress(FileNotFoundError):
        aside = folder.rename(folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}"))
        shutil.rmtree(aside, ignore_errors=True)


def _is_right(folder: Path, artifact: Artifact) -> bool:
    return folder.is_dir() and not check_folder(folder, artifact)
