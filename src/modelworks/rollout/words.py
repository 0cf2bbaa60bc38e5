"""What was found, in sentences for somebody who knows no statistics."""

import math
from typing import Final

from modelworks.core.rollouts import Direction, Kind, Metric, Outcome
from modelworks.rollout.compare import Comparison

EVERYTHING: Final = "*"
_NOTHING: Final = 1e-9
_OFTEN: Final = {
    "error_rate": "fails",
    "accuracy": "answers rightly",
    "wrong_rate": "answers wrongly",
    "timeout_rate": "answers too late",
    "disagreement": "says something else",
}
"""Well-known rates as verbs."""


def said(
    metric: Metric,
    found: Comparison,
    outcome: Outcome,
    who: str,
    where: str = EVERYTHING,
    *,
    better: bool = False,
) -> str:
    """One comparison.

    Args:
        metric: that was compared.
        found: numbers of it.
        outcome: PROMOTE, ROLL_BACK, HOLD = neither is proved.
        who: `the new version` or an arm's name.
        where: slice; `*` = all.
        better: it has to be better, not just no worse.
    """
    prefix = "" if where == EVERYTHING else f"for {where}, "
    worse = found.difference > -_NOTHING
    sign = 1.0 if worse else -1.0
    ends = (found.low, found.high) if worse else (found.high, found.low)
    low, high = (None if end is None else sign * end for end in ends)
    size = _number(metric, abs(found.difference))
    interval = _between(metric, low, high)
    body = f"{prefix}{_body(metric, who, size, interval, worse)}"
    allowed = _number(metric, found.margin, unit=False)
    if outcome is Outcome.ROLL_BACK:
        return f"{body}; {allowed} {_were(allowed)} allowed"
    if better:
        return f"{body}: {'' if outcome is Outcome.PROMOTE else 'not yet '}proved to be better"
    if outcome is Outcome.PROMOTE:
        return f"{body}: proved to be within the {allowed} that {_are(allowed)} allowed"
    return f"{body}: not proved yet, {allowed} {_are(allowed)} allowed"


def unmeasured(metric: Metric, who: str, where: str = EVERYTHING) -> str:
    """Of a metric without sums."""
    prefix = "" if where == EVERYTHING else f"for {where}, "
    return f"{prefix}nothing was measured of {metric.name} yet for both {who} and the stable one"


def _body(metric: Metric, who: str, size: str, interval: str, worse: bool) -> str:  # noqa: FBT001
    if metric.absolute:
        verb = _OFTEN.get(metric.name)
        if verb is not None:
            return f"{who} {verb} in {size} of the answers{interval}"
        return f"{metric.name} of {who} is {size}{interval}"
    higher = worse is (metric.direction is Direction.LOWER)
    if metric.kind is Kind.RATE:
        verb = _OFTEN.get(metric.name)
        if verb is not None:
            return f"{who} {verb} {size} {'more' if higher else 'less'} often{interval}"
    if metric.kind is Kind.QUANTILE:
        share = f"{100 * (1 - metric.quantile):.3g}"
        change = "longer" if higher else "less"
        return f"the slowest {share} % of answers of {who} take {size} {change}{interval}"
    return f"{metric.name} of {who} is {size} {'higher' if higher else 'lower'}{interval}"


def _between(metric: Metric, low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if low is None or high is None:
        known = high if low is None else low
        words = "at most" if low is None else "at least"
        return f" ({words} {_number(metric, known or 0.0, unit=False)})"
    numbers = _number(metric, low, unit=False), _number(metric, high, unit=False)
    return f" ({numbers[0]} to {numbers[1]})"


def _number(metric: Metric, value: float, *, unit: bool = True) -> str:
    if metric.kind is Kind.RATE:
        text = _short(100 * value)
        if metric.absolute:
            return f"{text} %" if unit else text
        return f"{text} point{'' if text == '1' else 's'}" if unit else text
    text = _short(value)
    return f"{text} ms" if unit and metric.name.endswith("_ms") else text


def _short(value: float) -> str:
    """Two digits of what matters, and no exponent where people read."""
    if abs(value) < _NOTHING:
        return "0"
    if not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    if digits > 6:
        return f"{value:.1e}"
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def _were(number: str) -> str:
    return "was" if number == "1" else "were"


def _are(number: str) -> str:
    return "is" if number == "1" else "are"
