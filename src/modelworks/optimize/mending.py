"""Passes that teach what another pass's form lost: tried where a gate refused a fast one. Pure."""

from collections.abc import Collection, Sequence

from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import Ending, Finding
from modelworks.optimize.planning import Candidate, Ground


def mending(ground: Ground, refused: Sequence[Recipe]) -> list[Candidate]:
    """Forms that are taught, in place of those that were fast and lost too much.

    Args:
        ground: what the plan is made for.
        refused: recipes whose quality a gate refused, the best first.
    """
    found = []
    for recipe in refused:
        last = recipe.steps[-1] if recipe.steps else None
        if last is None or last.keep:  # taught operators need not stay in float
            continue
        for facts in ground.usable.values():
            if facts.mends == last.name:
                names = {one.name for one in facts.settings}
                same = {name: value for name, value in last.settings.items() if name in names}
                steps = (*recipe.steps[:-1], RecipeStep(facts.name, same))
                found.append(Candidate(Recipe(steps, recipe.run), 1.0, dear=True))
    return list({one.recipe.id: one for one in found}.values())


def spared(ground: Ground, ended: Collection[str]) -> list[Finding]:
    """Passes that there was nothing to mend for, with that reason.

    Args:
        ground: as before.
        ended: names of the passes that were tried to their end.
    """
    usable = ground.usable
    return [
        Finding(
            Recipe((RecipeStep(name),), Execution(facts.engine)),
            Ending.PRUNED,
            f"{name} teaches what {facts.mends} loses: no fast form of that was seen to lose much",
        )
        for name, facts in sorted(usable.items())
        if facts.mends in usable and facts.mends in ended and name not in ended
    ]
