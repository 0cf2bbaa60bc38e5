"""Runs a source model and its conversion on the same rows, in several batch sizes, and compares.

How rows far from anything the model has seen are judged (the sorts `offset` and `wide`): a float32
input near one million cannot tell values apart that are closer than 0.06, whatever comes after it,
and sums of squares near 10^12 cannot tell 10^5 apart. So each number of such a row may differ
further by twice what the *source itself* changes when its inputs are moved at random by up to eight
float32 roundings (the largest of eight such moves), and two rows in a hundred may differ anyhow,
because a step that lies between two such moves is not seen. Where the training range is known, rows
near one million are only reported: no rule can say what a nearest neighbour is there. Rows of the
sample, and rows in the range that the model was trained on, get no allowance: a model trained on
values near 10^8 must be right there, in float64 where float32 is not enough.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError, RefusedError
from modelworks.core.model import Verdict
from modelworks.core.seams import Session
from modelworks.core.tensor import Datatype, Signature, Tensors
from modelworks.evaluation.parity import Group, ParityReport, Rule, Tolerance, compare
from modelworks.evaluation.probes import Probe, batches, narrow, nudge, take

Predict = Callable[[Tensors], Tensors]
_MOVES, _ROUNDINGS, _ALLOWANCE = 8, 8.0, 2.0
_REASON = 160


def against_source(
    predict: Predict,
    session: Session,
    probes: Sequence[Probe],
    tolerance: Tolerance,
    *,
    wide_inputs: bool = False,
    known_range: bool = False,
) -> ParityReport:
    """Compare a conversion with its source.

    Args:
        predict: the source: input tensors -> output tensors by name.
        session: the conversion, loaded; its signature is the one that counts.
        probes: rows. A probe that is not optional must be accepted by both.
        tolerance: the rule.
        wide_inputs: the source takes floats as float64.
        known_range: the probes' main rows lie where the model was trained.

    Raises:
        InvalidError: the source itself fails on rows that it should accept.
    """
    signature = session.signature
    groups, skipped, failures, sizes = [], [], [], set()
    for probe in probes:
        parts = list(batches(_count(probe.inputs), signature))
        given = probe.inputs if wide_inputs else narrow(probe.inputs, signature)
        given = take(given, slice(0, parts[-1].stop if parts else 0))
        try:
            source = _by_parts(predict, given, parts, signature)
        except (ModelworksError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            if not probe.optional:
                raise InvalidError(
                    f"the source model fails on rows of the sort '{probe.name}': {_why(error)}; "
                    "a sample file (--sample) shows what rows look like"
                ) from error
            skipped.append(f"{probe.name}: the source refuses such rows ({_why(error)})")
            continue
        try:
            converted = _session_by_parts(session, probe.inputs, parts)
        except (InvalidError, CrashedError) as error:
            if probe.may_refuse:
                skipped.append(f"{probe.name}: the converted model refuses such rows")
                continue
            failures.append(
                f"the converted model refuses rows of the sort '{probe.name}' that the source "
                f"accepts: {_why(error)}"
            )
            continue
        sizes |= {part.stop - part.start for part in parts}
        rule = _rule(probe.name, known_range=known_range)
        eased = rule is Rule.EASED
        slack = _slack(predict, given, source, signature) if eased else {}
        groups.append(Group(probe.name, given, source, converted, slack, rule))
    report = compare(groups, signature, tolerance, sorted(sizes), skipped)
    return _with_failures(report, failures)


def against_itself(session: Session, probes: Sequence[Probe]) -> tuple[ParityReport, bool]:
    """A model that was not converted: it runs, repeats itself, and rows do not see each other.

    Returns:
        The report, and whether a batch of n gave what n batches of one give.

    Raises:
        RefusedError: the engine itself failed, for want of memory say, on every row.
    """
    signature = session.signature
    repeated, single, skipped, sizes = [], [], [], set()
    failures: list[CrashedError] = []
    for probe in probes:
        parts = list(batches(_count(probe.inputs), signature))
        try:
            first = _session_by_parts(session, probe.inputs, parts)
            second = _session_by_parts(session, probe.inputs, parts)
        except (InvalidError, CrashedError) as error:
            failures += [error] if isinstance(error, CrashedError) else []
            skipped.append(f"{probe.name}: the model refuses such rows ({_why(error)})")
            continue
        sizes |= {part.stop - part.start for part in parts}
        repeated.append(Group(probe.name, probe.inputs, first, second))
        if signature.batch_axis:
            single.append(_one_by_one(session, probe, first))
    if failures and len(failures) == len(probes):
        raise RefusedError(
            f"no row that was tried could be predicted: {_why(failures[-1])}; such a model takes "
            "down whatever serves it",
            field="file",
        )
    exact = Tolerance(0.0, 0.0, 0.0, 1.0, "the same session on the same rows")
    report = compare(repeated, signature, exact, sorted(sizes), skipped)
    loose = Tolerance(why="sums may be added up in another order")
    alone = compare(single, signature, loose)
    return report, signature.batch_axis and alone.verdict is Verdict.PASSED


def _rule(sort: str, *, known_range: bool) -> Rule:
    if sort == "offset":
        return Rule.REPORTED if known_range else Rule.EASED
    return Rule.EASED if sort == "wide" else Rule.STRICT


def _one_by_one(session: Session, probe: Probe, together: Tensors) -> Group:
    rows = min(_count(probe.inputs), 16)
    parts = [slice(i, i + 1) for i in range(rows)]
    alone = _session_by_parts(session, probe.inputs, parts)
    return Group(probe.name, probe.inputs, take(together, slice(0, rows)), alone)


def _count(inputs: Tensors) -> int:
    return max((len(array) if np.ndim(array) else 1 for array in inputs.values()), default=1)


def _by_parts(
    predict: Predict, inputs: Tensors, parts: Sequence[slice], signature: Signature
) -> dict[str, Any]:
    """The source's answers; all rows at once, except where the batch axis is fixed."""
    if signature.inputs and signature.inputs[0].shape[:1] == (None,):
        return dict(predict(inputs))
    return _joined([predict(take(inputs, part)) for part in parts])


