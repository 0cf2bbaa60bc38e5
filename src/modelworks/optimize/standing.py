"""How a search stands while it runs: the forms that nothing else beats so far. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Finding, Goal, Measurement
from modelworks.optimize import scoring


@dataclass(frozen=True, slots=True)
class Leader:
    """A form that nothing else beats so far.

    Attributes:
        title: of its recipe.
        times: number of rows -> how many times faster than the source form.
        size: how many times smaller than it.
    """

    title: str
    times: dict[int, float]
    size: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a search stands.

    Attributes:
        front: the best at what is asked for first.
        tried: candidates that are finished.
        left_s: seconds that are left of the budget.
    """

    front: tuple[Leader, ...]
    tried: int
    left_s: float


Watch = Callable[[Standing], None]


def unwatched(standing: Standing) -> None:
    """Nobody looks."""


def front_of(kept: Iterable[Finding], goal: Goal, source: Measurement | None) -> tuple[Leader, ...]:
    """The front of forms that passed their gates and are worth it, by what was measured so far."""
    if source is None:
        return ()
    measured = {
        one.recipe.title: one.measured
        for one in kept
        if one.measured is not None
        and scoring.better(goal, one.measured, source).verdict is Verdict.PASSED
    }
    return tuple(
        _leader(title, measured[title], source)
        for title in scoring.chosen(goal.objective, measured, source)
    )


def _leader(title: str, found: Measurement, source: Measurement) -> Leader:
    told = scoring.ratios(found, source)
    times = {one.rows: told[f"rows {one.rows}"] for one in found.times}
    return Leader(title, times, told["size"])
