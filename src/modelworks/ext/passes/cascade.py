"""A small form in front of the model itself, which answers only what the small one is unsure of."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import (
    Applied,
    Need,
    PassFacts,
    PassJob,
    Setting,
    settled,
)
from modelworks.core.seams import Pass
from modelworks.core.tensor import Role, Signature, TensorSpec
from modelworks.ext.formats.cascade import (
    CASCADE,
    LARGE,
    SMALL,
    Cascade,
    Stage,
    sureness,
    write_cascade,
)
from modelworks.ext.formats.onnx_model import carry, model_files, own_signature
from modelworks.ext.passes.onnx_parts import begin, told
from modelworks.ext.passes.training.rows import Array, Rows, read_rows, split
from modelworks.ext.passes.training.teacher import asked
from modelworks.plugins.load import load

_JUDGES: Final = 0.3  # share of the rows that find the threshold: the small form never saw them
_LEAST: Final = 100  # rows: of fewer no share of agreement can be told
_ONNX: Final = Stage("onnx", "onnxruntime")


class CascadePass:
    """Two forms in one: fewer multiplications for most rows, more for the few that go on."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="cascade",
        version=1,
        title="a small form first, the model where it is unsure",
        consumes=("onnx",),
        produces=CASCADE,
        engine="cascade",
        needs=frozenset({Need.ROWS}),
        settings=(
            Setting("small", "distil", "pass that makes the small form, of ONNX"),
            Setting("size", "tiny", "of the small form, where its pass has one"),
            Setting("steps", 3000, "of its training, where it is trained", least=1, most=1_000_000),
            Setting("agreement", 0.995, "share of rows answered as before", least=0.5, most=1.0),
        ),
        libraries=("onnx", "torch"),
        extra="optimize-torch",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Models that answer with classes, and that the small form's pass can do something with."""
        signature = own_signature(job.source, job.signature)
        if _column(signature) is None:
            return "no output says how sure the model is: a cascade has nothing to go by"
        if not signature.batch_axis:
            return "the model has no axis of rows: there is no row to hand on by itself"
        inner = _small(job, job.into)
        return _pass(job).fits(inner)

    def seconds(self, job: PassJob) -> float:
        """See `core.seams.optimizing.Seconds`."""
        inner: Any = _pass(job)
        return 5.0 + (inner.seconds(_small(job, job.into)) if hasattr(inner, "seconds") else 30.0)

    def apply(self, job: PassJob) -> Applied:
        """Make the small form, find the threshold, put both together."""
        begin(self.facts, job)
        signature = own_signature(job.source, job.signature)
        column = _column(signature)
        if column is None:
            raise UnsupportedError(self.fits(job))
        rows = read_rows(job, self.facts.name, _LEAST)
        taught, judges = split(rows.count, _JUDGES, job.seed + 17)
        with told(self.facts):
            made, stage = _made(job, rows.take(taught))
            _large(job)
            return _joined(job, column, rows.take(judges), stage, made)


def _column(signature: Signature) -> TensorSpec | None:
    """The output that says how sure the model is of a row's class."""
    found = signature.output(Role.PROBABILITIES)
    if found is not None:
        return found
    count = len(signature.classes)
    plain = [s for s in signature.outputs if s.role is Role.TENSOR and s.datatype.startswith("FP")]
    return next((s for s in plain if s.shape == (None, count) and count > 1), None)


def _pass(job: PassJob) -> Pass:
    name = job.settings["small"]
    found: Pass = load("passes", name)()
    if "onnx" not in found.facts.consumes or found.facts.produces == CASCADE:
        raise InvalidError(f"the pass {name} makes no small form of ONNX", field="small")
    return found


def _small(job: PassJob, into: Path) -> PassJob:
    """The same job for the small form's pass."""
    facts = _pass(job).facts
    own = {one.name for one in facts.settings}
    given: dict[str, Any] = {n: job.settings[n] for n in ("size", "steps") if n in own}
    return replace(job, into=into, settings=settled(facts, given), keep=())


