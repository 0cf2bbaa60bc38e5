"""Rates of two arms: whether the candidate's is proved to be above a line, or below it.

A line says what is allowed: candidate's rate <= offset + slope * stable rate. Slope 1 is a margin
in points, slope 1.2 a fifth more than the stable arm, slope 0 a rate that is allowed whatever the
stable arm's is. All events are bad ones.

Two tests, because two things matter. Harm has to be found after a few dozen requests, with events
that are rare: `lowest` is exact at any count. That all is well takes thousands of requests anyway:
`highest` uses a law of large samples, behind a guard, and needs a third as many.
"""

import math
from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import InvalidError

_STABLE: Final = ((0.5, 0.5, 0.2), (1.0, 100.0, 0.35), (0.25, 100.0, 0.35), (50.0, 0.5, 0.1))
_CANDIDATE: Final = ((1.0, 3.0, 0.6), (0.5, 0.5, 0.2), (0.5, 50.0, 0.2))
"""Beta distributions (events, others, weight) that are mixed: what works is expected to fail
seldom, and what is broken to fail often. Any other truth costs a few requests more, no error."""
_GUARD: Final = 5.0
"""Events (and others) that a candidate on the line would have had, for a law of large samples."""
_AIM: Final = 3.0
"""Standard errors between what is measured and the margin, where a decision is expected."""
_ROUNDS: Final = 60
_OUTWARDS: Final = 1.002
_CLOSE: Final = 1.01
_EXACT: Final = 1e-6
"""How far outwards the ends of intervals may be told; decisions are exact."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Bad events among requests.

    Attributes:
        events: of them.
        count: of requests.

    Raises:
        InvalidError: more events than requests.
    """

    events: float
    count: float

    def __post_init__(self) -> None:
        """Counts are what they are."""
        if not 0 <= self.events <= self.count:
            words = f"{self.events:g} events of {self.count:g} requests"
            raise InvalidError(f"sums: {words}: send each request once", field="sums")

    @property
    def rate(self) -> float:
        """0 where nothing came."""
        return self.events / self.count if self.count else 0.0


def lowest(stable: Arm, candidate: Arm, slope: float, at: float, alpha: float) -> float:
    """The least offset of a line that the candidate may still be under, at any time of looking.

    Valid for any number of requests of either arm, shared out in any way that does not look ahead.
    Source: the likelihood of all counts under a mixture of rates, over the largest likelihood that
    rates on the line give them, exceeds 1 / alpha ever with probability alpha at most where the
    truth is under the line: Wasserman, Ramdas and Balakrishnan, "Universal inference", PNAS 117
    (2020), section 8; a mixture as in Robbins, Annals of Mathematical Statistics 41 (1970).

    Args:
        stable: bad events of the stable arm; with slope 0 nobody's.
        candidate: of the candidate.
        slope: of the line.
        at: offset that matters: the answer is above it exactly where the candidate is proved to be
            over the line, and else it is rounded downwards.
        alpha: chance of ever being too high.
    """
    estimate = candidate.rate - slope * stable.rate
    if not candidate.count or (slope and not stable.count):
        return -slope
    needed = _needed(stable, candidate, alpha)
    if at < estimate and profile(stable, candidate, slope, at) < needed:
        found = _end(stable, candidate, slope, (estimate, at), needed)
        return max(found, math.nextafter(at, 2))
    return _end(stable, candidate, slope, (min(estimate, at), -slope), needed)


def highest(
    stable: Arm, candidate: Arm, slope: float, at: float, alpha: float, aim: float
) -> float:
    """The greatest offset of a line that the candidate may still be over, at any time of looking.

    Asymptotic, with the variance that rates on the line have (Farrington and Manning, Statistics in
    Medicine 9, 1990), so that no errors at all are not taken for no variance; the candidate on the
    line would have had `_GUARD` events before anything is proved. Source of the boundary: the
    one-sided normal mixture of Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49
    (2021), section 3.2, its parameter by section 3.5; that it holds for estimates in the limit:
    Waudby-Smith and others, Annals of Statistics 52 (2024), theorem 2.2.

    Args:
        stable: bad events of the stable arm; with slope 0 nobody's.
        candidate: of the candidate.
        slope: of the line.
        at: offset that matters: the answer is below it exactly where the candidate is proved to be
            under the line.
        alpha: chance of ever being too low.
        aim: distance that is to be shown; the test is sharpest for it.
    """
    if not candidate.count or (slope and not stable.count):
        return 1.0
    estimate = candidate.rate - slope * stable.rate
    if estimate < at:
        found = estimate + _radius(stable, candidate, slope, at, alpha, aim)
        if found < at:
            return found
    # nothing is proved: the exact interval, which is the shorter one while there is little
    needed = _needed(stable, candidate, alpha)
    return max(at, _end(stable, candidate, slope, (estimate, 1.0), needed))


