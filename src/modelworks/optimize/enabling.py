"""Pairs of passes that may help together though one of them, or neither, helps alone. Pure.

A pass that tidies, fuses or shrinks a graph is tried in front of one that computes in fewer bits,
where what helped alone would not have brought them together. What both did alone, multiplied, says
which pairs are the most promising; few are tried, for what both lose alone they mostly lose
together.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from modelworks.core.optimizing.passes import PassFacts
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.optimizing.variants import Ending, Finding, Measurement
from modelworks.optimize import scoring
from modelworks.optimize.facts import against_order, lowers, shrinks
from modelworks.optimize.planning import Candidate, Ground, candidate, tidies, ways
from modelworks.optimize.priors import expected
from modelworks.optimize.trying import unfinished

MOST: Final = 4
"""Pairs that one search tries at most."""
_MOST_OF_ONE: Final = 2  # with the same pass in front
_DOUBT: Final = 0.5  # of what a form is expected to gain that was refused alone
_LEAST: Final = 0.5  # a product below it is not made good by what passes do for each other


def enabled(
    ground: Ground, seen: Sequence[Finding], source: Measurement, tried: AbstractSet[str]
) -> list[Candidate]:
    """The pairs that are worth a trial, the most promising first.

    Args:
        ground: what the plan is made for.
        seen: what became of each pass alone.
        source: the source form's measurement.
        tried: ids of recipes that are not to be tried again.
    """
    alone = {one.recipe.id: one for one in seen}
    usable = ground.first
    hopes: list[tuple[float, Candidate]] = []
    for first in usable.values():
        if not tidies(first, ground.format) and not _smaller(first, ground.format):
            continue
        before = _of_front(ground, first, alone, source)
        for way in ways(ground.format, usable).values():
            steps = (first, *way)
            if not lowers(way[-1]) or against_order(steps):
                continue
            one = candidate(ground, steps)
            hope = before * _of_way(ground, way, alone, source, exact=first.exact)
            if hope >= _LEAST and one.recipe.id not in tried:
                hopes.append((hope, one))
    return _few(hopes)


def _smaller(facts: PassFacts, format_: str) -> bool:
    """Whether a pass makes a smaller network that other passes can read."""
    return shrinks(facts) and format_ in facts.consumes and facts.produces == format_


def _few(hopes: Sequence[tuple[float, Candidate]]) -> list[Candidate]:
    """Not all of them with the same pass in front: it may be that one which is in the way."""
    found: list[Candidate] = []
    for _, one in sorted(hopes, key=lambda item: (-item[0], item[1].recipe.title)):
        name = one.recipe.steps[0].name
        if sum(other.recipe.steps[0].name == name for other in found) < _MOST_OF_ONE:
            found.append(one)
        if len(found) == MOST:
            break
    return found


def _of_front(
    ground: Ground, first: PassFacts, alone: Mapping[str, Finding], source: Measurement
) -> float:
    """What the first pass did alone; 0 = it spoilt the answers, or could not be made."""
    found = alone.get(_id(ground, (first,)))
    if found is None or found.measured is None or found.ending is Ending.REFUSED:
        return 0.0
    return scoring.gain(ground.goal.objective, found.measured, source)


def _of_way(
    ground: Ground,
    way: tuple[PassFacts, ...],
    alone: Mapping[str, Finding],
    source: Measurement,
    *,
    exact: bool,
) -> float:
    """What the later passes did alone; what was refused may do better behind a tidier graph."""
    found = alone.get(_id(ground, way))
    if found is None or unfinished(found):
        return 0.0
    objective = ground.goal.objective
    if found.measured is None:  # the pass, or the engine, could do nothing with the graph as it is
        return _DOUBT * expected(ground.sketch.kind, objective, way) if exact else 0.0
    gain = scoring.gain(objective, found.measured, source)
    if found.ending is Ending.REFUSED:
        return _DOUBT * gain if exact else 0.0
    return gain


def _id(ground: Ground, steps: tuple[PassFacts, ...]) -> str:
    recipe: Recipe = candidate(ground, steps).recipe
    return recipe.id