def _made(job: PassJob, rows: Rows) -> tuple[Applied, Stage]:
    """Make the small form in its folder, of the rows that are not for judging."""
    into = job.into / SMALL
    into.mkdir()
    inner = _pass(job)
    with tempfile.TemporaryDirectory(prefix="modelworks-cascade-") as folder:
        calibration, labels = Path(folder, "rows.npz"), Path(folder, "labels.npy")
        np.savez(calibration, **rows.inputs)  # type: ignore[arg-type]  # names are inputs
        if rows.labels is not None:
            np.save(labels, rows.labels)
        given = replace(
            _small(job, into),
            calibration=calibration,
            labels=None if rows.labels is None else labels,
        )
        made = inner.apply(given)
    _alone(into, job)
    return made, Stage(made.format, inner.facts.engine)


def _large(job: PassJob) -> None:
    """The model itself in its folder; what the steps before it need stands above both forms."""
    own = model_files(job.source)
    carry(job.source, job.into, own)
    for name in own:
        (job.into / LARGE / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.source / name, job.into / LARGE / name)


def _alone(part: Path, job: PassJob) -> None:
    """Take out of a form what stands above both."""
    for path in sorted(job.source.rglob("*")):
        name = path.relative_to(job.source)
        if path.is_file() and name.as_posix() not in model_files(job.source):
            (part / name).unlink(missing_ok=True)


def _joined(job: PassJob, column: TensorSpec, judges: Rows, stage: Stage, made: Applied) -> Applied:
    signature = own_signature(job.source, job.signature)
    logits = column.role is not Role.PROBABILITIES
    small, large = (
        _answers(job.into / name, signature, job, each.engine, judges.inputs)[column.name]
        for name, each in ((SMALL, stage), (LARGE, _ONNX))
    )
    flat = (each.reshape(len(each), -1).argmax(axis=1) for each in (small, large))
    same = np.equal(*flat)
    sure = sureness(small, logits=logits)
    threshold = found_threshold(sure, same, job.settings["agreement"])
    if threshold is None:
        raise UnsupportedError(
            f"the small form is never sure enough for an agreement of {job.settings['agreement']}: "
            f"alone it answers {same.mean():.4f} of {len(same)} rows as the model does"
        )
    on = float((sure < threshold).mean())
    agreement = float((same | (sure < threshold)).mean())
    write_cascade(job.into, Cascade(stage, _ONNX, column.name, logits, threshold))
    notes = (
        *made.notes[:1],
        (
            f"on {len(same)} rows that the small form never saw it is as sure as {threshold:.4f} "
            f"in {1 - on:.4f} of them; the others, {on:.4f}, go on to the model and cost both"
        ),
        (
            f"so {agreement:.4f} of the rows get the model's own class; by the small form alone "
            f"{same.mean():.4f} would"
        ),
    )
    figures = {
        "went_on": on,
        "agreement": agreement,
        "agreement_small": float(same.mean()),
        "threshold": threshold,
        "rows": float(len(same)),
    }
    return Applied(CASCADE, (), notes, figures)


def _answers(
    folder: Path, signature: Signature, job: PassJob, engine: str, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    with asked(folder, signature, job.threads, engine) as teacher:
        return teacher.answers(inputs)


def found_threshold(sure: Array, same: Array, agreement: float) -> float | None:
    """The lowest threshold at which so many rows get the class that they had.

    Args:
        sure: of the small form, a row.
        same: whether it gives the same class as the model, a row.
        agreement: share of all rows; those that go on agree by themselves.

    Returns:
        A probability: half-way between the last row that stays and the first that goes on; the
        smallest that was seen where all stay; None where none does.
    """
    order = np.argsort(-sure, kind="stable")
    allowed = int(np.floor((1 - agreement) * len(sure) + 1e-9))
    wrong = np.cumsum(~same[order])
    ranked = sure[order]
    stays = int(np.searchsorted(wrong, allowed, side="right"))
    while 0 < stays < len(ranked) and ranked[stays - 1] == ranked[stays]:
        stays -= 1  # rows of one sureness go one way
    if stays == 0:
        return None
    if stays == len(ranked):
        return float(ranked[-1])
    return float((ranked[stays - 1] + ranked[stays]) / 2)
