"""The rows whose answers differ most, for people to look at."""

from typing import Any, Final

import numpy as np

from modelworks.optimize.agreeing import cosine
from modelworks.optimize.meaning import Kind, Plan, Said

_SHOWN: Final = 5


def worst_rows(
    plan: Plan, before: Said, after: Said, truth: Any, places: Any
) -> tuple[dict[str, Any], ...]:
    """At most five rows, the worst first; those whose answers are the same are left out.

    Args:
        plan: what the answers mean.
        before: the source form's.
        after: the form's.
        truth: of the rows; None = not known.
        places: of the rows among all rows of evaluation.

    Returns:
        `row`, `before`, `after`, `difference`, and `truth` where it is known; JSON values.
    """
    badness, difference = _badness(plan, before, after, truth)
    order = np.argsort(-badness, kind="stable")[:_SHOWN]
    found = []
    for row in order.tolist():
        if badness[row] <= 0:
            break
        one: dict[str, Any] = {
            "row": int(places[row]),
            "before": _shown(plan, before, row),
            "after": _shown(plan, after, row),
            "difference": round(float(difference[row]), 6),
        }
        if truth is not None:
            one["truth"] = _plain(truth[row])
        found.append(one)
    return tuple(found)


def _badness(plan: Plan, before: Said, after: Said, truth: Any) -> tuple[Any, Any]:
    """What sorts the rows, and the difference that is shown."""
    if plan.kind is Kind.VECTORS:
        pairs = zip(before.vectors, after.vectors, strict=True)
        off = 1 - np.minimum.reduce([cosine(a, b) for a, b in pairs])
        return np.where(off > 1e-9, off, 0.0), off
    if before.numbers is not None and after.numbers is not None:
        off = np.abs(after.numbers - before.numbers)
        if truth is None:
            return off, off
        return np.abs(after.numbers - truth) - np.abs(before.numbers - truth), off
    changed = (before.labels != after.labels).astype(float)
    off = changed
    if before.probabilities is not None and after.probabilities is not None:
        off = np.abs(after.probabilities - before.probabilities).max(axis=1)
    lost = changed if truth is None else changed * (1 + (before.labels == truth))
    return off + 10 * lost, off


def _shown(plan: Plan, one: Said, row: int) -> Any:
    if plan.kind is Kind.VECTORS:
        return [round(float(value), 6) for value in one.vectors[0][row][:6]]
    if one.numbers is not None:
        return float(one.numbers[row])
    if one.probabilities is None:
        return str(one.labels[row])
    return f"{one.labels[row]} ({float(one.probabilities[row].max()):.4f})"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
