"""What an archive says of itself: `MAR-INF/MANIFEST.json` and the model's configuration."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.formats import plain_yaml
from modelworks.ext.importers.torchserve.archive import MANIFEST

DEFAULTS = frozenset(
    {"base_handler", "image_classifier", "image_segmenter", "object_detector", "text_classifier"}
)
"""Handlers that come with TorchServe and run on a CPU."""

_MODEL = {
    "modelName", "serializedFile", "handler", "modelFile", "modelVersion", "extensions",
    "requirementsFile", "configFile",
}  # fmt: skip
_TOP = {"createdOn", "runtime", "model", "archiverVersion"}
_LABELS = "index_to_name.json"
_MOST_BYTES, _LONGEST = 4 << 20, 200


@dataclass(frozen=True, slots=True)
class Manifest:
    """One archive.

    Attributes:
        folder: its files.
        model: name in TorchServe.
        version: the archiver's `--version`.
        handler: name of a default one, or `FILE.py`, or `FILE.py:FUNCTION`.
        serialized: the model file, where there is one.
        model_file: Python file with the class of an eager model.
        requirements: file of requirement lines.
        config: the model's YAML configuration.
        labels: class names by index, of `index_to_name.json`.
        origin: what it says of where it comes from.
        document: the manifest itself.
        unknown: fields that are not known here.
    """

    folder: Path
    model: str
    version: str
    handler: str
    serialized: Path | None
    model_file: Path | None
    requirements: Path | None
    config: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def custom(self) -> bool:
        """The handler is code in the archive."""
        return self.handler not in DEFAULTS

    @property
    def extra(self) -> tuple[str, ...]:
        """Files that no field names, besides the labels."""
        named = {self.serialized, self.model_file, self.requirements, self.folder / MANIFEST}
        names = {self.handler.partition(":")[0], f"{self.handler.partition(':')[0]}.py", _LABELS}
        config = self.document["model"].get("configFile")
        return tuple(
            sorted(
                str(path.relative_to(self.folder))
                for path in self.folder.rglob("*")
                if path.is_file() and path not in named and path.name not in names | {config}
            )
        )


def read(folder: Path) -> Manifest:
    """The manifest of an unpacked archive.

    Raises:
        InvalidError: it is none, or names files that are not there.
        RefusedError: for a server that runs no Python.
    """
    document = _json(folder / MANIFEST)
    model = document.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("handler"), str):
        raise _wrong("model", "an object with a handler is wanted", model)
    runtime = str(document.get("runtime", "python"))
    if not runtime.lower().startswith("python"):
        raise RefusedError(
            f"{MANIFEST}: the handler is compiled for the runtime {runtime[:40]}, which is not "
            "run here; import the model file of the archive itself",
            field="file",
        )
    config = _file(folder, model, "configFile")
    labels = folder / _LABELS
    return Manifest(
        folder=folder,
        model=str(model.get("modelName", ""))[:_LONGEST],
        version=str(model.get("modelVersion", ""))[:_LONGEST],
        handler=model["handler"],
        serialized=_file(folder, model, "serializedFile"),
        model_file=_file(folder, model, "modelFile"),
        requirements=_file(folder, model, "requirementsFile"),
        config=_config(config),
        labels=_labels(labels) if labels.is_file() else {},
        origin=_origin(document, model),
        document=document,
        unknown=tuple(
            sorted(
                [str(key)[:80] for key in document.keys() - _TOP]
                + [f"model.{key}"[:80] for key in model.keys() - _MODEL]
                + ["model.extensions"] * bool(model.get("extensions"))
            )
        ),
    )


def _origin(document: dict[str, Any], model: dict[str, Any]) -> dict[str, str]:
    facts = {
        "model": model.get("modelName"),
        "version": model.get("modelVersion"),
        "archiver_version": document.get("archiverVersion"),
        "created": document.get("createdOn"),
    }
    return {key: str(value)[:_LONGEST] for key, value in facts.items() if value}


def _file(folder: Path, model: dict[str, Any], key: str) -> Path | None:
    name = model.get(key)
    if not name:
        return None
    path = (folder / str(name)).resolve()
    if not isinstance(name, str) or not path.is_relative_to(folder.resolve()):
        raise _wrong(f"model.{key}", "a file of the archive is wanted", name)
    if not path.is_file():
        raise _wrong(f"model.{key}", "no such file in the archive", name)
    return folder / path.relative_to(folder.resolve())


def _config(path: Path | None) -> dict[str, Any]:
    data = plain_yaml.read(path) if path else {}
    if data is not None and not isinstance(data, dict):
        raise _wrong("model.configFile", "settings by name are wanted in it", data)
    return {str(key): value for key, value in (data or {}).items()}


def _labels(path: Path) -> dict[str, str]:
    """Index -> name; of a list of names for one class the last, as TorchServe reads it."""
    data = _json(path)
    listed = data.get("object_type_names")
    if isinstance(listed, list):
        data = {str(at): name for at, name in enumerate(listed)}
    found = {}
    for key, value in data.items():
        name = value[-1] if isinstance(value, list) and value else value
        if not isinstance(name, str):
            raise InvalidError(f"{path.name}: '{key[:40]}' has no name", field="file")
        found[key] = name[:_LONGEST]
    return found


def _json(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise InvalidError(f"{path.name}: {size} bytes, {_MOST_BYTES} are allowed", field="file")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{path.name}: no JSON ({str(error)[:120]})", field="file") from error
    if not isinstance(data, dict):
        raise InvalidError(f"{path.name}: an object is wanted", field="file")
    return data


def _wrong(where: str, wanted: str, got: object) -> InvalidError:
    shown = " ".join(repr(got)[:240].split())[:80]
    return InvalidError(f"{MANIFEST}: {where}: {wanted}, got {shown}", field="file")
