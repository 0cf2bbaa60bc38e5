"""The tokenizer as transformers itself would run it, written down for the server."""

import json
import warnings
from pathlib import Path
from typing import Any

import transformers

from modelworks.ext.importers.huggingface import processors
from modelworks.ext.importers.huggingface.processors import Found
from modelworks.ext.importers.huggingface.snapshot import Snapshot, read_json

_TEXTS = ("Hello, World!", "naïve café 日本", "a  b\tc", "[MASK] x", "", "don't 3.14")
_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")


def tokenizer(snapshot: Snapshot, into: Path, inputs: tuple[str, ...]) -> Found:
    """The step `tokenize`; where the folder's file and transformers differ, transformers counts."""
    if "input_ids" not in inputs:
        return Found()
    own = snapshot.folder / "tokenizer.json"
    backend = _backend(snapshot)
    notes: tuple[str, ...] = ()
    text = own.read_text() if own.is_file() else ""
    if backend is not None and (not text or _differs(own, backend)):
        text = backend.to_str()
        notes = (f"the tokenizer is as transformers {transformers.__version__} makes it",)
    if text and snapshot.json("sentence_bert_config.json").get("do_lower_case"):
        text = _lowered(json.loads(text))
        notes = (*notes, "texts are lower-cased first, as sentence_bert_config.json says")
    found = processors.tokenizer(snapshot, into, inputs, text)
    return Found(found.steps, (*found.notes, *notes))


def _backend(snapshot: Snapshot) -> Any:
    """The fast tokenizer that transformers makes of the folder; None where it makes none."""
    if not any((snapshot.folder / name).is_file() for name in _FILES):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = transformers.AutoTokenizer.from_pretrained(
                str(snapshot.folder), local_files_only=True, trust_remote_code=False
            )
    except Exception:  # noqa: BLE001 - tokenizers without a fast form, or of the folder's own code
        return None
    backend = getattr(made, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
    return backend


def _differs(file: Path, backend: Any) -> bool:
    from tokenizers import Tokenizer  # noqa: PLC0415 - comes with transformers

    read_json(file)  # bounded, and JSON
    try:
        own = Tokenizer.from_file(str(file))
        own.no_padding()
        own.no_truncation()
        return any(own.encode(text).ids != backend.encode(text).ids for text in _TEXTS)
    except Exception:  # noqa: BLE001 - what cannot be read here is not what transformers runs
        return True


def _lowered(data: dict[str, Any]) -> str:
    first = {"type": "Lowercase"}
    then = data.get("normalizer")
    both = [first, then] if then else [first]
    return json.dumps({**data, "normalizer": {"type": "Sequence", "normalizers": both}})
