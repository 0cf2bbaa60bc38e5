"""What the model inside gets of what callers send: its steps run once, in a child."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.seams import EngineOptions, Session
from modelworks.core.stepped import read_stepped
from modelworks.core.steps import InputSteps, Side
from modelworks.core.tensor import Signature, Tensors
from modelworks.optimize import arrays
from modelworks.optimize.calls import in_child
from modelworks.plugins.opening import open_model

_MADE: Final = "inner.npz"
_SECONDS: Final = 300.0
_IMAGES: Final = 64
_MOST: Final = 4096


def inner(tensors: Tensors, source: Path, file: Path) -> int:
    """Run the steps of an artifact on rows, and write the model's own inputs.

    Args:
        tensors: what callers send.
        source: folder of the artifact.
        file: npz to be written.

    Returns:
        Rows.

    Raises:
        InvalidError: a value that a step cannot read.
        MissingExtraError: a step's library is not there.
    """
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        given = Path(folder) / "outer.npz"
        arrays.save(given, tensors)
        arguments = {"rows": str(given.resolve()), "source": str(source.resolve())}
        call = f"{__name__}:run"
        told = in_child(
            call, arguments, Path(folder), reads=(given, source), seconds=_SECONDS, threads=1
        )
        (Path(folder) / _MADE).replace(file)
    return int(told["rows"])


def run(arguments: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """The sandboxed function."""
    source = Path(arguments["source"])
    stepped = read_stepped(source)
    if stepped is None:
        raise InvalidError("the artifact has no steps", field="source")
    inputs = arrays.load(Path(arguments["rows"]), stepped.outer.inputs)
    caught = _Catching(stepped.model)
    session = open_model(caught, source, EngineOptions(signature=stepped.outer))
    rows = min(len(array) for array in inputs.values())
    progress("running the steps")
    size = _rows_a_call(stepped.outer.steps)
    for start in range(0, rows, size):
        session.infer({name: array[start : start + size] for name, array in inputs.items()})
    session.close()
    fills = _fills(stepped.outer.steps)
    made = {
        spec.name: _joined([given[spec.name] for given in caught.given], fills.get(spec.name))
        for spec in stepped.model.inputs
    }
    arrays.save(Path(arguments["work"]) / _MADE, made)
    return {"rows": rows}


def _rows_a_call(steps: Sequence[InputSteps]) -> int:
    """Texts as many as a step takes at once; images fewer: they are large."""
    limits = [step.tokenize.max_rows for step in steps if step.tokenize is not None]
    if any(step.decode_image is not None for step in steps):
        limits.append(_IMAGES)
    return min(limits, default=_MOST)


def _fills(steps: Sequence[InputSteps]) -> dict[str, tuple[int, Side]]:
    """What fills up the rows of an input of the model, and on which side."""
    found = {}
    for step in steps:
        if (made := step.tokenize) is not None:
            for name, value in (
                (made.ids, made.pad_id),
                (made.mask, 0),
                (made.types, made.pad_type),
            ):
                found[name] = (value, made.side)
    return found


def _joined(parts: Sequence[Any], fill: tuple[int, Side] | None) -> Any:
    """Calls one after another; texts of each call were filled up to the longest of that call."""
    if fill is None:
        return np.concatenate(parts)
    value, side = fill
    longest = max(part.shape[1] for part in parts)
    spaces = [longest - part.shape[1] for part in parts]
    return np.concatenate(
        [
            np.pad(part, ((0, 0), (n, 0) if side is Side.LEFT else (0, n)), constant_values=value)
            for part, n in zip(parts, spaces, strict=True)
        ]
    )


class _Catching:
    """An engine, and the session that it loads, that only keeps what the model is given."""

    name: ClassVar[str] = "catching"
    formats: ClassVar[tuple[str, ...]] = ()
    experimental: ClassVar[bool] = False
    apart = False

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.given: list[dict[str, Any]] = []

    def load(self, path: Path, options: EngineOptions) -> Session:  # noqa: ARG002 - as an engine's
        """Itself."""
        return self

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Keep them."""
        self.given.append({name: np.array(array) for name, array in inputs.items()})
        return []

    def close(self) -> None:
        """Nothing to give back."""
