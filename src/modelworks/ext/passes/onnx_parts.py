"""What passes over ONNX graphs share: how a job begins, ends and fails."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import onnx
from onnx import helper

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob
from modelworks.ext.formats.onnx_model import (
    MODEL,
    carry,
    model_files,
    own_signature,
    read_model,
    short,
    sort_nodes,
    write_model,
)

_NEEDED = {Need.ROWS: "calibration", Need.LABELS: "labels"}


def check_job(facts: PassFacts, job: PassJob) -> None:
    """Refuse what the pass cannot take.

    Raises:
        InvalidError: another format, or something that it needs is not there.
    """
    if job.format not in facts.consumes:
        raise InvalidError(
            f"{facts.name} takes {', '.join(facts.consumes)}, and this is '{job.format[:40]}'",
            field="format",
        )
    for need, field in _NEEDED.items():
        if need in facts.needs and getattr(job, field) is None:
            what = "calibration rows" if need is Need.ROWS else "labels"
            raise InvalidError(f"{facts.name} needs {what}, and none were given", field=field)


def begin(facts: PassFacts, job: PassJob) -> onnx.ModelProto:
    """The job's graph with its weights, checked.

    Raises:
        InvalidError: the job or its model is none that the pass can take.
    """
    check_job(facts, job)
    return read_model(job.source)


def end(
    job: PassJob,
    model: onnx.ModelProto,
    operators: Sequence[str] = (),
    notes: Sequence[str] = (),
    figures: Mapping[str, float] | None = None,
) -> Applied:
    """Write the result and what lies beside it.

    Raises:
        CrashedError: the graph takes or gives something else than before.
        UnsupportedError: it cannot be written.
    """
    _same_ends(job, model)
    sort_nodes(model)
    _import_domains(model)
    write_model(model, job.into)
    _check(job)
    carry(job.source, job.into, model_files(job.source))
    return Applied("onnx", tuple(operators), tuple(notes), dict(figures or {}))


@contextmanager
def told(facts: PassFacts) -> Iterator[None]:
    """Whatever a library raises becomes one line; what the system or we say stays as it is.

    Raises:
        CrashedError: the library failed.
    """
    try:
        yield
    except (ModelworksError, OSError, MemoryError, RecursionError):
        raise
    except Exception as error:  # libraries raise what they like
        raise CrashedError(f"{facts.name} failed: {short(error, 200)}") from error


def refused_keep(facts: PassFacts, keep: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names in `keep` that no operator of the pass has.

    Raises:
        InvalidError: such a name.
    """
    unknown = [name for name in keep if name not in set(known)]
    if unknown:
        raise InvalidError(
            f"{facts.name} changes no operator '{unknown[0][:80]}'; it changes {len(known)} others",
            field="keep",
        )


def _import_domains(model: onnx.ModelProto) -> None:
    """Name the sets of operators that nodes are of: libraries forget their own."""
    known = {one.domain for one in model.opset_import}
    for domain in sorted({node.domain for node in model.graph.node} - known - {"", "ai.onnx"}):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _check(job: PassJob) -> None:
    try:
        onnx.checker.check_model(str(job.into / MODEL))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise CrashedError(f"the pass left a graph that is not valid: {short(error)}") from error


def _same_ends(job: PassJob, model: onnx.ModelProto) -> None:
    signature = own_signature(job.source, job.signature)
    stored = {one.name for one in model.graph.initializer}
    for what, specs, values in (
        ("inputs", signature.inputs, [v for v in model.graph.input if v.name not in stored]),
        ("outputs", signature.outputs, model.graph.output),
    ):
        wanted, got = {spec.name for spec in specs}, {value.name for value in values}
        if wanted - got:
            raise CrashedError(
                f"after the pass the graph's {what} are {', '.join(sorted(got))[:80]}, "
                f"and the version's {', '.join(sorted(wanted))[:80]}"
            )
