"""Reads the modules of a sentence-transformers pipeline that come after the model."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.ext.importers.huggingface.snapshot import Snapshot, read_json
from modelworks.ext.importers.huggingface.wrap import POOLINGS, Head, Sentence
from modelworks.ext.importers.torch.container import check_safetensors

_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
_ACTIVATIONS: dict[str, type[torch.nn.Module]] = {
    "Tanh": torch.nn.Tanh,
    "ReLU": torch.nn.ReLU,
    "GELU": torch.nn.GELU,
    "Sigmoid": torch.nn.Sigmoid,
    "Identity": torch.nn.Identity,
}


def head(snapshot: Snapshot) -> Head:
    """What the pipeline makes of the tokens' vectors.

    Raises:
        UnsupportedError: a module that is not known.
        InvalidError: a module's folder is damaged.
    """
    poolings: tuple[str, ...] = ()
    layers: list[torch.nn.Module] = []
    normalize = False
    for module in snapshot.modules:
        kind, folder = module["kind"], module["folder"]
        if normalize or (kind != "Pooling" and not poolings):
            raise UnsupportedError(f"a {kind} at this place of the pipeline is not known")
        if kind == "Pooling":
            poolings = _poolings(folder)
        elif kind == "Dense":
            layers.append(_dense(folder))
        elif kind == "Normalize":
            normalize = True
        else:
            raise UnsupportedError(f"the pipeline's module {kind} is not known")
    if not poolings:
        raise UnsupportedError("the pipeline has no Pooling: its outputs are no embeddings")
    told = f"{' and '.join(poolings)} pooling"
    if layers:
        told += f", {len(layers)} dense layers"
    if normalize:
        told += ", length one"
    note = f"one vector a text ({told}), all of it in the graph"
    return Head(Sentence(poolings, layers, normalize=normalize), note=note)


def _poolings(folder: Path) -> tuple[str, ...]:
    config = _config(folder)
    named = config.get("pooling_mode")
    if named is not None:
        modes = tuple(named) if isinstance(named, list) else (str(named),)
    else:
        on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
        modes = tuple(_MODES.get(key, key) for key in sorted(on, key=_place))
    strange = [mode for mode in modes if mode not in POOLINGS]
    if strange or not modes:
        raise UnsupportedError(f"the pooling {strange[0] if strange else ''} is not known")
    return modes


def _place(key: str) -> int:
    """Several poolings are joined in this order, whatever the file's."""
    return list(_MODES).index(key) if key in _MODES else len(_MODES)


def _dense(folder: Path) -> torch.nn.Module:
    config = _config(folder)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise UnsupportedError(
            "a dense layer's weights are wanted as model.safetensors: save the pipeline again with "
            "a present sentence-transformers"
        )
    check_safetensors(file)
    name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if name not in _ACTIVATIONS:
        raise UnsupportedError(f"the dense layer's activation {name} is not known")
    weights = load_file(file)
    matrix = weights.get("linear.weight")
    if matrix is None or matrix.ndim != 2:
        raise InvalidError(f"{folder.name}: no linear.weight", field="file")
    layer = torch.nn.Linear(matrix.shape[1], matrix.shape[0], bias="linear.bias" in weights)
    layer.load_state_dict({key.removeprefix("linear."): value for key, value in weights.items()})
    return torch.nn.Sequential(layer, _ACTIVATIONS[name]())


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise InvalidError(f"modules.json names {folder.name}, which has no config.json")
    return read_json(file)
