"""What a file of the corpus is, and what is expected of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import ImportOptions
from modelworks.sandbox.limits import Limits

Maker = Callable[[Path, Path], Path]
"""(empty folder, path of the canary) -> the file or folder to import."""


@dataclass(frozen=True)
class Hostile:
    """A file that must be refused.

    Attributes:
        title: unique, and the file's name where `make` gives bytes.
        group: heading in the table.
        tries: in a few words.
        make: writes it.
        says: words of the message (a regular expression).
        verdict: of the scanner; "" where the file is no pickle, or has no verdict of its own.
        error: its class.
        trusted: the owner's word opens it, so it is not refused with `--trust`.
        sings: Python's own loader runs its code: proved.
        options: of the import.
        limits: of the sandbox; None = the usual ones.
        needs: a package without which it cannot be made.
    """

    title: str
    group: str
    tries: str
    make: Maker
    says: str
    verdict: str = ""
    error: type[InvalidError] | tuple[type[Exception], ...] = RefusedError
    trusted: bool = False
    sings: bool = False
    options: ImportOptions = field(default_factory=ImportOptions)
    limits: Limits | None = None
    needs: str = ""


@dataclass(frozen=True)
class Benign:
    """A file of the same kind that must be accepted.

    Attributes:
        title: unique.
        group: heading in the table.
        holds: what it is, in a few words.
        make: writes it.
        source_format: as it is recognised.
        options: of the import.
        needs: a package without which it cannot be made.
    """

    title: str
    group: str
    holds: str
    make: Callable[[Path], Path]
    source_format: str
    options: ImportOptions = field(default_factory=ImportOptions)
    needs: str = ""


def of_bytes(name: str, data: Callable[[Path], bytes]) -> Maker:
    """A maker of one file from a function of the canary."""

    def make(folder: Path, canary: Path) -> Path:
        path = folder / name
        path.write_bytes(data(canary))
        return path

    return make


ANY = (InvalidError,)
EITHER = (RefusedError, InvalidError)
