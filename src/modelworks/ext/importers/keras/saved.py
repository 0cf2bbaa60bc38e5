"""Loads a SavedModel: the signature that is served, as a function."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.tensor import Role
from modelworks.ext.importers.keras.framework import tf
from modelworks.ext.importers.keras.source import Port, Source, plain, port
from modelworks.ext.importers.reasons import reason

_SERVING = "serving_default"


def load(path: Path) -> Source:
    """A SavedModel folder.

    Raises:
        InvalidError: TensorFlow cannot load it, or nothing in it can be served.
        UnsupportedError: inputs or outputs that are not served.
    """
    try:
        loaded = tf.saved_model.load(str(path), tags=["serve"])
    except (ModelworksError, MemoryError):
        raise
    except Exception as error:
        raise InvalidError(
            f"{path.name}: TensorFlow {tf.__version__} cannot load it ({reason(error)})",
            field="file",
        ) from error
    keys = [key for key in getattr(loaded, "signatures", {}) if not key.startswith("__")]
    if not keys:
        raise InvalidError(
            f"{path.name}: no signature to serve; write it by model.export(folder), or "
            "tf.saved_model.save(model, folder, signatures=...)",
            field="file",
        )
    key = _SERVING if _SERVING in keys else keys[0]
    function = loaded.signatures[key]
    # Sorted, for the file keeps them in no order that would be the same twice.
    given = dict(sorted(function.structured_input_signature[1].items(), key=_natural))
    if not given:
        raise UnsupportedError(f"{path.name}: the signature '{key}' takes no input")
    found = dict(sorted(function.structured_outputs.items(), key=_natural))
    names = plain(list(given), "input")
    inputs = tuple(port(i, n, s) for (i, s), n in zip(given.items(), names, strict=True))
    outputs = tuple(port(i, i, s, Role.SCORE) for i, s in found.items())
    notes = []
    if len(keys) > 1:
        others = ", ".join(sorted(set(keys) - {key})[:5])
        notes.append(f"The signature '{key}' is served; there are {others} too.")
    return Source(
        inputs,
        _named(outputs),
        lambda **tensors: dict(function(**tensors)),
        key,
        None,
        notes=tuple(notes),
        network=loaded,
    )


def _natural(item: tuple[str, Any]) -> list[str]:
    """`output_2` before `output_10`."""
    return [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", item[0])]


def _named(outputs: tuple[Port, ...]) -> tuple[Port, ...]:
    """A single `output_0` is called `output`."""
    if len(outputs) == 1 and outputs[0].inside in {"output_0", "output_1"}:
        return (Port(outputs[0].inside, replace(outputs[0].spec, name="output")),)
    return outputs
