"""What copies say of a candidate, as it is kept with the roll-out: a report and its counts."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts import store
from modelworks.control.rollouts.gathering.pairs import Copied
from modelworks.control.rollouts.kept import Kept
from modelworks.core import codec
from modelworks.core.rollouts import Plan
from modelworks.db.engine import TenantScope
from modelworks.rollout.shadow.report import NAME, report
from modelworks.rollout.shadow.tally import Example, Tally

ALLOWED: Final = 0.01
"""Share of the pairs that may disagree, for the report of a plan that does not say."""
FLIPS: Final = 100
"""Kinds of flips that are kept, the most frequent."""
_TALLY: Final = "tally"


def report_of(kept: Kept) -> dict[str, dict[str, Any]]:
    """Candidate -> `rollout.shadow.report.Report` as the codec writes it; empty = no copies.

    A distance that is no number is None.
    """
    return {
        name: {key: value for key, value in one.items() if key != _TALLY}
        for name, one in kept.copies.items()
    }


def keep(scope: TenantScope, name: str, documents: dict[str, Any], now_ns: int) -> None:
    """Put them into a roll-out; one that is not there is left alone."""
    with scope.write() as session:
        kept = store.get(session, name)
        if kept is not None:
            store.put(session, replace(kept, copies=documents), now_ns)


def documents(plan: Plan, known: Mapping[str, Copied]) -> dict[str, Any]:
    """JSON of each candidate that has pairs."""
    named = (one for one in (plan.primary, *plan.guardrails) if one.name == NAME)
    allowed = next((one.margin for one in named), ALLOWED)
    found = {}
    for name, one in known.items():
        if not one.tally.count:
            continue
        told = report(one.tally, allowed, arm=name, slices=plan.slices)
        found[name] = {**_plain(codec.encode(told)), _TALLY: _document(one)}
    return found


def restored(told: Mapping[str, Any] | None) -> Copied:
    """What is added to; without the numbers for the rank correlation, which begins anew."""
    if not told or _TALLY not in told:
        return Copied()
    kept = told[_TALLY]
    worst = tuple(
        Example(
            one["id"],
            one["stable"],
            one["candidate"],
            math.inf if one["distance"] is None else one["distance"],
        )
        for one in told["worst"]
    )
    flips = {(one, other): count for one, other, count in kept["flips"]}
    slices = {name: (count, agreed) for name, (count, agreed) in kept["slices"].items()}
    known = Tally(
        *(kept["count"], kept["agreed"], kept["close"], kept["missing"]),
        flips=flips,
        bins=np.array(kept["bins"], np.float64),
        worst=worst,
        slices=slices,
    )
    return Copied(known, upto_ns=kept["upto_ns"], restored_ns=kept["upto_ns"])


def _document(one: Copied) -> dict[str, Any]:
    known = one.tally
    flips = sorted(known.flips.items(), key=lambda item: -item[1])[:FLIPS]
    return {
        "upto_ns": one.upto_ns,
        "count": known.count,
        "agreed": known.agreed,
        "close": known.close,
        "missing": known.missing,
        "flips": [[one, other, count] for (one, other), count in flips],
        "bins": known.bins.tolist(),
        "slices": {name: list(cells) for name, cells in known.slices.items()},
    }


def _plain(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
