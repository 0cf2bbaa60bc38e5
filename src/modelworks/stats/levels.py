"""Levels: how far a number is off, robustly, and whether the level of many has changed.

CUSUM: Page, Continuous inspection schemes, Biometrika 41, 1954; its average run length: Siegmund,
Sequential Analysis, 1985, with the correction of 1.166 for discrete time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_MAD: Final = 1.4826022185056018  # 1 / the normal distribution's 75 % point
_MEAN: Final = 1.2533141373155001  # sqrt(pi / 2)
_OVERSHOOT: Final = 1.166
_HIGHEST: Final = 100.0


@dataclass(frozen=True, slots=True)
class Level:
    """Where numbers lie.

    Attributes:
        centre: their median.
        scale: their scatter, as a standard deviation: by the MAD; where more than half are the
            same, by the mean deviation (Iglewicz and Hoaglin 1993); 0 = all are the same.
        count: of them.
    """

    centre: float
    scale: float
    count: int

    def z(self, value: float) -> float:
        """How many standard deviations a number is off; infinite where none ever was."""
        off = value - self.centre
        if self.scale > 0:
            return off / self.scale
        return math.copysign(math.inf, off) if off else 0.0


def level(values: Sequence[float]) -> Level:
    """Where numbers lie; at least one."""
    found = np.asarray(values, dtype=np.float64)
    centre = float(np.median(found))
    off = np.abs(found - centre)
    scale = _MAD * float(np.median(off))
    return Level(centre, scale or _MEAN * float(off.mean()), len(found))


def limit(shift: float, false_alarm_every: float, *, both: bool) -> float:
    """The CUSUM's limit, in standard deviations, for a rate of false alarms.

    Args:
        shift: that is to be found; half of it is the reference value.
        false_alarm_every: samples, on average, of independent normal numbers.
        both: two sums run, one each way: each may raise half of the false alarms.
    """
    wanted = false_alarm_every * (2.0 if both else 1.0)
    low, high = 0.0, _HIGHEST
    for _ in range(100):
        middle = (low + high) / 2
        if run_length(middle, shift) < wanted:
            low = middle
        else:
            high = middle
    return high


def run_length(height: float, shift: float, actual: float = 0.0) -> float:
    """Samples until a one-sided CUSUM passes its limit, on average (Siegmund).

    Args:
        height: the limit.
        shift: that it looks for.
        actual: that there is; 0 = until a false alarm.
    """
    drift = actual - shift / 2
    reach = height + _OVERSHOOT
    if abs(drift) < 1e-9:
        return reach * reach
    power = -2 * drift * reach
    if power > 700:
        return math.inf
    return (math.exp(power) - power - 1) / (2 * drift * drift)


def cusum(z: Sequence[float], shift: float) -> tuple[float, float]:
    """The two sums after the last of some standardized numbers: upwards, downwards."""
    up = down = 0.0
    reference = shift / 2
    for value in z:
        up = max(0.0, up + value - reference)
        down = max(0.0, down - value - reference)
    return up, down
