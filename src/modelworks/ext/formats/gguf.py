"""The folder of a GGUF model: the file, and adapters beside it.

The file's own head is read by llama.cpp, in a process behind walls, and by nobody else.
"""

from pathlib import Path
from typing import Final

from modelworks.ext.formats.language import ADAPTERS, adapter

MODEL: Final = "model.gguf"
ENDING: Final = ".gguf"
MAGIC: Final = b"GGUF"


def is_gguf(file: Path) -> bool:
    """Whether a file begins as one."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def adapters_of(folder: Path) -> dict[str, Path]:
    """Adapters (LoRA): name -> file.

    Raises:
        InvalidError: a file's name is none for an adapter.
    """
    files = sorted((folder / ADAPTERS).glob(f"*{ENDING}"))
    return {adapter(file.name.removesuffix(ENDING)): file for file in files}
