"""The folder of a decoder as Hugging Face's transformers save it: what it says, and may say.

Weights are safetensors, which hold data alone. A configuration may name code of its own to be
loaded (`auto_map`): it is refused, and never run.
"""

from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.ext.formats import lora
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

CONFIG: Final = "config.json"
GENERATION: Final = "generation_config.json"
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
INDEX: Final = "model.safetensors.index.json"
WEIGHTS: Final = "model.safetensors"
RANKS: Final = (8, 16, 32, 64, 128, 256)
"""Of adapters, as they are served."""
_DECODER: Final = "ForCausalLM"


def looks_like_one(folder: Path) -> bool:
    """Whether a folder may be one: a decoder by its configuration, weights and a tokenizer."""
    try:
        data = json_of(folder / CONFIG)
        kinds = data.get("architectures")
        decoder = isinstance(kinds, list) and any(str(kind).endswith(_DECODER) for kind in kinds)
        weights = (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()
    except (InvalidError, OSError):
        return False
    return decoder and weights and (folder / TOKENIZER).is_file()


def read(folder: Path) -> Facts:
    """Read and judge.

    Raises:
        InvalidError: it is no such folder, or is damaged.
        RefusedError: it asks for what a model may not have.
        UnsupportedError: it is of a kind that is not served here.
    """
    data = json_of(folder / CONFIG)
    kinds = data.get("architectures")
    kind = str(kinds[0])[:NAME] if isinstance(kinds, list) and kinds else ""
    if not kind.endswith(_DECODER):
        raise UnsupportedError(
            f"{CONFIG}: '{kind}' is no decoder of text ({_DECODER})", field="architectures"
        )
    _judge(data)
    if not (folder / TOKENIZER).is_file():
        raise InvalidError(f"no {TOKENIZER}: save the tokenizer as a fast one", field="file")
    weights = weights_of(folder)
    said = json_of(folder / TOKENIZER_CONFIG, wanted=False)
    generation = json_of(folder / GENERATION, wanted=False)
    ends = generation.get("eos_token_id")
    ends = data.get("eos_token_id") if ends is None else ends
    begin = data.get("bos_token_id")
    heads = count_of(data, "num_attention_heads", CONFIG)
    size = max(1, count_of(data, "hidden_size", CONFIG) // heads)
    if data.get("head_dim") is not None:
        size = count_of(data, "head_dim", CONFIG)
    kept = heads
    if data.get("num_key_value_heads") is not None:
        kept = count_of(data, "num_key_value_heads", CONFIG)
    return Facts(
        context=count_of(data, "max_position_embeddings", CONFIG),
        ends=tokens_of(ends, CONFIG, "eos_token_id"),
        begin=begin if type(begin) is int else -1,
        decoder="",
        kind=kind.removesuffix(_DECODER).lower(),
        adapters=_adapters(folder, weights),
        template=template_of(folder, said),
        marks={key: mark_of(said.get(key)) for key in ("bos_token", "eos_token")},
        token_bytes=2 * 4 * count_of(data, "num_hidden_layers", CONFIG) * kept * size,
    )


def weights_of(folder: Path) -> tuple[str, ...]:
    """Names of the files with the weights, the index among them.

    Raises:
        InvalidError: one is missing, or lies elsewhere.
    """
    if not (folder / INDEX).is_file():
        if not (folder / WEIGHTS).is_file():
            raise InvalidError(
                f"no {WEIGHTS}: weights are taken as safetensors alone (save_pretrained writes "
                "them)",
                field="file",
            )
        return (WEIGHTS,)
    places = json_of(folder / INDEX).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise InvalidError(f"{INDEX}: no file '{name[:NAME]}' in the folder", field="file")
    if not names:
        raise InvalidError(f"{INDEX} names no files", field="weight_map")
    return (INDEX, *names)


def _judge(data: dict[str, Any]) -> None:
    if "auto_map" in data:
        raise RefusedError(
            f"{CONFIG}: 'auto_map' loads code of the model's own, which is not run here",
            field="auto_map",
        )
    for key in ("vision_config", "audio_config", "text_config"):
        if key in data:
            raise UnsupportedError(f"{CONFIG}: '{key}': models of text alone are served", field=key)


def _adapters(folder: Path, weights: tuple[str, ...]) -> dict[str, Path]:
    home = folder / ADAPTERS
    files = sorted(home.iterdir()) if home.is_dir() else []
    base: dict[str, tuple[int, ...]] = {}
    for name in weights if files else ():
        if name != INDEX:
            base |= lora.shapes_of(folder / name)
    found = {}
    for file in files:
        if not (file / ADAPTER_CONFIG).is_file() or not (file / ADAPTER_WEIGHTS).is_file():
            raise InvalidError(
                f"{ADAPTERS}/{file.name[:NAME]} has no {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}",
                field=ADAPTERS,
            )
        name = adapter(file.name)
        lora.judge(name, file / ADAPTER_WEIGHTS, rank_of(file), base)
        found[name] = file
    return found


def rank_of(folder: Path) -> int:
    """Of an adapter.

    Raises:
        InvalidError: its configuration says none.
        UnsupportedError: it is too high.
    """
    found = count_of(json_of(folder / ADAPTER_CONFIG), "r", ADAPTER_CONFIG)
    if found > RANKS[-1]:
        raise UnsupportedError(
            f"{ADAPTER_CONFIG}: r is {found}, and at most {RANKS[-1]} is served", field="r"
        )
    return found
