"""A form with fewer bits that lost too much: the operators to blame go back to float.

Which ones those are is found by halving: of two halves of the operators the one that brings the
answers nearer to the source form's, when it is kept in float, holds more of the blame. Halves are
halved until a group is small; it is kept for good, the gates are asked, and where they still say no
the next group is looked for among the rest. The number of trials is bounded.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from modelworks.core.errors import ModelworksError
from modelworks.core.optimizing.recipes import Recipe
from modelworks.optimize.applying import Failure, Say
from modelworks.optimize.bench import Bench

TRIALS: Final = 24
"""Forms that one search for the operators to blame makes at most."""
_SMALLEST: Final = 16  # parts of the whole: below it a group is kept as one


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays in float.

    Attributes:
        recipe: with the operators in it.
        trials: forms that were made to find them.
        notes: how it went, one sentence each.
    """

    recipe: Recipe
    trials: int
    notes: tuple[str, ...]


class Fallback:
    """Looks for the operators to blame in one form.

    Args:
        bench: makes and compares forms.
        recipe: of the form; its last pass can keep operators.
        operators: that it changed, in the model's order.
        until: monotonic seconds at which the time is over.
        say: told how it goes.
    """

    def __init__(
        self, bench: Bench, recipe: Recipe, operators: Sequence[str], until: float, say: Say
    ) -> None:
        self.trials = 0
        self._bench, self._recipe, self._until, self._say = bench, recipe, until, say
        self._operators = tuple(operators)
        self._seen: dict[frozenset[str], float] = {}

    def search(self, good: Callable[[Recipe], bool | None]) -> Kept | None:
        """Keep group after group in float until a form is good.

        Args:
            good: tries a form in full: True = it passes, False = it loses too much still, None =
                it is not worth it any more.

        Returns:
            The first form that passes; None = there is none within the trials and the time.
        """
        kept: frozenset[str] = frozenset(self._recipe.steps[-1].keep)
        notes: list[str] = []
        while len(kept) < len(self._operators):
            group = self._to_blame(kept)
            if not group:
                return None
            kept |= set(group)
            notes.append(f"{', '.join(group[:4])}{'...' if len(group) > 4 else ''} kept in float")
            found = good(self._with(kept))
            if found:
                return Kept(self._with(kept), self.trials, tuple(notes))
            if found is None or self._over():
                return None
        return None

    def _to_blame(self, kept: frozenset[str]) -> tuple[str, ...]:
        """The group that, kept in float too, helps most; empty = none was found in time."""
        group = tuple(name for name in self._operators if name not in kept)
        small = max(1, math.ceil(len(self._operators) / _SMALLEST))
        while len(group) > small:
            middle = len(group) // 2
            halves = (group[:middle], group[middle:])
            far = [self._difference(kept | set(half)) for half in halves]
            if min(far) == math.inf:
                return ()
            group = halves[far.index(min(far))]
        return group

    def _difference(self, kept: frozenset[str]) -> float:
        """How far the answers are with these in float; infinite = it could not be found out."""
        if kept in self._seen:
            return self._seen[kept]
        if self._over():
            return math.inf
        self.trials += 1
        self._say(f"looking for the operators to blame: trial {self.trials}")
        form = self._bench.make(self._with(kept), self._until, self._say)
        try:
            far = (
                math.inf if isinstance(form, Failure) else self._bench.difference(form, self._until)
            )
        except ModelworksError:
            far = math.inf
        self._bench.let_go(self._with(kept))
        self._seen[kept] = far if far == far else math.inf  # noqa: PLR0124 - NaN is as far as can be
        return self._seen[kept]

    def _with(self, kept: frozenset[str]) -> Recipe:
        """The recipe with operators kept, in the model's order."""
        *before, last = self._recipe.steps
        names = tuple(name for name in self._operators if name in kept)
        return replace(self._recipe, steps=(*before, replace(last, keep=names)))

    def _over(self) -> bool:
        return self.trials >= TRIALS or time.monotonic() >= self._until
