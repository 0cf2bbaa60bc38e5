"""The folder of a model for onnxruntime-genai: what its `genai_config.json` says, and may say.

The folder comes from anywhere. Its configuration can name libraries to load, files elsewhere and
devices: what is not known to be data is refused. Chat templates are programs of a small language;
they are run by Jinja's sandbox, in the model's own process.
"""

from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.ext.formats.language import (
    ADAPTERS,
    NAME,
    TOKENIZER,
    TOKENIZER_CONFIG,
    Facts,
    adapter,
    count_of,
    json_of,
    mark_of,
    template_of,
    tokens_of,
)

CONFIG: Final = "genai_config.json"
ENDING: Final = ".onnx_adapter"
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


def read(folder: Path) -> Facts:
    """Read and judge.

    Raises:
        InvalidError: it is no such folder, or is damaged.
        RefusedError: it asks for what a model may not have.
        UnsupportedError: it is of a kind that is not served here.
    """
    data = json_of(folder / CONFIG)
    model = data.get("model")
    decoder = model.get("decoder") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(decoder, dict):
        raise InvalidError(f"{CONFIG} describes no decoder", field="model.decoder")
    _judge(folder, model, decoder)
    if not (folder / TOKENIZER).is_file():
        raise InvalidError(f"no {TOKENIZER}: save the tokenizer as a fast one", field="file")
    said = json_of(folder / TOKENIZER_CONFIG, wanted=False)
    tokens = tokens_of(model.get("eos_token_id"), CONFIG, "model.eos_token_id")
    begin = model.get("bos_token_id")
    per_layer = count_of(decoder, "num_key_value_heads", CONFIG) * count_of(
        decoder, "head_size", CONFIG
    )
    return Facts(
        context=count_of(model, "context_length", CONFIG),
        ends=tokens,
        begin=begin if isinstance(begin, int) else -1,
        decoder=str(decoder["filename"]),
        kind=str(model.get("type", ""))[:NAME],
        adapters=_adapters(folder),
        template=template_of(folder, said),
        marks={key: mark_of(said.get(key)) for key in ("bos_token", "eos_token")},
        token_bytes=2 * 4 * count_of(decoder, "num_hidden_layers", CONFIG) * per_layer,
    )


def _judge(folder: Path, model: dict[str, Any], decoder: dict[str, Any]) -> None:
    others = sorted(
        key for key, value in model.items() if isinstance(value, dict) and key != "decoder"
    )
    if others:
        raise UnsupportedError(
            f"{CONFIG}: '{others[0][:NAME]}' beside the decoder: models of text alone are served",
            field=f"model.{others[0][:NAME]}",
        )
    unknown = sorted(decoder.keys() - _DECODER)
    if unknown:
        raise UnsupportedError(
            f"{CONFIG}: '{unknown[0][:NAME]}' of the decoder is not known here; decoders of one "
            "ONNX file are served",
            field=f"model.decoder.{unknown[0][:NAME]}",
        )
    name = decoder.get("filename")
    if not isinstance(name, str) or "/" in name or "\\" in name or not (folder / name).is_file():
        raise InvalidError(f"{CONFIG}: the decoder's file is missing", field="decoder.filename")
    settings = decoder.get("session_options", {})
    wrong = sorted(settings.keys() - _SETTINGS) if isinstance(settings, dict) else ["?"]
    if wrong:
        raise RefusedError(
            f"{CONFIG}: the session option '{wrong[0][:NAME]}' is not among those that are "
            "known to be harmless; leave it out",
            field=f"session_options.{wrong[0][:NAME]}",
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
        found[adapter(file.name.removesuffix(ENDING))] = file
    return found
