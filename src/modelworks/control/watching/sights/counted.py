"""A gateway's metrics as counts of a roll-out's arms. Pure.

An arm has what fell to it: its answers, and what was lost for it, be it that the fallback answered.
In a step without traffic a candidate has its copies.
"""

from collections.abc import Iterator
from typing import Final

from modelworks.control.exposition import values
from modelworks.control.rollouts.evidence import Seen
from modelworks.control.rollouts.grounds.ground import arms_of
from modelworks.control.rollouts.kept import Kept, copied
from modelworks.control.watching.counting import each, started
from modelworks.monitor.series.names import STAGES

_HEAD: Final = "modelworks_gateway_"
_ANSWERS: Final = f"{_HEAD}requests_total"
_TIMES: Final = f"{_HEAD}latency_seconds_bucket"
_LOST: Final = f"{_HEAD}lost_total"
_FALLBACKS: Final = f"{_HEAD}fallbacks_total"
_COPIED: Final = f"{_HEAD}shadow_answers_total"
_COPY_TIMES: Final = f"{_HEAD}shadow_latency_seconds_bucket"
_COPIES_LOST: Final = f"{_HEAD}shadow_failed_total"
_OWN: Final = {_ANSWERS: "answers", _TIMES: "times", _LOST: "lost", _FALLBACKS: "fallbacks"}
_COPIES: Final = {_COPIED: "answers", _COPY_TIMES: "times", _COPIES_LOST: "lost"}
_BUCKET: Final = f"{STAGES[0]}_bucket"

Key = tuple[str, str, str, str]


def seen(kept: Kept, url: str, text: str) -> Iterator[Seen]:
    """What a gateway counted of a roll-out's arms; nothing, where its text says no counts.

    Args:
        kept: the roll-out.
        url: admin address of the gateway.
        text: its metrics.
    """
    try:
        counters = _counters(kept, text)
    except ValueError:
        return
    yield Seen(url, started(text), counters)


def _counters(kept: Kept, text: str) -> dict[Key, float]:
    plan = kept.rollout.plan
    route, arms, copies = plan.route, arms_of(plan), copied(kept)
    found: dict[Key, float] = {
        (route, arm, kind, ""): 0.0 for arm in arms for kind in ("requests", "errors", "invalid")
    }
    times: dict[str, dict[float, tuple[str, float]]] = {}
    for name, labels, value in values(text, {*_OWN, *_COPIES}):
        # Who stands in for others is the stable arm: what it answered so did not fall to it.
        arm = labels.get("arm", plan.stable)
        kind = (_COPIES if arm in copies else _OWN).get(name)
        if kind is None or labels.get("route") != route or arm not in arms:
            continue
        if kind == "times":
            bound = labels["le"]
            times.setdefault(arm, {})[float(bound)] = (bound, value)
            continue
        if kind == "fallbacks":
            found[route, arm, "requests", ""] -= value
            continue
        if kind == "answers" or labels.get("to") != "cut":  # what was cut is among the answers
            found[route, arm, "requests", ""] += value
        if kind == "lost" or labels.get("code") == "5xx":
            found[route, arm, "errors", ""] += value
        elif labels.get("code") == "4xx":
            found[route, arm, "invalid", ""] += value
    for arm, cells in times.items():
        found |= {(route, arm, _BUCKET, bound): count for bound, count in each(cells)}
    return found
