"""Forms of fewer bits, still of the source's format, given to engines of other formats. Pure.

A graph that carries its own scales is read by more than one engine, and which of them computes it
faster is not known beforehand: a MobileNetV2-like network rounded for ONNX Runtime was 18 % faster
at 16 rows in OpenVINO, compiled for that number of rows.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.optimize import running
from modelworks.optimize.facts import against_order, lowers
from modelworks.optimize.planning import Candidate, Ground, moves, ways

_MOST: Final = 2  # forms that are moved


def moved(ground: Ground, good: Sequence[Recipe], tried: Iterable[str]) -> list[Candidate]:
    """What the best such forms are elsewhere, with their settings as they are.

    Args:
        ground: what the plan is made for.
        good: recipes that passed their gates, the best first.
        tried: ids of recipes that are not to be tried again.
    """
    usable, known = ground.usable, set(tried)
    elsewhere = [way for way in ways(ground.format, usable).values() if moves(way, ground.format)]
    rounded = [one for one in good if _rounded(ground, one)][:_MOST]
    found = {}
    for recipe in rounded:
        steps = tuple(usable[step.name] for step in recipe.steps)
        for way in elsewhere:
            if against_order((*steps, *way)):
                continue
            engine = way[-1].engine
            made = (*recipe.steps, *(RecipeStep(one.name) for one in way))
            options = running.sized(engine, ground.goal, ground.often)
            one = Candidate(Recipe(made, Execution(engine, options)), 1.0)
            found[one.recipe.id] = one
    return [one for id_, one in found.items() if id_ not in known]


def _rounded(ground: Ground, recipe: Recipe) -> bool:
    """Whether it is of fewer bits, and still of the source's format."""
    facts = [ground.usable.get(step.name) for step in recipe.steps]
    if not facts or recipe.parts or None in facts:
        return False
    last = facts[-1]
    return (
        last is not None
        and last.produces == ground.format
        and any(lowers(one) for one in facts if one is not None)
    )
