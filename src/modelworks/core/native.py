"""A model that is served by its own framework, as it is: what its artifact's `native.json` says.

Nothing that can run code runs in the server's process, and nothing runs it at all without the
owner's recorded word: an artifact of the format `native` is opened by a `Loader` plug-in in a
process of its own, and only where the version carries the evidence `trust`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Signature

NATIVE = "native"
"""The artifact's format."""

_FILE = "native.json"


@dataclass(frozen=True, slots=True)
class NativeModel:
    """How to open it.

    Attributes:
        loader: entry-point name in `modelworks.loaders`.
        source: file or folder with the model, relative to the artifact's folder.
        signature: what it takes and gives.
        requirements: pinned requirement lines of the environment it needs; empty = the one that
            Modelworks runs in.
        settings: the loader's own.
    """

    loader: str
    source: str
    signature: Signature
    requirements: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


def write_native(folder: Path, model: NativeModel) -> None:
    """Write `native.json` into an artifact's folder."""
    (folder / _FILE).write_text(json.dumps(codec.encode(model), indent=1) + "\n")


def read_native(folder: Path) -> NativeModel:
    """What an artifact's `native.json` says.

    Raises:
        InvalidError: there is none, it is none, or its source lies outside the folder.
    """
    try:
        data = json.loads((folder / _FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidError(f"{_FILE} of a native model cannot be read: {error}") from error
    model = codec.decode(NativeModel, data)
    source = (folder / model.source).resolve()
    if not source.is_relative_to(folder.resolve()) or not source.exists():
        raise InvalidError(f"{_FILE}: source '{model.source}' is not in the artifact")
    return model
