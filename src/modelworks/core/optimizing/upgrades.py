"""Recipes and forms that another version of a pass wrote than the one that is here."""

from collections.abc import Iterator, Mapping

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.passes import PassFacts, settled
from modelworks.core.optimizing.recipes import Recipe, RecipeStep


def every_step(recipe: Recipe) -> Iterator[RecipeStep]:
    """Its steps, and those of its parts."""
    for one in (recipe, *recipe.parts):
        yield from one.steps


def checked(step: RecipeStep, facts: PassFacts) -> str:
    """Whether a step of a recipe can be done by the pass that is here as it was meant.

    Args:
        step: as the recipe has it.
        facts: of the pass of that name.

    Returns:
        What is to be known beside the result, in one sentence; empty = nothing.

    Raises:
        InvalidError: it was written by a later version of the pass, or asks for what this one does
            not have; `field` names it.
    """
    was, now = step.version, facts.version
    between = f"the recipe was written by {facts.name} {was}, and here is {now}"
    if was > now:
        raise InvalidError(f"{between}: update Modelworks to apply it", field="version")
    try:
        settled(facts, step.settings)
    except InvalidError as error:
        if was in {0, now}:
            raise
        cure = "take the setting out of the recipe, or apply it where it was written"
        raise InvalidError(f"{error.message}; {between}: {cure}", field=error.field) from error
    if step.keep and not facts.keeps:
        raise InvalidError(
            f"{facts.name} leaves no operators in float: take 'keep' out of its step", field="keep"
        )
    if was in {0, now}:
        return ""
    return f"{between}: defaults and bytes may differ, and the form is judged like any other"


def stamped(recipe: Recipe, facts: Mapping[str, PassFacts]) -> Recipe:
    """The recipe with the versions of the passes that are here."""
    return recipe.versioned({name: one.version for name, one in facts.items()})


def aged(recipe: Recipe, facts: Mapping[str, PassFacts]) -> list[str]:
    """What has changed since a form was made, a sentence a pass.

    Args:
        recipe: of the form.
        facts: of the passes that are here, by name.
    """
    found = []
    for step in every_step(recipe):
        known = facts.get(step.name)
        if known is None:
            found.append(f"the pass {step.name} cannot be used here: the form cannot be made anew")
        elif not step.version:
            found.append(
                f"made before recipes told the version of {step.name}; here it is {known.version}"
            )
        elif step.version != known.version:
            found.append(
                f"made by {step.name} {step.version}, which is {known.version} here: the form is "
                "served as it is; `modelworks optimize apply` with its recipe makes it anew"
            )
    return list(dict.fromkeys(found))
