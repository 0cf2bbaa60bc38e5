"""A JAX function in a Python file: code of the owner's, traced and converted by his word only.

The file defines a function (`build`, or the one that `--factory` names) that returns the model: a
function of arrays. What goes in is said by `--input`, once for each of its arguments.
"""

import importlib.util
import re
from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import MissingExtraError, RefusedError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.jax import pins

_FUNCTION, _EXPORTED = "jax-function", "jax-export"
_IMPORTS = re.compile(rb"^[ \t]*(?:import|from)[ \t]+jax\b", re.MULTILINE)
_LARGEST_SOURCE = 4 << 20
_HEAD = 64 << 10
_BYTECODE, _DIALECT = b"ML\xefR", b"StableHLO_v"


class JaxImporter:
    """Python files that import JAX; what `jax.export` writes is recognised and told apart."""

    name: ClassVar[str] = "jax"
    formats: ClassVar[tuple[str, ...]] = (_FUNCTION, _EXPORTED)
    extra: ClassVar[str] = "jax"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"inputs", "factory"})
    pinned: ClassVar[tuple[tuple[str, ...], ...]] = (pins.requirements(),)

    def sniff(self, path: Path) -> Sniffed | None:
        """70 for a `.py` file that imports JAX, 95 for StableHLO's bytecode."""
        try:
            if not path.is_file():
                return None
            with path.open("rb") as stream:
                if path.suffix.lower() == ".py":
                    found = _IMPORTS.search(stream.read(_LARGEST_SOURCE))
                    return Sniffed(_FUNCTION, 70, runs_code=True) if found else None
                head = stream.read(_HEAD)
        except OSError:
            return None
        start = head.find(_BYTECODE)
        if start >= 0 and _DIALECT in head[start : start + 64]:
            return Sniffed(_EXPORTED, 95, runs_code=False)
        return None

    def requirements(self, path: Path, options: ImportOptions) -> tuple[str, ...]:
        """JAX's environment, where it is not installed here; see `NeedsEnvironment`."""
        self._vouched(path, options)
        here = all(importlib.util.find_spec(name) is not None for name in ("jax", "jax2onnx"))
        return () if here else pins.requirements()

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Trace, convert to `into/model.onnx`; see `core.seams.Importer.read`."""
        self._vouched(path, options)
        try:
            from modelworks.ext.importers.jax import read  # noqa: PLC0415 - imports JAX
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "converting JAX functions", self.extra, str(error.name)
            ) from error
        return read.read(path, into, options)

    def _vouched(self, path: Path, options: ImportOptions) -> None:
        """Refuse before anything of the file runs or is installed for it."""
        sniffed = self.sniff(path)
        if sniffed is not None and sniffed.format == _EXPORTED:
            raise UnsupportedError(
                f"{path.name} is what jax.export wrote: StableHLO, which nothing here turns into "
                "ONNX; import the Python file with the function itself: modelworks import FILE.py "
                "--factory FILE.py:build --input x:FP32[-1,8] --trust"
            )
        if not options.trust:
            raise RefusedError(
                f"{path.name}: a Python file is code, and nothing runs it without your word: "
                "--trust says that you vouch for it",
                field="trust",
            )
