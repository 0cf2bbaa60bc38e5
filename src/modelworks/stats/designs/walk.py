"""A Brownian motion that is looked at now and then and stops at bounds, by numerical integration.

Source: Armitage, McPherson and Rowe, "Repeated significance tests on accumulating data", JRSS A 132
(1969), section 3; Jennison and Turnbull, "Group Sequential Methods" (2000), chapter 19. The pieces
between the bounds are integrated by Gauss and Legendre's
rule.
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FAR: Final = 9.0  # standard deviations: nothing lies beyond
_FEWEST: Final = 48
_DENSITY: Final = 4.0  # nodes a standard deviation of the step
_HALVINGS: Final = 60


class Walk:
    """Where a score that has not stopped lies; the score has mean `drift * time`, variance `time`.

    Args:
        drift: mean of the z-value at time 1.
    """

    def __init__(self, drift: float = 0.0) -> None:
        self.drift = drift
        self.time = 0.0
        self._nodes: Floats = np.zeros(1)
        self._mass: Floats = np.ones(1)

    def below(self, time: float, z: float) -> float:
        """Chance of being still on the way, and below a z-value at the next look."""
        return float(self._mass @ _below(self._steps(time, z * math.sqrt(time))))

    def above(self, time: float, z: float) -> float:
        """Chance of being still on the way, and above a z-value at the next look."""
        return float(self._mass @ _below(-self._steps(time, z * math.sqrt(time))))

    def upper(self, time: float, chance: float) -> float:
        """The z-value above which it is with a chance; infinite where the chance is nothing."""
        return -self._edge(time, chance, -1.0)

    def lower(self, time: float, chance: float) -> float:
        """The z-value below which it is with a chance; -infinite where the chance is nothing."""
        return self._edge(time, chance, 1.0)

    def go_on(self, time: float, low: float, high: float) -> None:
        """The next look was at a time, and only what lay between two z-values goes on."""
        root, step = math.sqrt(time), math.sqrt(time - self.time)
        first = max(low * root, self.drift * time - _FAR * root)
        last = min(high * root, self.drift * time + _FAR * root)
        if last <= first:
            self.time, self._nodes, self._mass = time, np.zeros(1), np.zeros(1)
            return
        count = max(_FEWEST, math.ceil(_DENSITY * (last - first) / step))
        points, weights = _rule(count)
        nodes = first + (last - first) * points
        moved = (nodes[:, None] - self._nodes - self.drift * (time - self.time)) / step
        density = np.exp(-0.5 * moved * moved) @ self._mass / (step * math.sqrt(2 * math.pi))
        self.time, self._nodes, self._mass = time, nodes, density * weights * (last - first)

    def _steps(self, time: float, score: float) -> Floats:
        apart = time - self.time
        found: Floats = (score - self._nodes - self.drift * apart) / math.sqrt(apart)
        return found

    def _edge(self, time: float, chance: float, side: float) -> float:
        if chance <= 1e-15:
            return -math.inf
        reach = _FAR + abs(self.drift)
        low, high = -reach, reach
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            steps = side * self._steps(time, side * middle * math.sqrt(time))
            if float(self._mass @ _below(steps)) < chance:
                low = middle
            else:
                high = middle
        return low


def _below(z: Floats) -> Floats:
    from scipy.special import ndtr  # noqa: PLC0415 - a quarter of a second of import

    found: Floats = ndtr(z)
    return found


def _rule(count: int) -> tuple[Floats, Floats]:
    """At least so many points and weights from 0 to 1, in pieces of sixteen."""
    points, weights = _piece()
    pieces = -(-count // len(points))
    starts = np.arange(pieces)[:, None]
    return ((starts + points) / pieces).ravel(), np.tile(weights / pieces, pieces)


@lru_cache(maxsize=1)
def _piece() -> tuple[Floats, Floats]:
    points, weights = np.polynomial.legendre.leggauss(16)
    return (points + 1) / 2, weights / 2
