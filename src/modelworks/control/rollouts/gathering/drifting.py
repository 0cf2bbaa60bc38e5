"""How differently two arms answer: the distributions of what they said since a step began."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts.gathering.answers import Said, floats, labels
from modelworks.core.rollouts import Sums
from modelworks.rollout.shadow.tally import Form
from modelworks.stats.sequences import distances

NAME: Final = "drift"
MOST: Final = 100_000
"""Numbers of an arm that are kept; what comes later in a step is not looked at."""
NAMING: Final = 200
"""Answers of the stable arm that say which classes there are, where the model does not; they are
not counted, so that what is counted has nothing to do with the choice."""
CLASSES: Final = 32
"""The others are one more class together."""


@dataclass(slots=True)
class Spread:
    """Answers of both arms, of all requests or of a slice.

    Attributes:
        numbers: of the stable arm and of the candidate, in portions.
        counts: by class.
    """

    numbers: tuple[list[Any], list[Any]] = field(default_factory=lambda: ([], []))
    counts: tuple[dict[str, int], dict[str, int]] = field(default_factory=lambda: ({}, {}))


@dataclass(slots=True)
class Drift:
    """What is known of one candidate beside the stable arm.

    Attributes:
        spreads: by slice; `*` = all.
        names: of the classes; empty = not known yet.
        naming: answers of the stable arm that say them, where the model does not.
    """

    spreads: dict[str, Spread] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    naming: list[str] = field(default_factory=list)

    def add(self, arm: int, of: Said, values: Sequence[Any], slices: dict[str, Any]) -> None:
        """Count some answers.

        Args:
            arm: 0 = stable, 1 = candidate.
            of: where they stood.
            values: [n].
            slices: name -> which of them lie in it, [n].
        """
        if of.form is Form.SCORES:
            found = floats(values)
            for name, mask in slices.items():
                known = self.spreads.setdefault(name, Spread()).numbers[arm]
                room = MOST - sum(map(len, known))
                some = found[mask & ~np.isnan(found)][:room]
                if len(some):
                    known.append(some)
            return
        said = labels(values, of)
        first = self._name(of, said) if not self.names and not arm else 0
        if not self.names:
            return  # the candidate's answers count when it is known what to count
        for name, mask in slices.items():
            counts = self.spreads.setdefault(name, Spread()).counts[arm]
            for place in np.flatnonzero(mask):
                if place >= first:
                    one = said[place] if said[place] in self.names else ""
                    counts[one] = counts.get(one, 0) + 1

    def _name(self, of: Said, said: Sequence[str]) -> int:
        """Fix the classes, where enough is known; how many of the answers were needed for it."""
        if of.classes:
            self.names = of.classes[:CLASSES]
            return 0
        wanted = NAMING - len(self.naming)
        self.naming += said[:wanted]
        if len(self.naming) >= NAMING:
            self.names = tuple(dict.fromkeys(self.naming))[:CLASSES]
        return min(wanted, len(said))

    def sums(self, where: str, harm: float, fine: float) -> tuple[Sums, Sums] | None:
        """The distance as both arms' given figures; None = nothing is known.

        Of numbers it is the Kolmogorov-Smirnov distance, of classes the total variation.

        Args:
            where: slice; `*` = all.
            harm: chance that its lower end is ever too high.
            fine: chance that its upper end is ever too low.
        """
        found = self.spreads.get(where)
        if found is None:
            return None
        if any(found.numbers):
            one, other = (np.concatenate(some) if some else np.zeros(0) for some in found.numbers)
            counts = len(one), len(other)
            ends = [distances.numbers(one, other, alpha) for alpha in (harm, fine)]
        else:
            others = bool(self.naming) or any("" in one for one in found.counts)
            used = (*self.names, "") if others else self.names
            first, second = ([one.get(name, 0) for name in used] for one in found.counts)
            counts = sum(first), sum(second)
            ends = [distances.classes(first, second, alpha) for alpha in (harm, fine)]
        if not min(counts):
            return None
        (figure, least), (_, most) = ends
        return Sums(counts[0]), Sums(counts[1], figure, low=least.low, high=most.high)
