"""What lies in a snapshot's folder: its configurations and its weights, checked before any use."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from modelworks.core.errors import InvalidError, RefusedError

_LARGEST = 16 << 20
_INDEX = ".index.json"


class Weights(StrEnum):
    """Of a snapshot."""

    ONNX = "huggingface-onnx"
    SAFETENSORS = "huggingface-safetensors"
    PICKLE = "huggingface-pickle"


_PLACES = {
    Weights.SAFETENSORS: ("model.safetensors",),
    Weights.ONNX: ("model.onnx", "onnx/model.onnx"),
    Weights.PICKLE: ("pytorch_model.bin",),
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A folder that was looked into.

    Attributes:
        folder: of the model's own files: config, weights, tokenizer.
        root: that was imported; another one where the model is a part of a pipeline.
        config: `config.json`.
        weights: their kind.
        files: of the weights.
        modules: of sentence-transformers, after the model itself; empty without.
        own_code: `auto_map` of the configuration: Python files that transformers would run.
    """

    folder: Path
    root: Path
    config: dict[str, Any]
    weights: Weights
    files: tuple[Path, ...]
    modules: tuple[dict[str, Any], ...] = ()
    own_code: tuple[str, ...] = ()

    def json(self, name: str) -> dict[str, Any]:
        """A configuration beside the model's; empty where it is not there."""
        path = self.folder / name
        return read_json(path) if path.is_file() else {}

    @property
    def architecture(self) -> str:
        """The class of transformers that the weights are of; "" where it is not said."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs; empty where the configuration names none."""
        labels = self.config.get("id2label")
        if not isinstance(labels, dict):
            return ()
        try:
            places = {int(place): str(label) for place, label in labels.items()}
        except ValueError:
            return ()
        if sorted(places) != list(range(len(places))):
            return ()
        return tuple(places[place] for place in range(len(places)))


def read_json(path: Path) -> dict[str, Any]:
    """A configuration.

    Raises:
        InvalidError: too large, no JSON, or no object.
    """
    if path.stat().st_size > _LARGEST:
        raise InvalidError(f"{path.name}: larger than 16 MiB", field="file")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{path.name} is no JSON: {error}"[:300], field="file") from error
    if not isinstance(data, dict):
        raise InvalidError(f"{path.name}: an object is wanted", field="file")
    return data


def look(path: Path) -> Snapshot | None:
    """What the folder holds; None where it is no snapshot.

    Raises:
        InvalidError: its configuration cannot be read.
        RefusedError: it names files outside of the folder.
    """
    if not path.is_dir():
        return None
    folder, modules = _sentence(path)
    if not (folder / "config.json").is_file():
        return None
    config = read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str) and not config.get("architectures"):
        return None
    for kind, places in _ordered(modules):
        files = _files(folder, kind, places)
        if files:
            auto = config.get("auto_map")
            code = tuple(str(v) for v in auto.values()) if isinstance(auto, dict) else ()
            return Snapshot(folder, path, config, kind, files, modules, code)
    return None


def open_snapshot(path: Path) -> Snapshot:
    """The same for a folder that must be one.

    Raises:
        InvalidError: it is none.
        RefusedError: it names files outside of the folder.
    """
    found = look(path)
    if found is None:
        raise InvalidError(
            f"{path.name}: a folder with config.json and model.onnx or model.safetensors is wanted",
            field="file",
        )
    return found


def _ordered(modules: tuple[dict[str, Any], ...]) -> list[tuple[Weights, tuple[str, ...]]]:
    """A finished ONNX file first; of a pipeline it would be a part only."""
    kinds = [Weights.ONNX, Weights.SAFETENSORS, Weights.PICKLE]
    if modules:
        kinds = [Weights.SAFETENSORS, Weights.PICKLE, Weights.ONNX]
    return [(kind, _PLACES[kind]) for kind in kinds]


def _files(folder: Path, kind: Weights, places: tuple[str, ...]) -> tuple[Path, ...]:
    for place in places:
        file = folder / place
        if file.is_file():
            return (file,)
        index = folder / f"{place}{_INDEX}"
        if kind is not Weights.ONNX and index.is_file():
            return _shards(folder, index)
    return ()


def _shards(folder: Path, index: Path) -> tuple[Path, ...]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise InvalidError(f"{index.name}: a weight_map is wanted", field="file")
    files = []
    for name in sorted({str(name) for name in names.values()}):
        files.append(inside(folder, name, index.name))
        if not files[-1].is_file():
            raise InvalidError(f"{index.name}: its part '{name}' is missing", field="file")
    return tuple(files)


def inside(folder: Path, name: str, where: str) -> Path:
    """A file or folder that a configuration names.

    Raises:
        RefusedError: it leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise RefusedError(
            f"{where}: '{name[:80]}' lies outside of the model's folder", field="file"
        )
    return folder / path


def _sentence(path: Path) -> tuple[Path, tuple[dict[str, Any], ...]]:
    """The model's folder, and the modules after it, of a sentence-transformers pipeline."""
    file = path / "modules.json"
    if not file.is_file():
        return path, ()
    if file.stat().st_size > _LARGEST:
        raise InvalidError("modules.json: larger than 16 MiB", field="file")
    try:
        listed = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"modules.json is no JSON: {error}"[:300], field="file") from error
    if not isinstance(listed, list) or not all(isinstance(m, dict) for m in listed) or not listed:
        raise InvalidError("modules.json: a list of modules is wanted", field="file")
    modules: list[dict[str, Any]] = []
    for module in listed:
        place = inside(path, str(module.get("path", "")), "modules.json")
        modules.append({"kind": str(module.get("type", "")).rpartition(".")[2], "folder": place})
    if modules[0]["kind"] != "Transformer":
        raise InvalidError(
            f"modules.json begins with a {modules[0]['kind']}: a Transformer is wanted",
            field="file",
        )
    return modules[0]["folder"], tuple(modules[1:])
