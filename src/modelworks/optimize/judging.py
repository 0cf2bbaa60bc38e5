"""Is a form still good enough? Gates on its answers, beside the source form's on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Gate, Goal
from modelworks.core.tensor import Signature
from modelworks.optimize import agreeing, glancing
from modelworks.optimize.forms import Rows
from modelworks.optimize.quality import Drop, Pair, drop, metric_of
from modelworks.optimize.seeing import Seen, seen_of
from modelworks.optimize.sliced import held
from modelworks.optimize.worst import worst_rows

WITHOUT: Final = (
    "without a truth (--label) nobody can say whether the rows that changed became better or worse"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a form.

    Attributes:
        gates: in the order in which they were tried.
        worst: rows whose answers differ most.
    """

    gates: tuple[Gate, ...]
    worst: tuple[dict[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no gate was missed."""
        return all(gate.verdict is not Verdict.FAILED for gate in self.gates)

    @property
    def why(self) -> str:
        """The first gate that was missed; empty = none."""
        return next((g.summary for g in self.gates if g.verdict is Verdict.FAILED), "")


def judge(
    source_answers: Path,
    answers: Path,
    rows: Rows,
    signature: Signature,
    goal: Goal,
    *,
    exact: bool = False,
) -> Judged:
    """Hold a form's answers against the source form's: a proof, at the goal's confidence.

    Args:
        source_answers: file of `asking.answers`.
        answers: the same of the form, asked with the same numbers of rows.
        rows: that were asked.
        signature: of both: the bare model's, with the version's classes.
        goal: what may be given. Of many forms that are chosen from each wants a confidence of its
            own (`proving`).
        exact: every pass of the recipe says that it changes nothing but rounding. Where no row
            speaks against that, quality is the source form's, however few rows there are.

    Raises:
        InvalidError: the truth, or the goal's metric, does not fit the model's answers.
    """
    gates, seen = seen_of(source_answers, answers, rows, signature, exact=exact)
    if seen is None:
        return Judged(tuple(gates))
    pair = seen.pair
    if pair.truth is None:
        gates.append(Gate("quality", Verdict.SKIPPED, WITHOUT))
    else:
        gates += quality(pair, seen.slices, goal)
        if pair.before.probabilities is not None:
            gates.append(agreeing.calibration(pair, goal))
    known = pair.truth is not None
    gates += agreeing.agreement(pair.plan, pair.before, pair.after, goal, known=known)
    return Judged(tuple(gates), _worst(seen))


def look(
    source_answers: Path,
    answers: Path,
    rows: Rows,
    signature: Signature,
    goal: Goal,
    *,
    ahead: glancing.Ahead,
    exact: bool = False,
) -> Judged:
    """Glance at a form's answers to rows that do not decide: what is visibly lost is given up.

    Args:
        source_answers: as `judge`.
        answers: as `judge`.
        rows: that were asked.
        signature: as `judge`.
        goal: what may be given.
        ahead: rows that decide later.
        exact: as `judge`.

    Raises:
        InvalidError: as `judge`.
    """
    gates, seen = seen_of(source_answers, answers, rows, signature, exact=exact)
    if seen is None:
        return Judged(tuple(gates))
    pair = seen.pair
    told = glancing.agreement(pair.plan, pair.before, pair.after, goal)
    if pair.truth is not None:
        told = glancing.quality(pair, seen.slices, goal) + told
        if pair.before.probabilities is not None:
            gates.append(glancing.calibration(pair, goal))
    gates += [one.gate for one in told]
    gates.append(glancing.likely(told, len(seen.rows), ahead))
    return Judged(tuple(gates), _worst(seen))


def _worst(seen: Seen) -> tuple[dict[str, Any], ...]:
    pair = seen.pair
    return worst_rows(pair.plan, pair.before, pair.after, pair.truth, seen.rows)


def quality(pair: Pair, slices: Mapping[str, Any], goal: Goal) -> list[Gate]:
    """The goal's metric on all rows, then on each slice: the decision that can be wrong by chance.

    Args:
        pair: both answers and the truth.
        slices: name -> numbers of its rows.
        goal: what may be given.

    Raises:
        InvalidError: the answers do not have the metric.
    """
    error = 1 - goal.confidence
    metric = metric_of(goal.metric, pair.plan)
    found = drop(metric, pair, np.arange(len(pair.truth)), goal.max_drop, error)
    fine = found.p <= error
    gates = [_gate(metric, found, goal.max_drop, goal.confidence, fine=fine)]
    limit = goal.slice_drop or goal.max_drop
    for name, part, verdict in held(metric, pair, slices, limit, error):
        if part is None:
            gates.append(Gate(metric, Verdict.SKIPPED, verdict, name))
        else:
            gates.append(_gate(metric, part, limit, goal.confidence, fine=not verdict, name=name))
    return gates


def _gate(
    metric: str, found: Drop, limit: float, confidence: float, *, fine: bool, name: str = ""
) -> Gate:
    unit = "points" if metric in {"accuracy", "auc"} else "%"
    where = f" of {name}" if name else ""
    fall = f"{metric}{where} falls" if unit == "points" else f"{metric}{where} rises"
    high = f"{100 * found.high:.2f}" if np.isfinite(found.high) else "any number of"
    text = (
        f"{fall} by {100 * found.value:.2f} {unit}, with {agreeing.percent(confidence)} "
        f"confidence by at most {high} ({100 * limit:.3g} are allowed): {found.told}, "
        f"{found.rows} rows"
    )
    if not np.isfinite(found.value):
        text = f"{metric}{where} cannot be told: {found.told}, {found.rows} rows"
    elif not fine and found.needed is not None and found.needed > found.rows:
        text += f"; too few to tell, about {found.needed} would do if the shares stay so"
    elif not fine and found.value >= limit:
        text += "; no number of rows would do"
    # The verdict is the test's; its interval is rounded, and may not seem to say otherwise.
    bound = min(found.high, limit) if fine else max(found.high, limit)
    verdict = Verdict.PASSED if fine else Verdict.FAILED
    return Gate(metric, verdict, text, name, _finite(found.value), None, _finite(bound), limit)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
