"""The verdict on a Keras or TensorFlow file, before anything of TensorFlow is imported."""

from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.scans import Danger, Finding, Scan
from modelworks.ext.importers.keras import archive, config, graph, hdf5
from modelworks.ext.importers.keras.files import Format, recognise

_WORST = {Danger.CLEAN: 0, Danger.UNKNOWN: 1, Danger.DANGEROUS: 2}
_NATIVE = "--trust opens it in the sandbox"
_NO_CODE = "nothing of it was executed"


@dataclass(frozen=True, slots=True)
class Looked:
    """A file as it says itself to be.

    Attributes:
        format: of it.
        scan: admitted.
        writer: library -> version, of what wrote it.
        config: of a Keras model; None for a SavedModel.
        signatures: of a SavedModel.
    """

    format: Format
    scan: Scan
    writer: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    signatures: tuple[str, ...] = ()


def look(path: Path, *, trust: bool) -> Looked:
    """Look through a file and decide whether it may be opened.

    Args:
        path: file or folder.
        trust: the owner vouches for it: what no list knows may be opened.

    Raises:
        InvalidError: damaged, empty, or no whole model.
        RefusedError: it names what is dangerous, or what is unknown without trust.
        UnsupportedError: a form of it that is not read.
    """
    if not path.exists():
        raise InvalidError(f"{path.name}: no such file", field="file")
    found = recognise(path)
    if found is None:
        raise InvalidError(
            f"{path.name}: no Keras archive, no HDF5 file of Keras, and no SavedModel folder",
            field="file",
        )
    kind = found[0]
    if kind is Format.SAVED_MODEL:
        return _saved_model(path, trust=trust)
    if kind is Format.ARCHIVE:
        text, facts = archive.config_of(path)
        whole = config.parse(text, f"{path.name}/config.json")
        named = config.names(whole, path.name)
        writer = {"keras": facts.get("keras_version", "unknown")}
    else:
        attributes = hdf5.attributes(path, path.name)
        if "model_config" not in attributes:
            raise InvalidError(
                f"{path.name}: holds weights without a model; save all of it by model.save(...)",
                field="file",
            )
        whole = config.parse(attributes["model_config"], f"{path.name}/model_config")
        named = config.names(whole, path.name)
        if "training_config" in attributes:
            training = config.parse(attributes["training_config"], f"{path.name}/training_config")
            named += config.names(training, path.name)
        writer = {"keras": attributes.get("keras_version", "unknown")}
    return Looked(kind, _admit(path.name, named, trust=trust), writer, whole)


def _saved_model(path: Path, *, trust: bool) -> Looked:
    if not (path / graph.FILE).exists():
        raise UnsupportedError(
            f"{path.name}: only a SavedModel with {graph.FILE} is read; write it by "
            "tf.saved_model.save or model.export"
        )
    facts, findings = graph.look(path)
    named = [config.Named(finding, "graph") for finding in findings]
    scan = _admit(path.name, named, trust=trust)
    return Looked(Format.SAVED_MODEL, scan, {"tensorflow": facts.version}, None, facts.signatures)


def _admit(file: str, named: list[config.Named], *, trust: bool) -> Scan:
    """The scan, marked as opened where the owner's word was needed.

    Raises:
        RefusedError: the worst name, where it stands, and the cure.
    """
    merged: dict[str, Finding] = {}
    places: dict[str, str] = {}
    for finding, path in named:
        if finding.name not in merged:
            merged[finding.name], places[finding.name] = finding, path
    findings = tuple(merged.values())
    worst = max((f.danger for f in findings), key=_WORST.__getitem__, default=Danger.CLEAN)
    scan = Scan(worst, findings, "", {"modelworks": _version()})
    if worst is Danger.CLEAN:
        return scan
    first = scan.of(worst)[0]
    what = f"{file}: {first.name} in '{places[first.name] or 'the model'}'"
    if worst is Danger.DANGEROUS:
        raise RefusedError(
            f"{what} {first.reason}: refused, {_NO_CODE}, and --trust does not open it",
            field="file",
        )
    if not trust:
        why = first.reason or "is on no list of what Keras brings itself"
        raise RefusedError(
            f"{what} {why}: refused, {_NO_CODE}; if you vouch for the file, {_NATIVE}, or write it "
            "as a SavedModel (model.export), which holds no Python",
            field="file",
        )
    return replace(scan, opened=True)


def _version() -> str:
    try:
        return version("modelworks")
    except PackageNotFoundError:
        return "unknown"
