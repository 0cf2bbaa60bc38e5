"""Which pictures a roll-out has: its shares, and each comparison over the looks. Pure."""

import re
from itertools import pairwise
from typing import Final

from modelworks.control.rollouts.report.figures import metric_of, points
from modelworks.control.rollouts.report.looks import Look, points_of
from modelworks.control.rollouts.report.picture import Band, Picture, band, stairs
from modelworks.control.rollouts.report.told import Told
from modelworks.core.rollouts import Kind, Metric, Plan

_NS: Final = 1e9


def pictures(told: Told) -> list[Picture]:
    """Shares, then the comparisons that were kept, as the plan names them; none before it began."""
    rollout = told.kept.rollout
    begin = rollout.began_ns
    if not begin:
        return []
    last = told.kept.ended_ns or max(told.kept.seen, rollout.changed_ns)
    end = max((last - begin) / _NS, 1.0)
    drawn = [_shares(told, begin, end)]
    seen = [(look.at_ns, look.points) for look in told.looks]
    if rollout.verdict is not None and seen and told.kept.seen > seen[-1][0]:
        seen.append(
            (told.kept.seen, points_of(rollout.plan, rollout.verdict))
        )  # the newest is rarely kept
    steps = [
        (after.at_ns - begin) / _NS
        for before, after in pairwise(told.looks)
        if after.since_ns != before.since_ns
    ]
    for metric, where, arm in _order(rollout.plan, told.looks):
        known = [
            (at, point)
            for at, points_ in seen
            for point in points_
            if (point.metric, point.slice, point.arm) == (metric.name, where, arm)
            and not (point.low is None and point.high is None)
        ]
        if not known:
            continue
        scale = 100.0 if metric.kind is Kind.RATE else 1.0
        bands = [
            Band(
                (at - begin) / _NS,
                scale * point.difference,
                None if point.low is None else scale * point.low,
                None if point.high is None else scale * point.high,
                scale * point.margin,
            )
            for at, point in known
        ]
        title = metric.name if where == "*" else f"{metric.name}, {where}"
        title += f", {arm}" if len(rollout.plan.candidates) > 1 else ""
        unit = points(metric).strip() or "in its own unit"
        drawn.append(band(_id(title), title, unit, bands, steps, end))
    return drawn


def _shares(told: Told, begin: int, end: float) -> Picture:
    plan = told.kept.rollout.plan
    curves: dict[str, list[tuple[float, float]]] = {
        arm: [] for arm in (plan.stable, *plan.candidates)
    }
    for event in told.events:
        for arm, points_ in curves.items():
            if arm in event.shares:
                points_.append((max(0.0, (event.at_ns - begin) / _NS), event.shares[arm]))
    drawn = {arm: points_ for arm, points_ in curves.items() if points_}
    return stairs("shares", "Shares", drawn, end)


def _order(plan: Plan, looks: tuple[Look, ...]) -> list[tuple[Metric, str, str]]:
    """Primary, guardrails, slices; of each candidate."""
    found = {(p.metric, p.slice, p.arm) for look in looks for p in look.points}
    wanted = [(plan.primary.name, "*"), *((one.name, "*") for one in plan.guardrails)]
    wanted += [(plan.primary.name, name) for name in plan.slices]
    return [
        (metric, where, arm)
        for name, where in wanted
        for arm in plan.candidates
        if (name, where, arm) in found and (metric := metric_of(plan, name)) is not None
    ]


def _id(title: str) -> str:
    return "plot-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
