"""What a server needs, as files: models at fixed places, the list of them, and what is inside."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from modelworks.core import codec, digest
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.native import NATIVE
from modelworks.core.served import ServedList, ServedModel
from modelworks.packaging.oci.layer import Entry, tree
from modelworks.packaging.sbom import ModelPart

ROOT: Final = PurePosixPath("/opt/modelworks")
SERVED: Final = ROOT / "served.json"
"""The list that the server follows."""
BILL: Final = ROOT / "sbom.cdx.json"
"""The bill of materials."""
SITE: Final = ROOT / "site"
"""Where Python finds what it imports."""


def place(model: ServedModel) -> PurePosixPath:
    """Where a version lies."""
    return ROOT / "models" / model.name / model.version


def check(models: Sequence[ServedModel]) -> None:
    """Refuse what no image can serve.

    Raises:
        UnsupportedError: a native model: its framework is not in the image.
        InvalidError: none, nothing lies at the path of one, or two versions are one.
    """
    if not models:
        raise InvalidError("an image serves one model at least", field="model")
    seen: set[PurePosixPath] = set()
    for model in models:
        if model.format == NATIVE:
            raise UnsupportedError(
                f"{model.name}:{model.version} runs with its own framework, which no image has "
                "yet: import it without --runtime native, or deploy it to the local target",
                field="model",
            )
        if place(model) in seen:
            raise InvalidError(f"{model.name}:{model.version} is listed twice")
        seen.add(place(model))
        if not Path(model.path).exists():
            raise InvalidError(f"{model.name}:{model.version}: nothing lies at {model.path}")


def model_entries(model: ServedModel) -> Iterator[Entry]:
    """The files of a version."""
    at, path = place(model), Path(model.path)
    if path.is_dir():
        yield from tree(path, str(at))
    else:
        yield Entry(str(at / path.name), path)


def list_entry(models: Sequence[ServedModel]) -> Entry:
    """The served list, with paths as they are inside."""
    inside = tuple(replace(model, path=str(_inside(model)), interpreter="") for model in models)
    data = json.dumps(codec.encode(ServedList(1, inside)), indent=1, sort_keys=True)
    return Entry(str(SERVED), data=data.encode())


def parts(models: Sequence[ServedModel]) -> tuple[ModelPart, ...]:
    """The same for the bill."""
    return tuple(
        ModelPart(model.name, model.version, model.digest, tuple(digest.tree(Path(model.path))))
        for model in models
    )


def _inside(model: ServedModel) -> PurePosixPath:
    path = Path(model.path)
    return place(model) if path.is_dir() else place(model) / path.name
