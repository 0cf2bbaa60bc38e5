"""The engine `vllm`: decoders as Hugging Face keeps them, by vLLM on the CPU."""

from pathlib import Path
from typing import ClassVar

from modelworks.ext.engines.language.engine import LanguageEngine
from modelworks.ext.formats import decoder


class VllmEngine(LanguageEngine):
    """The engine; see `LanguageEngine`.

    vLLM shares the model among requests itself (continuous batching, paged memory). The memory for
    `slots` times `context` tokens is taken when the model loads: 4,096 or the model's own where
    nothing is said.
    """

    name: ClassVar[str] = "vllm"
    formats: ClassVar[tuple[str, ...]] = ("decoder",)
    library: ClassVar[str] = "vllm"
    extra: ClassVar[str] = "vllm"
    unsaid: ClassVar[dict[str, float]] = {"start_s": 600.0}
    base_gib: ClassVar[int] = 32
    hottest: ClassVar[float] = 2.0

    def begin(self, folder: Path) -> int:
        """See `LanguageEngine.begin`."""
        return decoder.read(folder).begin
