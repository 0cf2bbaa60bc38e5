"""Is a form still good enough? Gates on its answers, beside the source form's on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Gate, Goal
from modelworks.core.tensor import Signature
from modelworks.evaluation.parity import as_text
from modelworks.optimize import agreeing, arrays
from modelworks.optimize.data import read_slices
from modelworks.optimize.forms import Rows
from modelworks.optimize.meaning import Kind, planned, said
from modelworks.optimize.quality import Drop, Pair, drop, metric_of
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
    """Hold a form's answers against the source form's.

    Args:
        source_answers: file of `asking.answers`.
        answers: the same of the form, asked with the same numbers of rows.
        rows: that were asked.
        signature: of both: the bare model's, with the version's classes.
        goal: what may be given.
        exact: every pass of the recipe says that it changes nothing but rounding. Where no row
            speaks against that, quality is the source form's, however few rows there are.

    Raises:
        InvalidError: the truth, or the goal's metric, does not fit the model's answers.
    """
    before, after = arrays.load(source_answers), arrays.load(answers)
    gates = agreeing.sound(before, after, signature)
    if any(gate.verdict is Verdict.FAILED for gate in gates):
        return Judged(tuple(gates))
    if exact:
        same = agreeing.same(before, after, signature)
        gates.append(same)
        if same.verdict is Verdict.PASSED:
            return Judged(tuple(gates))
    truth = None if rows.labels is None else np.load(rows.labels, allow_pickle=False)
    plan = planned(signature, before, truth)
    kept = _comparable(before)
    before, after = ({n: a[kept] for n, a in one.items()} for one in (before, after))
    old, new = said(plan, before), said(plan, after)
    if truth is None:
        gates.append(Gate("quality", Verdict.SKIPPED, WITHOUT))
        told = None
    else:
        told = truth[kept] if plan.kind is Kind.NUMBERS else as_text(truth[kept])
        _known(told, old.labels)
        pair = Pair(plan, old, new, told)
        places = {row: place for place, row in enumerate(kept.tolist())}
        slices = {
            name: np.array([places[row] for row in part if row in places], np.int64)
            for name, part in read_slices(rows).items()
        }
        gates += quality(pair, slices, goal)
        if old.probabilities is not None:
            gates.append(agreeing.calibration(pair, goal))
    gates += agreeing.agreement(plan, old, new, goal, known=truth is not None)
    return Judged(tuple(gates), worst_rows(plan, old, new, told, kept))


def _comparable(before: Mapping[str, Any]) -> Any:
    """Rows whose source answers are finite: the others say nothing, and `sound` has seen them."""
    count = len(next(iter(before.values())))
    fine = np.ones(count, bool)
    for array in before.values():
        if array.dtype.kind == "f":
            fine &= np.isfinite(array.reshape(count, -1)).all(axis=1)
    if not fine.any():
        raise InvalidError("the source form answers no row with finite numbers", field="eval")
    return np.flatnonzero(fine)


def _known(truth: Any, labels: Any) -> None:
    if labels is not None and not set(truth.tolist()) & set(labels.tolist()):
        seen, wanted = (", ".join(sorted(set(part.tolist()))[:5]) for part in (truth, labels))
        raise InvalidError(
            f"no value of the truth ({seen}) is a class that the model says ({wanted}): is "
            "--label the right column?",
            field="label",
        )


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
        f"{fall} by {100 * found.value:.2f} {unit}, with {confidence:.0%} confidence by at most "
        f"{high} ({100 * limit:.3g} are allowed): {found.told}, {found.rows} rows"
    )
    if not fine and found.needed is not None and found.needed > found.rows:
        text += f"; too few to tell, about {found.needed} would do if the shares stay so"
    elif not fine and found.value >= limit:
        text += "; no number of rows would do"
    # The verdict is the test's; its interval is rounded, and may not seem to say otherwise.
    bound = min(found.high, limit) if fine else max(found.high, limit)
    verdict = Verdict.PASSED if fine else Verdict.FAILED
    return Gate(metric, verdict, text, name, found.value, None, _finite(bound), limit)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
