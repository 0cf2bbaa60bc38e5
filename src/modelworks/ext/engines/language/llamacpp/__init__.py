"""The engine `llamacpp`: models as GGUF files, by llama.cpp through llama-cpp-python.

Nothing of a file is read here: what it says of itself, its process tells.
"""

from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import InvalidError
from modelworks.ext.engines.language.engine import LanguageEngine
from modelworks.ext.formats import gguf


class LlamaCppEngine(LanguageEngine):
    """The engine; see `LanguageEngine`.

    The memory for `slots` times `context` tokens is taken when the model loads, so both are smaller
    where nothing is said: 4, and 4,096 or the model's own.
    """

    name: ClassVar[str] = "llamacpp"
    formats: ClassVar[tuple[str, ...]] = ("gguf",)
    library: ClassVar[str] = "llama_cpp"
    extra: ClassVar[str] = "llamacpp"
    unsaid: ClassVar[dict[str, float]] = {"slots": 4.0}
    base_gib: ClassVar[int] = 9  # one for the stack of `reading`

    def begin(self, folder: Path) -> None:
        """See `LanguageEngine.begin`."""
        if not (folder / gguf.MODEL).is_file():
            raise InvalidError(f"no {gguf.MODEL} in the folder", field="path")
