"""How much of an error rate may be spent up to a look, by the share of the information there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import NormalDist
from typing import Final

from modelworks.core.errors import InvalidError

_NORMAL: Final = NormalDist()


class Shape(StrEnum):
    """Of a spending function."""

    OBRIEN_FLEMING = "obrien-fleming"  # almost nothing early, almost everything at the end
    POCOCK = "pocock"  # about as much at every look
    POWER = "power"  # share of the information to a power


@dataclass(frozen=True, slots=True)
class Spending:
    """A spending function.

    Sources: the first two, Lan and DeMets, "Discrete sequential boundaries for clinical trials",
    Biometrika 70 (1983), section 3; power, Kim and DeMets, Biometrika 74 (1987), section 2.

    Attributes:
        shape: of it.
        power: of a POWER shape: 1 is near Pocock's, 3 near O'Brien and Fleming's.
    """

    shape: Shape = Shape.OBRIEN_FLEMING
    power: float = 3.0

    def upto(self, total: float, time: float) -> float:
        """What is spent up to a time.

        Args:
            total: error rate, one-sided.
            time: share of the information, 0 to 1; beyond 1 everything is spent.
        """
        if time >= 1:
            return total
        if time <= 0:
            return 0.0
        if self.shape is Shape.POCOCK:
            return total * math.log1p((math.e - 1) * time)
        if self.shape is Shape.POWER:
            return total * float(time**self.power)
        z = _NORMAL.inv_cdf(1 - total / 2)
        return 2 * _NORMAL.cdf(-z / math.sqrt(time))

    def each(self, total: float, times: Sequence[float]) -> tuple[float, ...]:
        """What each look spends."""
        upto = [0.0, *(self.upto(total, time) for time in times)]
        return tuple(after - before for before, after in pairwise(upto))


def checked(times: Sequence[float]) -> tuple[float, ...]:
    """Times of looks.

    Raises:
        InvalidError: they do not rise, or leave 0 to 1.
    """
    found = tuple(map(float, times))
    if not found or found[0] <= 0 or found[-1] > 1 + 1e-9:
        raise InvalidError("times: shares of the information between 0 and 1", field="times")
    if any(after <= before for before, after in pairwise(found)):
        raise InvalidError("times: each look is after the one before it", field="times")
    return found
