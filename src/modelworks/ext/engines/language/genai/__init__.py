"""The engine `genai`: decoders of text, as onnxruntime-genai's model builder writes them."""

from pathlib import Path
from typing import ClassVar

from modelworks.ext.engines.language.engine import LanguageEngine
from modelworks.ext.formats import genai


class GenaiEngine(LanguageEngine):
    """The engine; see `LanguageEngine`. The context is the model's own."""

    name: ClassVar[str] = "genai"
    formats: ClassVar[tuple[str, ...]] = ("genai",)
    library: ClassVar[str] = "onnxruntime_genai"
    extra: ClassVar[str] = "language"
    without: ClassVar[tuple[str, ...]] = ("context",)

    def begin(self, folder: Path) -> int:
        """See `LanguageEngine.begin`."""
        return genai.read(folder).begin
