"""Checks a language model's folder and lays it out for serving; imported in the sandbox only."""

from importlib.metadata import version
from pathlib import Path
from typing import Final

import onnx
from onnx import external_data_helper

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.ext.formats import genai
from modelworks.ext.formats.language import (
    ADAPTERS,
    SIGNATURE,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    Facts,
    copied,
)
from modelworks.plugins.load import load

_DOMAINS: Final = frozenset({"", "ai.onnx", "com.microsoft"})
_TAKEN: Final = (genai.CONFIG, TOKENIZER)
_ALSO: Final = (TOKENIZER_CONFIG, TEMPLATE, "special_tokens_map.json")
_MOST_PARTS: Final = 64


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check and copy; see `core.seams.Importer.read`."""
    if options.sample is not None:
        raise InvalidError("a language model takes texts of any kind: leave the sample out")
    load("engines", "genai")  # first: a library that is missing is named with its cure
    facts = genai.read(path)
    parts = _parts(path, facts.decoder)
    for name in (*_TAKEN, facts.decoder, *parts):
        copied(path, into, name)
    for name in _ALSO:
        if (path / name).is_file():
            copied(path, into, name)
    for name, file in facts.adapters.items():
        (into / ADAPTERS).mkdir(exist_ok=True)
        copied(path, into, f"{ADAPTERS}/{name}{genai.ENDING}")
        if file.stat().st_size == 0:
            raise InvalidError(f"adapter '{name}' is empty", field="file")
    return Imported(
        format="genai",
        source_format="genai",
        signature=SIGNATURE,
        predict=None,
        environment={"onnxruntime-genai": version("onnxruntime-genai")},
        notes=_notes(path, facts),
        kind="network",
    )


def _parts(path: Path, decoder: str) -> tuple[str, ...]:
    """Files beside the decoder that hold its weights."""
    try:
        model = onnx.load(str(path / decoder), load_external_data=False)
    except Exception as error:  # protobuf's own, which differ from version to version
        raise InvalidError(f"{decoder} is no ONNX file, or cut short", field="file") from error
    foreign = sorted({each.domain for each in model.opset_import} - _DOMAINS)
    if foreign:
        raise UnsupportedError(
            f"{decoder} has operators of '{foreign[0][:60]}', which come with libraries of code",
            field="file",
        )
    found: dict[str, int] = {}
    for tensor in external_data_helper._get_all_tensors(model):  # noqa: SLF001 - there is no other
        if not external_data_helper.uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        if not name or Path(name).name != name or not (path / name).is_file():
            raise InvalidError(
                f"{decoder}: the weights' file '{name[:60]}' is not in the folder", field="file"
            )
        end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
        found[name] = max(found.get(name, 0), end)
    for name, end in found.items():
        if (path / name).stat().st_size < end:
            raise InvalidError(f"{name} is cut short", field="file")
    if len(found) > _MOST_PARTS:
        raise InvalidError(f"{decoder}: more than {_MOST_PARTS} files of weights", field="file")
    return tuple(sorted(found))


def _notes(path: Path, facts: Facts) -> tuple[str, ...]:
    kept = f"{facts.token_bytes} bytes are kept of each"
    notes = [f"a decoder ({facts.kind}) with a context of {facts.context} tokens; {kept}"]
    if facts.adapters:
        notes.append(f"adapters: {', '.join(facts.adapters)}")
    if not facts.template:
        notes.append("no chat template: conversations are written a line a message")
    left = sorted(
        file.name
        for file in path.iterdir()
        if file.name not in {*_TAKEN, *_ALSO, facts.decoder, ADAPTERS}
        and not file.name.startswith(facts.decoder)
    )
    if left:
        notes.append(f"left out: {', '.join(left[:8])}")
    return tuple(notes)
