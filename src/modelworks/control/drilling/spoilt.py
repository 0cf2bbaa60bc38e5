"""A version with a fault in front of it, in the process of its own that a native model has.

The server knows nothing of faults: this is an ordinary Python model, whose `model.py` is one line
that imports `load` and `predict` from here. Beside it lie the version as it is, in `original`, and
`fault.json`. Which rows are spoilt is said by their digests, so that a batch of n equals n batches
of one, and the rows that the server makes up while it loads a model are never among them.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import CrashedError
from modelworks.core.native import NATIVE, read_native
from modelworks.core.seams import EngineOptions
from modelworks.core.served import ENGINES
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.plugins.load import load as plugin
from modelworks.plugins.opening import open_model

ORIGINAL: Final = "original"
FAULT: Final = "fault.json"


@dataclass(frozen=True, slots=True)
class Spoilt:
    """What is broken.

    Attributes:
        format: of the original.
        signature: of it.
        fault: `failing`, `wrong`, `slow`; empty = nothing is.
        delay_ms: of a slow one.
        rows: digests of the rows that are spoilt.
    """

    format: str
    signature: Signature
    fault: str = ""
    delay_ms: float = 0.0
    rows: tuple[str, ...] = ()


class Runs(Protocol):
    """The original: its inputs by name to its outputs by name."""

    def __call__(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once."""
        ...


@dataclass(frozen=True, slots=True)
class Broken:
    """The original and its fault."""

    run: Runs
    spoilt: Spoilt
    rows: frozenset[str]

    def answer(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """What it says; late, wrong, or not at all."""
        mask = [one in self.rows for one in digests(inputs, self.spoilt.signature)]
        fault = self.spoilt.fault if any(mask) else ""
        if fault == "failing":
            raise CrashedError("a fire drill: this candidate fails on purpose")
        if fault == "slow":
            time.sleep(self.spoilt.delay_ms / 1000)
        outputs = self.run(inputs)
        return (
            changed(outputs, np.array(mask), self.spoilt.signature) if fault == "wrong" else outputs
        )


def load(folder: Path) -> Broken:
    """Open what lies in a folder; see `modelworks.ext.importers.python`."""
    spoilt = codec.decode(Spoilt, json.loads((folder / FAULT).read_text()))
    return Broken(_opened(folder / ORIGINAL, spoilt), spoilt, frozenset(spoilt.rows))


def predict(model: Broken, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer a batch."""
    return model.answer(inputs)


def _opened(folder: Path, spoilt: Spoilt) -> Runs:
    if spoilt.format == NATIVE:  # it is in a process of its own already: this one
        model = read_native(folder)
        found: Runs = plugin("loaders", model.loader)().load(folder, model)
        return found
    engine = plugin("engines", ENGINES[spoilt.format])()
    session = open_model(engine, folder, EngineOptions(signature=spoilt.signature))
    names = [spec.name for spec in spoilt.signature.outputs]

    def run(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return dict(zip(names, session.infer(inputs), strict=True))

    return run


def digests(inputs: Mapping[str, Any], signature: Signature) -> list[str]:
    """One a row; of a model without a batch axis one for all."""
    arrays = [np.asarray(inputs[spec.name]) for spec in signature.inputs]
    if not signature.batch_axis:
        arrays = [array[None] for array in arrays]
    return [_digest([array[row] for array in arrays]) for row in range(len(arrays[0]))]


def _digest(parts: list[Any]) -> str:
    found = blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object:
            found.update(np.ascontiguousarray(part).tobytes())
            continue
        for item in np.asarray(part, object).reshape(-1):
            data = item.encode() if isinstance(item, str) else bytes(item)
            found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def changed(outputs: Mapping[str, Any], mask: Any, signature: Signature) -> dict[str, Any]:
    """The outputs with the masked rows made wrong: another label, other numbers."""
    said = [spec for spec in signature.outputs if spec.role in {Role.LABEL, Role.PROBABILITIES}]
    found = dict(outputs)
    where = mask if signature.batch_axis else slice(None)
    for spec in said or signature.outputs:
        array = np.array(outputs[spec.name])
        array[where] = _other(array[where], spec, signature)
        found[spec.name] = array
    return found


def _other(values: Any, spec: TensorSpec, signature: Signature) -> Any:
    if spec.role is Role.PROBABILITIES:
        several = values.ndim > 1 and values.shape[-1] > 1
        return np.roll(values, 1, axis=-1) if several else 1 - values
    if spec.role is Role.LABEL:
        labels = _labels(spec, signature)
        if labels:
            after = {one: labels[(place + 1) % len(labels)] for place, one in enumerate(labels)}
            flat = [after.get(_plain(one), labels[0]) for one in values.reshape(-1).tolist()]
            return np.array([*flat, None], object)[:-1].astype(values.dtype).reshape(values.shape)
    if spec.datatype is Datatype.BYTES:
        return np.full(values.shape, b"a fire drill", object)
    if values.dtype == bool:
        return ~values
    return values + (1 if values.dtype.kind in "iu" else 1 + abs(values))


def _labels(spec: TensorSpec, signature: Signature) -> list[Any]:
    """Every label, as its output has it; empty = they are not known."""
    classes = list(signature.classes)
    if spec.datatype is Datatype.BYTES:
        return [str(one).encode() for one in classes]
    return list(range(len(classes))) if any(isinstance(one, str) for one in classes) else classes


def _plain(item: Any) -> Any:
    return item.encode() if isinstance(item, str) else item
