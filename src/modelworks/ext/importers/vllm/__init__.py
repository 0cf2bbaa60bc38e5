"""Decoders as Hugging Face keeps them, for vLLM: served as they are, so only checked."""

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.formats.decoder import looks_like_one

_SURE: Final = 100
_UNSURE: Final = 20


class DecoderImporter:
    """Reads folders with a decoder's `config.json`, safetensors and a `tokenizer.json`."""

    name: ClassVar[str] = "vllm"
    formats: ClassVar[tuple[str, ...]] = ("decoder",)
    extra: ClassVar[str] = "vllm"
    experimental: ClassVar[bool] = True
    honours: ClassVar[frozenset[str]] = frozenset()

    def sniff(self, path: Path) -> Sniffed | None:
        """Sure where vLLM is installed; otherwise others may have the folder."""
        if not path.is_dir() or not looks_like_one(path):
            return None
        sure = _SURE if find_spec("vllm") is not None else _UNSURE
        return Sniffed("decoder", sure, runs_code=False)

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Check the folder and copy what belongs to it, see `core.seams.Importer.read`."""
        from modelworks.ext.importers.vllm import check  # noqa: PLC0415 - asks for the library

        return check.read(path, into, options)