def _needed(stable: Arm, candidate: Arm, alpha: float) -> float:
    """The log-likelihood that rates must give to the counts, not to be refuted."""
    return _mixed(stable, _STABLE) + _mixed(candidate, _CANDIDATE) + math.log(alpha)


def _end(
    stable: Arm, candidate: Arm, slope: float, span: tuple[float, float], needed: float
) -> float:
    """Where the offsets end that are not refuted, from one that is not to the other; outwards.

    The root of what likelihood is lost is close to a straight line: a few steps along it do.
    """
    inside, outside = span
    top = profile(stable, candidate, slope, inside)

    def lost(offset: float) -> float:
        return math.sqrt(max(top - profile(stable, candidate, slope, offset), 0.0))

    wanted, before, beyond = math.sqrt(max(top - needed, 0.0)), 0.0, lost(outside)
    if beyond <= wanted:
        return outside
    for turn in range(_ROUNDS):
        share = 0.5
        if math.isfinite(beyond) and turn % 4 != 3:
            share = (wanted * _OUTWARDS - before) / (beyond - before)
        at = inside + min(max(share, 0.0), 1.0) * (outside - inside)
        found = lost(at)
        if found <= wanted:
            inside, before = at, found
        else:
            outside, beyond = at, found
        if wanted < beyond <= wanted * _CLOSE or abs(outside - inside) < _EXACT:
            break
    return outside


def profile(stable: Arm, candidate: Arm, slope: float, offset: float) -> float:
    """The largest log-likelihood that rates on a line give to the counts."""
    rate = _on_line(stable, candidate, slope, offset)
    if rate is None:
        return -math.inf
    return _likelihood(stable, rate) + _likelihood(candidate, offset + slope * rate)


def _on_line(stable: Arm, candidate: Arm, slope: float, offset: float) -> float | None:
    """The stable rate at which rates on the line are likeliest: by Newton's steps, fenced in."""
    if slope == 0:
        return stable.rate if 0 <= offset <= 1 else None
    low, high = max(0.0, -offset / slope), min(1.0, (1 - offset) / slope)
    if low > high:
        return None
    a, b = stable.events, stable.count - stable.events
    c, d = candidate.events, candidate.count - candidate.events
    edge = 1e-6 * (high - low)
    both = stable.count + slope * candidate.count
    rate = (a + 0.5 + c - offset * candidate.count) / (both + 1)
    rate = min(max(rate, low + edge), high - edge)
    for _ in range(_ROUNDS):
        other = offset + slope * rate
        if not (0 < rate < 1 and 0 < other < 1):
            break
        left, right = slope * c / other, slope * d / (1 - other)
        gradient = a / rate - b / (1 - rate) + left - right
        low, high = (rate, high) if gradient > 0 else (low, rate)
        bend = a / rate**2 + b / (1 - rate) ** 2 + (left**2 / c if c else 0)
        bend += right**2 / d if d else 0
        found = rate + gradient / bend if bend > 0 else (low + high) / 2
        if not low < found < high:
            found = (low + high) / 2
        if abs(found - rate) <= 1e-11 + 1e-9 * rate:
            return found
        rate = found
    return rate


def _radius(
    stable: Arm, candidate: Arm, slope: float, offset: float, alpha: float, aim: float
) -> float:
    rate = _on_line(stable, candidate, slope, offset)
    if rate is None:
        return 1.0
    other = min(max(offset + slope * rate, 0.0), 1.0)
    variance = other * (1 - other) / candidate.count
    if candidate.count * other * (1 - other) < _GUARD:
        return 1.0
    if slope:
        variance += slope**2 * rate * (1 - rate) / stable.count
    return half_width(variance, alpha, aim)


def half_width(variance: float, alpha: float, aim: float) -> float:
    """How far an estimate may be off to one side, ever: the normal mixture's.

    Args:
        variance: of the estimate.
        alpha: chance of ever being farther off.
        aim: distance at which it is tightest.
    """
    information = 1 / variance
    wanted = (_AIM / aim) ** 2
    prior = wanted / (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha)))
    both = information + prior
    return math.sqrt(2 * both * math.log1p(math.sqrt(both / prior) / (2 * alpha))) / information


def _mixed(arm: Arm, priors: tuple[tuple[float, float, float], ...]) -> float:
    """Log-likelihood of an arm's counts under a mixture of beta distributions."""
    events, others = arm.events, arm.count - arm.events
    found = [
        math.log(weight) + _beta(a + events, b + others) - _beta(a, b) for a, b, weight in priors
    ]
    top = max(found)
    return top + math.log(sum(math.exp(one - top) for one in found))


def _beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _likelihood(arm: Arm, rate: float) -> float:
    events, others = arm.events, arm.count - arm.events
    if (events and rate <= 0) or (others and rate >= 1):
        return -math.inf
    found = events * math.log(rate) if events else 0.0
    return found + (others * math.log1p(-rate) if others else 0.0)
