"""What a confidence sequence says at one look."""

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Between:
    """An interval of a confidence sequence: all looks together miss the truth with chance alpha.

    Attributes:
        low: lower end; -inf = nothing is known.
        high: upper end; inf = nothing is known.
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value is not refuted."""
        return self.low <= value <= self.high


ANYTHING: Final = Between(-math.inf, math.inf)
