"""Checks a GGUF file and lays it out for serving; imported in the sandbox only."""

import re
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError, MissingExtraError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.ext.formats import gguf
from modelworks.ext.formats.language import ADAPTERS, SIGNATURE, copied
from modelworks.plugins.load import load

_PART: Final = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check and copy; see `core.seams.Importer.read`."""
    if options.sample is not None:
        raise InvalidError("a language model takes texts of any kind: leave the sample out")
    load("engines", "llamacpp")  # first: a library that is missing is named with its cure
    if find_spec("llama_cpp") is None:
        raise MissingExtraError("reading GGUF files", "llamacpp", "llama_cpp")
    from modelworks.ext.engines.language.llamacpp import library  # noqa: PLC0415 - it is there

    file = path / gguf.MODEL if path.is_dir() else path
    if _PART.search(file.name):
        raise _in_parts(file.name)
    adapters = gguf.adapters_of(path) if path.is_dir() else {}
    model = library.load(file, check=False, vocabulary=True)
    kind = library.told(model, "general.architecture")
    parts = library.told(model, "split.count")
    if parts not in {"", "0", "1"}:
        raise _in_parts(file.name)
    if path.is_dir():
        copied(path, into, gguf.MODEL)
    else:
        shutil.copyfile(file, into / gguf.MODEL)
    for name in adapters:
        (into / ADAPTERS).mkdir(exist_ok=True)
        copied(path, into, f"{ADAPTERS}/{name}{gguf.ENDING}")
    name = library.told(model, "general.name")[:80]
    notes = [f"a decoder ({kind}{f', {name}' if name else ''}); its texts are read by llama.cpp"]
    if adapters:
        notes.append(f"adapters: {', '.join(adapters)}")
    if not library.told(model, "tokenizer.chat_template"):
        notes.append("no chat template: conversations are written a line a message")
    return Imported(
        format="gguf",
        source_format="gguf",
        signature=SIGNATURE,
        predict=None,
        environment={"llama-cpp-python": version("llama-cpp-python")},
        notes=tuple(notes),
        kind="network",
    )


def _in_parts(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name} is one of several files: join them by `llama-gguf-split --merge`", field="file"
    )
