"""Gates on answers alone: sound numbers, the same labels, the same directions; and calibration."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Gate, Goal
from modelworks.core.tensor import Signature
from modelworks.evaluation.parity import TREES, Group, compare
from modelworks.optimize.meaning import Kind, Plan, Said
from modelworks.optimize.quality import Pair
from modelworks.stats.intervals import Floats
from modelworks.stats.paired import at_least
from modelworks.stats.student import t_quantile

_BINS: Final = 15
_RESAMPLES: Final = 400
_TAIL: Final = 10  # resamples beyond the end of an interval, so that it is no single one's
_MOST: Final = 2000
_CHUNK: Final = 1 << 21


def sound(before: Mapping[str, Any], after: Mapping[str, Any], signature: Signature) -> list[Gate]:
    """Every output is there, has its shape, and no number that the source form does not have."""
    for spec in signature.outputs:
        ours, theirs = after.get(spec.name), before[spec.name]
        shape = None if ours is None else np.shape(ours)
        if shape != np.shape(theirs):
            said = "is missing" if shape is None else f"has shape {list(shape)}"
            text = f"output '{spec.name}' {said}; the source form's is {list(np.shape(theirs))}"
            return [Gate("outputs", Verdict.FAILED, text)]
    off = [
        _not_finite(after[spec.name]) & ~_not_finite(before[spec.name])
        for spec in signature.outputs
        if before[spec.name].dtype.kind == "f"
    ]
    if not off:
        return []
    rows = int(np.logical_or.reduce(off).sum())
    count = len(off[0])
    if not rows:
        text = f"every answer to {count} rows is a finite number where the source form's is"
        return [Gate("finite", Verdict.PASSED, text, value=0.0, limit=0.0)]
    text = f"{rows} of {count} rows are answered with NaN or infinity, by the source form not"
    return [Gate("finite", Verdict.FAILED, text, value=rows / count, limit=0.0)]


def _not_finite(array: Any) -> Any:
    return ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)


def same(before: Mapping[str, Any], after: Mapping[str, Any], signature: Signature) -> Gate:
    """Whether answers differ by rounding only: the rule by which conversions are held.

    SKIPPED where they differ by more: then other gates decide.
    """
    group = Group("rows", {}, before, after)
    found = compare([group], signature, TREES)
    if found.verdict is Verdict.PASSED:
        text = (
            "the passes change nothing but rounding, and no answer speaks against it: "
            f"{found.summary}"
        )
        return Gate("same", Verdict.PASSED, text, value=found.share_off, limit=TREES.share)
    text = f"the passes should change nothing but rounding, yet {found.summary}"
    return Gate("same", Verdict.SKIPPED, text, value=found.share_off, limit=TREES.share)


def agreement(plan: Plan, before: Said, after: Said, goal: Goal, *, known: bool) -> list[Gate]:
    """How far the answers are the source form's.

    Args:
        plan: what they mean.
        before: the source form's.
        after: the form's.
        goal: limits.
        known: the truth is known: then agreement is held against its limit as it was seen, and
            quality is what is proved; else it is all there is, and its interval has to hold.
    """
    if plan.kind is Kind.VECTORS:
        return _directions(before, after, goal)
    if plan.kind is Kind.NUMBERS:
        return [] if known else [_closeness(before, after, goal)]
    same = before.labels == after.labels
    count, kept = len(same), int(same.sum())
    error = 1 - goal.confidence
    low, share = at_least(kept, count, error), kept / count
    fine = (share if known else low) >= goal.agreement
    text = (
        f"{kept} of {count} labels stay ({share:.2%}), with {percent(goal.confidence)} confidence "
        f"at least {low:.2%} ({goal.agreement:.4g} is wanted)"
    )
    if not fine and share >= goal.agreement:
        text += f"; about {_enough(share, goal.agreement, error)} rows would tell"
    return [Gate("agreement", verdict(fine), text, "", share, low, 1.0, goal.agreement)]


def _enough(share: float, limit: float, error: float) -> str:
    """Rows of which such a share proves the limit."""
    rows = 16
    while rows < 1 << 24:
        if at_least(math.floor(share * rows), rows, error) >= limit:
            return str(rows)
        rows = math.ceil(rows * 1.1)
    return "very many"


def percent(confidence: float) -> str:
    """`95%`, `98.75%`."""
    return f"{100 * confidence:.5g}%"


def _directions(before: Said, after: Said, goal: Goal) -> list[Gate]:
    """Cosine of each output's rows; the lowest of the outputs counts."""
    found = [cosine(a, b) for a, b in zip(before.vectors, after.vectors, strict=True)]
    least = min(found, key=lambda values: float(values.mean()))
    worst = min(float(values.min()) for values in found)
    mean, count = float(least.mean()), len(least)
    low = mean
    if count > 1:
        spread = float(least.std(ddof=1)) / math.sqrt(count)
        low = mean - t_quantile(goal.confidence, count - 1) * spread
    even, every = low >= goal.cosine, worst >= goal.worst_cosine
    text = (
        f"cosine {mean:.4f} on average over {count} rows, with {percent(goal.confidence)} "
        f"confidence at least {low:.4f} ({goal.cosine:.4g} is wanted)"
    )
    rest = f"cosine of the worst row {worst:.4f} ({goal.worst_cosine:.4g} is wanted)"
    return [
        Gate("cosine", verdict(even), text, "", mean, low, None, goal.cosine),
        Gate("worst_cosine", verdict(every), rest, "", worst, None, None, goal.worst_cosine),
    ]


