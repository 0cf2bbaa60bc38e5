"""Files of llama.cpp (GGUF): served as they are, so only checked."""

from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.formats.gguf import MODEL, is_gguf

_SURE: Final = 100


class GgufImporter:
    """Reads a GGUF file, or a folder with `model.gguf` and adapters beside it."""

    name: ClassVar[str] = "llamacpp"
    formats: ClassVar[tuple[str, ...]] = ("gguf",)
    extra: ClassVar[str] = "llamacpp"
    experimental: ClassVar[bool] = True
    honours: ClassVar[frozenset[str]] = frozenset()

    def sniff(self, path: Path) -> Sniffed | None:
        """By the first bytes, which no other format has."""
        file = path / MODEL if path.is_dir() else path
        return Sniffed("gguf", _SURE, runs_code=False) if is_gguf(file) else None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Check the file and copy what belongs to it, see `core.seams.Importer.read`."""
        from modelworks.ext.importers.llamacpp import check  # noqa: PLC0415 - loads the library

        return check.read(path, into, options)
