"""Where the house is open: one Protocol a seam, found by entry point, with a contract suite each.

Entry-point groups: `modelworks.importers`, `modelworks.engines`. The suites are in
`modelworks.testing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.tensor import Signature, Tensors


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
    honours: ClassVar[frozenset[str]]  # of ImportOptions' inputs, layout, factory; others refused

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


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine loads a model.

    Attributes:
        threads: intra-op threads.
        signature: as registered, when there is one: names and order to follow.
        extra: the engine's own settings; unknown keys are refused.
    """

    threads: int = 1
    signature: Signature | None = None
    extra: tuple[tuple[str, str], ...] = ()


class Session(Protocol):
    """One loaded model. `infer` may be called from one thread at a time."""

    signature: Signature

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once.

        Args:
            inputs: input name -> array of the signature's datatype; BYTES is an object array of
                bytes, BF16 a uint16 array of bit patterns.

        Returns:
            One array an output, in the order of `signature.outputs`, same conventions.

        Raises:
            InvalidError: the model refuses these values or shapes.
            CrashedError: the engine failed.
        """
        ...

    def close(self) -> None:
        """Give the memory back. Twice is quiet."""
        ...


class Engine(Protocol):
    """Runs one or more artifact formats."""

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    experimental: ClassVar[bool]

    def load(self, path: Path, options: EngineOptions) -> Session:
        """Load the model file, or the folder that holds it.

        Raises:
            InvalidError: this is no model that the engine can run; one line, why.
        """
        ...
