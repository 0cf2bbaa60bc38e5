"""Both forms' answers to the same rows, side by side: what can be compared, and its truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Gate
from modelworks.core.tensor import Signature
from modelworks.evaluation.parity import as_text
from modelworks.optimize import agreeing, arrays
from modelworks.optimize.data import read_slices
from modelworks.optimize.forms import Rows
from modelworks.optimize.meaning import Kind, planned, said
from modelworks.optimize.quality import Pair


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Both answers to the rows that can be compared, and what is known of those.

    Attributes:
        pair: what the answers mean, both of them, and the truth; None = it is not known.
        slices: name -> numbers of its rows.
        rows: their numbers among those that were asked.
    """

    pair: Pair
    slices: Mapping[str, Any]
    rows: Any


def seen_of(
    source_answers: Path, answers: Path, rows: Rows, signature: Signature, *, exact: bool
) -> tuple[list[Gate], Seen | None]:
    """Gates without a question of quality, and both answers; None = there is no more to say.

    Args:
        source_answers: file of `asking.answers`.
        answers: the same of the form.
        rows: that were asked.
        signature: of both.
        exact: every pass says that it changes nothing but rounding.

    Raises:
        InvalidError: the truth does not fit the model's answers, or those are not finite.
    """
    before, after = arrays.load(source_answers), arrays.load(answers)
    gates = agreeing.sound(before, after, signature)
    if any(gate.verdict is Verdict.FAILED for gate in gates):
        return gates, None
    kept = _comparable(before)
    if exact:
        same = agreeing.same(before, after, signature)
        gates.append(same)
        if same.verdict is Verdict.PASSED:
            return gates, None
    before, after = ({n: a[kept] for n, a in one.items()} for one in (before, after))
    truth = None if rows.labels is None else np.load(rows.labels, allow_pickle=False)[kept]
    plan = planned(signature, before, truth)
    old, new = said(plan, before), said(plan, after)
    if truth is None:
        return gates, Seen(Pair(plan, old, new, None), {}, kept)
    told = truth if plan.kind is Kind.NUMBERS else as_text(truth)
    _known(told, old.labels)
    places = {row: place for place, row in enumerate(kept.tolist())}
    slices = {
        name: np.array([places[row] for row in part if row in places], np.int64)
        for name, part in read_slices(rows).items()
    }
    return gates, Seen(Pair(plan, old, new, told), slices, kept)


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