def _session_by_parts(session: Session, inputs: Tensors, parts: Sequence[slice]) -> dict[str, Any]:
    names = [spec.name for spec in session.signature.outputs]
    inputs = narrow(inputs, session.signature)
    answers = []
    for part in parts:
        rows = {name: array[part] if np.ndim(array) else array for name, array in inputs.items()}
        answers.append(dict(zip(names, session.infer(rows), strict=True)))
    return _joined(answers)


def _joined(answers: Sequence[Tensors]) -> dict[str, Any]:
    if not answers:
        return {}
    try:
        return {
            name: np.concatenate([np.atleast_1d(answer[name]) for answer in answers])
            for name in answers[0]
        }
    except ValueError as error:
        raise RefusedError(
            f"batches of different sizes give outputs that do not fit together: {_why(error)}"
        ) from error


def _slack(
    predict: Predict, given: Tensors, source: Tensors, signature: Signature
) -> dict[str, Any]:
    """How far the source's own answers move when its inputs are rounded otherwise, times two."""
    random = np.random.default_rng(0)
    slack: dict[str, Any] = {}
    for spec in signature.outputs:
        if spec.datatype is not Datatype.BYTES and spec.name in source:
            slack[spec.name] = np.zeros(np.shape(source[spec.name]))
    for _ in range(_MOVES):
        moved = predict(nudge(given, signature, random, _ROUNDINGS))
        for name, most in slack.items():
            with np.errstate(all="ignore"):
                change = np.abs(
                    np.asarray(moved[name], np.float64) - np.asarray(source[name], np.float64)
                )
            np.maximum(most, np.nan_to_num(change, posinf=0.0), out=most)
    return {name: most * _ALLOWANCE for name, most in slack.items()}


def _with_failures(report: ParityReport, failures: list[str]) -> ParityReport:
    if not failures:
        return report
    return replace(report, verdict=Verdict.FAILED, reasons=(*failures, *report.reasons))


def _why(error: BaseException) -> str:
    text = " ".join(str(error)[: _REASON * 8].split()) or type(error).__name__
    return text if len(text) <= _REASON else text[: _REASON - 3] + "..."