def cosine(first: Floats, second: Floats) -> Floats:
    """Of each row; 1 of two rows of zeros, 0 of one."""
    one, other = (np.linalg.norm(part, axis=1) for part in (first, second))
    both = (one == 0) & (other == 0)
    with np.errstate(all="ignore"):
        found = np.einsum("ij,ij->i", first, second) / (one * other)
    return np.where(both, 1.0, np.nan_to_num(found, nan=0.0))


def _closeness(before: Said, after: Said, goal: Goal) -> Gate:
    """Numbers without a truth: the share of the source form's variance that is met."""
    assert before.numbers is not None  # noqa: S101 - the plan says so
    assert after.numbers is not None  # noqa: S101 - as above
    spread = float(np.square(before.numbers - before.numbers.mean()).mean())
    off = float(np.square(after.numbers - before.numbers).mean())
    share = 1 - off / spread if spread > 0 else float(off <= 0)
    text = (
        f"the numbers meet {share:.4%} of the source form's variance ({goal.cosine:.4g} is "
        f"wanted), {len(before.numbers)} rows, {math.sqrt(off):.4g} apart (root of the mean square)"
    )
    return Gate("closeness", verdict(share >= goal.cosine), text, "", share, None, 1.0, goal.cosine)


def calibration(pair: Pair, goal: Goal) -> Gate:
    """Whether probabilities still mean what they say: the rise of the expected calibration error.

    Of the class that is said, in 15 bins of equal width; the interval is the basic bootstrap of the
    difference on the same rows (Davison and Hinkley 1997, 5.2).
    """
    marks = [_gaps(one, pair) for one in (pair.before, pair.after)]
    count = len(pair.truth)
    ones = np.ones((1, count))
    before, after = (float(_error(ones, *mark)[0]) for mark in marks)
    rise = after - before
    random = np.random.default_rng(0)
    resamples = min(_MOST, max(_RESAMPLES, math.ceil(_TAIL / (1 - goal.confidence))))
    drawn = []
    for _ in range(max(1, math.ceil(resamples * count / _CHUNK))):
        size = min(resamples, max(1, _CHUNK // count))
        weights = random.multinomial(count, np.full(count, 1 / count), size).astype(np.float64)
        drawn.append(_error(weights, *marks[1]) - _error(weights, *marks[0]))
    replicates = np.concatenate(drawn)
    low, high = (
        2 * rise - float(np.quantile(replicates, share))
        for share in (goal.confidence, 1 - goal.confidence)
    )
    fine = high <= goal.calibration
    text = (
        f"calibration error goes from {before:.4f} to {after:.4f}, with {percent(goal.confidence)} "
        f"confidence up by at most {high:.4f} ({goal.calibration:.3g} is allowed), {count} rows"
    )
    return Gate("calibration", verdict(fine), text, "", rise, low, high, goal.calibration)


def _gaps(one: Said, pair: Pair) -> tuple[Floats, Any]:
    """How much surer than right each row is, and its bin."""
    assert one.probabilities is not None  # noqa: S101 - asked before
    names = np.array(pair.plan.classes)
    sure = np.clip(one.probabilities.max(axis=1), 0.0, 1.0)
    right = names[one.probabilities.argmax(axis=1)] == pair.truth
    return sure - right, np.minimum((sure * _BINS).astype(int), _BINS - 1)


def _error(weights: Floats, gaps: Floats, bins: Any) -> Floats:
    """Expected calibration error of each row of weights."""
    inside = np.eye(_BINS)[bins] * gaps[:, None]
    return np.asarray(np.abs(weights @ inside).sum(axis=1) / weights.sum(axis=1), np.float64)


def verdict(fine: bool) -> Verdict:  # noqa: FBT001 - it is the question itself
    """PASSED or FAILED."""
    return Verdict.PASSED if fine else Verdict.FAILED
