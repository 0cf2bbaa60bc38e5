"""Figures of a roll-out as people read them: points of a rate, milliseconds, spans. Pure."""

import math
from typing import Final

from modelworks.core.rollouts import Finding, Kind, Metric, Plan

NONE: Final = "\N{EN DASH}"
_SPANS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def metric_of(plan: Plan, name: str) -> Metric | None:
    """A metric of a plan; None = it has none of that name."""
    return next((one for one in (plan.primary, *plan.guardrails) if one.name == name), None)


def measured(finding: Finding) -> bool:
    """Whether a finding rests on anything."""
    return finding.low is not None or finding.high is not None


def value(metric: Metric | None, number: float) -> str:
    """An arm's figure: `2.3 %`, `14 ms`, `0.042`."""
    if metric is not None and metric.kind is Kind.RATE:
        return f"{_short(100 * number)} %"
    return f"{_short(number)}{_unit(metric)}"


def apart(metric: Metric | None, number: float | None) -> str:
    """A difference, with its sign: `+1.6`; a rate's are points; ? = nothing is known."""
    if number is None:
        return "?"
    shown = 100 * number if metric is not None and metric.kind is Kind.RATE else number
    sign = "+" if shown > 0 else ""
    return f"{sign}{_short(shown)}"


def between(metric: Metric | None, low: float | None, high: float | None) -> str:
    """`-0.2 to +1.6 points`."""
    return f"{apart(metric, low)} to {apart(metric, high)}{points(metric)}"


def allowed(metric: Metric | None, finding: Finding) -> str:
    """The margin of a finding; before anything was measured a relative one has no unit."""
    if metric is not None and metric.relative and not measured(finding):
        return f"{_short(100 * metric.margin)} % of the stable one"
    return apart(metric, finding.margin).lstrip("+") + points(metric)


def points(metric: Metric | None) -> str:
    """The unit of a metric's differences, after a space; empty = none."""
    if metric is not None and metric.kind is Kind.RATE:
        return " %" if metric.absolute else " points"
    return _unit(metric)


def span(seconds: float) -> str:
    """`90 s`, `10 min`, `1.5 h`, `2 d`."""
    for size, unit in _SPANS:
        if seconds >= size and (size == 1 or seconds / size >= 2 or not seconds % size):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


def share(part: float) -> str:
    """`5 %`."""
    return f"{_short(100 * part)} %"


def findings_rows(plan: Plan, found: tuple[Finding, ...]) -> list[list[str]]:
    """A line a finding, below `HEAD`."""
    rows = []
    for one in found:
        metric = metric_of(plan, one.metric)
        known = measured(one)
        numbers = [
            value(metric, number) if known else NONE for number in (one.stable, one.candidate)
        ]
        apart_ = between(metric, one.low, one.high) if known else NONE
        where = "all" if one.slice == "*" else one.slice
        rows.append(
            [one.metric, where, one.arm, *numbers, apart_, allowed(metric, one), SAYS[one.outcome]]
        )
    return rows


HEAD: Final = ("metric", "slice", "arm", "stable", "candidate", "worse by", "allowed", "says")
SAYS: Final = {
    "promote": "fine",
    "hold": "not proved",
    "roll back": "harmed",
    "inconclusive": "not proved",
}
"""An outcome of one comparison, in a word."""


def _unit(metric: Metric | None) -> str:
    return " ms" if metric is not None and metric.name.endswith("_ms") else ""


def _short(number: float) -> str:
    """Three digits of what matters, and no exponent where people read."""
    if not math.isfinite(number):
        return f"{number:g}"
    if abs(number) < 1e-9:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    if digits > 7:
        return f"{number:.1e}"
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
