"""What reads model files."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from modelworks.core.imports import Imported, ImportOptions


@dataclass(frozen=True, slots=True)
class Sniffed:
    """An importer recognises a file.

    Attributes:
        format: the exact source format (`xgboost-json`).
        confidence: 0-100; the highest wins. 100 = magic bytes, 50 = plausible by name.
        runs_code: reading it may run code that the file brings (pickle and its kin).
    """

    format: str
    confidence: int
    runs_code: bool


class Importer(Protocol):
    """Reads one family of model files and writes a safe one.

    `sniff` imports no framework and never unpickles. `read` is only ever called in the sandbox's
    child process; it imports the framework inside, by the importer's own sub-module.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]  # the pip extra that brings its libraries; "" = none beyond `platform`
    experimental: ClassVar[bool]  # not every proof that a finished plug-in needs is there
    honours: ClassVar[frozenset[str]]  # of the options, see `core.imports.refuse_unread`

    def sniff(self, path: Path) -> Sniffed | None:
        """Whether this file is one of ours: magic bytes first, name last. Never raises."""
        ...

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert `path` into the folder `into` (`model.onnx` for ONNX).

        Raises:
            InvalidError: truncated, empty, foreign or contradictory file.
            RefusedError: unsafe, or of a kind that does not convert; the reason is in the message.
            UnsupportedError: the framework knows it and the converter does not.
        """
        ...


@runtime_checkable
class NeedsEnvironment(Protocol):
    """An importer whose libraries may clash with ours: it reads in an environment of its own.

    What it pins itself stands in a class attribute `pinned`, a tuple of tuples of lines: those need
    nobody's word. Any other lines are taken for the file's own and need `trust`.
    """

    def requirements(self, path: Path, options: ImportOptions) -> tuple[str, ...]:
        """Pinned requirement lines (`tensorflow-cpu==2.21.0`); empty = this environment does.

        Called in the sandbox, before `read`; imports no framework, only looks.

        Raises:
            InvalidError: the file names requirements that are none.
            RefusedError: it names some, and the owner did not vouch for it.
        """
        ...
