"""Digests: sha256 of a file, and of a canonical file tree."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from modelworks.core.errors import InvalidError

PREFIX = "sha256:"


def of_bytes(data: bytes) -> str:
    """`sha256:<hex>` of bytes."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def of_entries(entries: Iterable[tuple[str, str]]) -> str:
    """Digest of a tree from (posix path, file digest) pairs, whatever their order.

    One line `<digest>  <path>` an entry, sorted by path: the form that `sha256sum` prints.
    """
    lines = sorted((path, digest.removeprefix(PREFIX)) for path, digest in entries)
    return of_bytes("".join(f"{digest}  {path}\n" for path, digest in lines).encode())


def tree(root: Path) -> list[tuple[str, str]]:
    """(posix path, digest) of every regular file below `root`; a single file is a tree of one.

    Raises:
        InvalidError: a symbolic link or special file, which could point outside.
    """
    if root.is_file() and not root.is_symlink():
        return [(root.name, of_file(root))]
    entries = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise InvalidError(f"{path.name}: links and special files cannot be stored")
        if path.is_file():
            entries.append((path.relative_to(root).as_posix(), of_file(path)))
    return entries
