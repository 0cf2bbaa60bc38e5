"""A native model at its import: run inside the sandbox first, then once as the server will run it.

Inside, its loader runs in the sandbox's own process. Outside, by the parent, its process is started
through the engine `native`, behind the walls that it will have, and must give the recorded answers.
"""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.model import Evidence, Verdict
from modelworks.core.native import NATIVE, read_native
from modelworks.core.seams import Engine, EngineOptions, Loader, Session
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.evaluation.probes import Probe, narrow, take
from modelworks.plugins.load import load
from modelworks.protocol.nearness import near
from modelworks.sandbox.tensors import DTYPES, fitting

_ROWS = 4
_LARGEST = 4 << 20  # bytes of recorded tensors
_CLOSE = (1e-4, 1e-3)  # absolute, relative: the same library on the same machine


@dataclass(frozen=True, slots=True)
class Tensor:
    """One recorded array: base64 of its bytes, or of each of its texts."""

    shape: tuple[int, ...]
    data: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call and its answer, by tensor name."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


class Inside:
    """The model in this very process; only in the sandbox's child."""

    apart = True

    def __init__(self, predict: Callable[[Tensors], Tensors], signature: Signature) -> None:
        self.signature = signature
        self._predict = predict

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """See `core.seams.Session.infer`."""
        try:
            found = self._predict(inputs)
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise InvalidError(f"the model refuses this input: {error}"[:300]) from error
        return fitting(found, self.signature.outputs)

    def close(self) -> None:
        """Nothing to give back: the process ends with its job."""


def inside(folder: Path, signature: Signature) -> Session:
    """Load the artifact in this process.

    Raises:
        InvalidError: it does not load, or its signature is another.
        MissingExtraError: its loader's library is not installed.
    """
    model = read_native(folder)
    if model.signature != signature:
        raise InvalidError("native.json has another signature than the importer said")
    loader: Loader = load("loaders", model.loader)()
    return Inside(loader.load(folder, model), signature)


class InsideEngine:
    """In place of the engine `native`, where no process can be started: the sandbox's child."""

    name: ClassVar[str] = NATIVE
    formats: ClassVar[tuple[str, ...]] = (NATIVE,)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> Session:
        """See `core.seams.Engine.load`."""
        return inside(path, options.signature or read_native(path).signature)


def record(session: Session, probes: Sequence[Probe]) -> Recorded:
    """A few rows and their answer; none where they are too large or nothing is answered."""
    for probe in probes:
        rows = narrow(probe.inputs, session.signature)
        if session.signature.batch_axis:
            rows = take(rows, slice(0, _ROWS))
        if sum(_size(array) for array in rows.values()) > _LARGEST:
            continue
        try:
            outputs = session.infer(rows)
        except InvalidError:
            continue
        if sum(map(_size, outputs)) > _LARGEST:
            continue
        names = [spec.name for spec in session.signature.outputs]
        found = dict(zip(names, outputs, strict=True))
        return Recorded(
            {name: _packed(array) for name, array in rows.items()},
            {name: _packed(array) for name, array in found.items()},
        )
    return Recorded()


def rehearse(
    folder: Path, python: Path | None, recorded: Recorded, *, accept: bool = False
) -> Evidence:
    """Start the model's process as the server will, and ask what was asked inside.

    Args:
        folder: of the artifact.
        python: of the environment that it needs; None = this one.
        recorded: what the sandbox's child answered; not trusted to be well formed.
        accept: other answers are noted instead of refused.

    Raises:
        RefusedError: it answers otherwise.
        InvalidError: it does not start; the reason.
    """
    engine: Engine = load("engines", NATIVE)()
    options = EngineOptions(
        trusted=True,
        interpreter=str(python) if python is not None else "",
        extra=(("spare", "off"),),
    )
    session: Any = engine.load(folder, options)
    try:
        started = session.started
        compared, differs = _compared(session, recorded)
    finally:
        session.close()
    if differs and not accept:
        raise RefusedError(
            f"the model's own process gives another output '{differs}' than the import saw; a "
            "model that is meant not to repeat itself comes in by --accept-difference",
            field="file",
        )
    walls = started.isolation
    summary = (
        f"{read_native(folder).loader} served it in a process of its own: ready in "
        f"{started.start_s:.1f} s with {started.resident_bytes >> 20} MiB"
    )
    if compared:
        summary += f"; {compared} recorded rows answered {'otherwise' if differs else 'alike'}"
    if walls.complete:
        summary += "; without network, other files, other processes or privileges"
    else:
        summary += f"; not every wall stands: {'; '.join(walls.reasons)}"
    detail = {
        "isolation": codec.encode(walls),
        "start_seconds": round(started.start_s, 3),
        "load_seconds": round(started.load_s, 3),
        "resident_bytes": started.resident_bytes,
        "rows": compared,
    }
    return Evidence("native", Verdict.ACCEPTED if differs else Verdict.PASSED, summary, detail)


def _compared(session: Session, recorded: Recorded) -> tuple[int, str]:
    """Rows that were asked again, and the first output that is answered otherwise."""
    if not recorded.inputs:
        return 0, ""
    signature = session.signature
    inputs = {spec.name: _unpacked(recorded.inputs, spec) for spec in signature.inputs}
    rows = max((len(array) if np.ndim(array) else 1 for array in inputs.values()), default=0)
    for spec, array in zip(signature.outputs, session.infer(inputs), strict=True):
        if not near(array, _unpacked(recorded.outputs, spec), spec.datatype, *_CLOSE):
            return rows, spec.name
    return rows, ""


def _size(array: Any) -> int:
    array = np.asarray(array)
    return sum(map(len, array.ravel().tolist())) if array.dtype == object else int(array.nbytes)


def _packed(array: Any) -> Tensor:
    array = np.asarray(array)
    items = array.ravel().tolist() if array.dtype == object else [array.tobytes()]
    return Tensor(array.shape, tuple(base64.b64encode(item).decode() for item in items))


def _unpacked(tensors: dict[str, Tensor], spec: TensorSpec) -> Any:
    found = tensors.get(spec.name)
    try:
        if found is None or len(found.shape) != len(spec.shape) or min(found.shape, default=0) < 0:
            raise ValueError  # noqa: TRY301 - told below with all the others
        items = [base64.b64decode(text, validate=True) for text in found.data]
        if spec.datatype is Datatype.BYTES:
            flat = np.empty(math.prod(found.shape), dtype=object)
            flat[:] = items
            return flat.reshape(found.shape)
        return np.frombuffer(items[0], DTYPES[spec.datatype]).reshape(found.shape)
    except (ValueError, IndexError) as error:
        raise RefusedError(f"the import's record of '{spec.name}' is damaged") from error
