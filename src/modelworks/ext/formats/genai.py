"""The folder of a model for onnxruntime-genai: what its `genai_config.json` says, and may say.

The folder comes from anywhere. Its configuration can name libraries to load, files elsewhere and
devices: what is not known to be data is refused. Chat templates are programs of a small language;
they are run by Jinja's sandbox, in the model's own process.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.tensor import Datatype, Signature, TensorSpec

SIGNATURE: Final = Signature(
    (TensorSpec("text_input", Datatype.BYTES, (None,)),),
    (TensorSpec("text_output", Datatype.BYTES, (None,)),),
)
"""Of every one: texts, and how each goes on."""
CONFIG: Final = "genai_config.json"
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TEMPLATE: Final = "chat_template.jinja"
ADAPTERS: Final = "adapters"
ENDING: Final = ".onnx_adapter"
LONGEST_TEMPLATE: Final = 256 << 10
_LONGEST: Final = 4 << 20
_NAME: Final = 64
# Of `session_options`: what tunes, and neither loads a library nor writes a file.
_SETTINGS: Final = frozenset(
    {
        *("log_id", "log_severity_level", "provider_options", "intra_op_num_threads"),
        *("inter_op_num_threads", "enable_cpu_mem_arena", "enable_mem_pattern"),
        *("graph_optimization_level", "use_env_allocators"),
    }
)
_DECODER: Final = frozenset(
    {
        *("session_options", "filename", "head_size", "hidden_size", "inputs", "outputs"),
        *("num_attention_heads", "num_hidden_layers", "num_key_value_heads"),
    }
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model before it is loaded.

    Attributes:
        context: tokens that a prompt and its answer may have together.
        ends: tokens that end an answer.
        begin: token that a text begins with; -1 = none.
        decoder: name of its file.
        kind: of the model (`llama`).
        adapters: name -> file.
        template: how a conversation is written (Jinja); empty = the folder says nothing.
        marks: texts of special tokens that templates name: `bos_token`, `eos_token`.
        token_bytes: that the model keeps of one token (keys and values of every layer, as FP32).
    """

    context: int
    ends: tuple[int, ...]
    begin: int
    decoder: str
    kind: str
    adapters: dict[str, Path]
    template: str
    marks: dict[str, str]
    token_bytes: int


def read(folder: Path) -> Facts:
    """Read and judge.

    Raises:
        InvalidError: it is no such folder, or is damaged.
        RefusedError: it asks for what a model may not have.
        UnsupportedError: it is of a kind that is not served here.
    """
    data = _json(folder / CONFIG)
    model = data.get("model")
    decoder = model.get("decoder") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(decoder, dict):
        raise InvalidError(f"{CONFIG} describes no decoder", field="model.decoder")
    _judge(folder, model, decoder)
    if not (folder / TOKENIZER).is_file():
        raise InvalidError(f"no {TOKENIZER}: save the tokenizer as a fast one", field="file")
    said = _json(folder / TOKENIZER_CONFIG, wanted=False)
    ends = model.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [ends]
    tokens = tuple(end for end in listed if isinstance(end, int))
    if not tokens or len(tokens) != len(listed):
        raise InvalidError(f"{CONFIG}: eos_token_id names no token", field="model.eos_token_id")
    begin = model.get("bos_token_id")
    per_layer = _count(decoder, "num_key_value_heads") * _count(decoder, "head_size")
    return Facts(
        context=_count(model, "context_length"),
        ends=tokens,
        begin=begin if isinstance(begin, int) else -1,
        decoder=str(decoder["filename"]),
        kind=str(model.get("type", ""))[:_NAME],
        adapters=_adapters(folder),
        template=_template(folder, said),
        marks={key: _mark(said.get(key)) for key in ("bos_token", "eos_token")},
        token_bytes=2 * 4 * _count(decoder, "num_hidden_layers") * per_layer,
    )


def _judge(folder: Path, model: dict[str, Any], decoder: dict[str, Any]) -> None:
    others = sorted(
        key for key, value in model.items() if isinstance(value, dict) and key != "decoder"
    )
    if others:
        raise UnsupportedError(
            f"{CONFIG}: '{others[0][:_NAME]}' beside the decoder: models of text alone are served",
            field=f"model.{others[0][:_NAME]}",
        )
    unknown = sorted(decoder.keys() - _DECODER)
    if unknown:
        raise UnsupportedError(
            f"{CONFIG}: '{unknown[0][:_NAME]}' of the decoder is not known here; decoders of one "
            "ONNX file are served",
            field=f"model.decoder.{unknown[0][:_NAME]}",
        )
    name = decoder.get("filename")
    if not isinstance(name, str) or "/" in name or "\\" in name or not (folder / name).is_file():
        raise InvalidError(f"{CONFIG}: the decoder's file is missing", field="decoder.filename")
    settings = decoder.get("session_options", {})
    wrong = sorted(settings.keys() - _SETTINGS) if isinstance(settings, dict) else ["?"]
    if wrong:
        raise RefusedError(
            f"{CONFIG}: the session option '{wrong[0][:_NAME]}' is not among those that are "
            "known to be harmless; leave it out",
            field=f"session_options.{wrong[0][:_NAME]}",
        )
    providers = settings.get("provider_options", [])
    if type(providers) is not list or not all(type(each) is dict for each in providers):
        raise InvalidError(
            f"{CONFIG}: provider_options is no list of objects",
            field="session_options.provider_options",
        )
    if any(name != "cpu" for each in providers for name in each):
        raise UnsupportedError(
            f"{CONFIG}: the model was built for a device; build it for the CPU (`-e cpu`)",
            field="session_options.provider_options",
        )


def _adapters(folder: Path) -> dict[str, Path]:
    found = {}
    for file in sorted((folder / ADAPTERS).glob(f"*{ENDING}")):
        name = file.name.removesuffix(ENDING)
        if not name or len(name) > _NAME or not name.replace("-", "").replace("_", "").isalnum():
            raise InvalidError(
                f"adapter '{name[:_NAME]}': letters, digits, - and _ make a name", field=ADAPTERS
            )
        found[name] = file
    return found


def _template(folder: Path, said: dict[str, Any]) -> str:
    file = folder / TEMPLATE
    text = ""
    if file.is_file():
        if file.stat().st_size > LONGEST_TEMPLATE:
            raise InvalidError(f"{TEMPLATE} is longer than {LONGEST_TEMPLATE} bytes", field="file")
        try:
            text = file.read_text()
        except UnicodeError as error:
            raise InvalidError(f"{TEMPLATE} is no UTF-8", field="file") from error
    elif isinstance(said.get("chat_template"), str):
        text = said["chat_template"]
    if len(text) > LONGEST_TEMPLATE:
        raise InvalidError("the chat template is too long", field="chat_template")
    return text


def _mark(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _count(data: dict[str, Any], key: str) -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
        raise InvalidError(f"{CONFIG}: {key} is no count", field=key)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no key stands twice: the library would obey the one that we do not see."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _json(file: Path, *, wanted: bool = True) -> dict[str, Any]:
    if not file.is_file():
        if wanted:
            raise InvalidError(f"no {file.name} in the folder", field="path")
        return {}
    if file.stat().st_size > _LONGEST:
        raise InvalidError(f"{file.name} is longer than {_LONGEST} bytes", field="file")
    try:
        data = json.loads(file.read_bytes(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidError(
            f"{file.name} is no JSON, or has a key twice in an object", field="file"
        ) from error
    if not isinstance(data, dict):
        raise InvalidError(f"{file.name} is no JSON object", field="file")
    return data
