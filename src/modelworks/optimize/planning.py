"""Which forms are tried, and in which order. Pure: decides by facts, names and what was found.

Three rounds: every pass by its shortest way from the source form; then what helped, put together;
then settings and options of the best; and so once more with passes that train. A round is planned
when the one before is over, so that the number of forms grows with what helps and not with what is
installed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from modelworks.core.optimizing.passes import Need, PassFacts
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import Ending, Finding, Goal, Objective
from modelworks.core.served import ENGINES
from modelworks.optimize import running
from modelworks.optimize.facts import Have, Known, against_order, against_pass, shrinks, trains
from modelworks.optimize.priors import expected
from modelworks.optimize.sketch import Sketch

_LONGEST: Final = 4  # passes on the way to one format
_BEST: Final = 3  # forms that later rounds start from
_MOST_CHOICES: Final = 6  # values of a setting that are worth trying one by one
_MOST_VARIED: Final = 8  # forms that differ from one by a setting
_HOPED: Final = 1.5  # of an option that a processor or an accelerator has units for


@dataclass(frozen=True, slots=True)
class Candidate:
    """A form that may be tried.

    Attributes:
        recipe: how it is made and run.
        expected: about how many times better it may be; orders the search.
        dear: it trains a network: it waits until the others were tried.
    """

    recipe: Recipe
    expected: float
    dear: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan is made for.

    Attributes:
        format: of the source form.
        sketch: of its network.
        goal: what is wanted.
        known: passes of this installation.
        have: what they can be given.
        often: sizes of the inputs' free axes behind that of the rows; None = nobody knows them.
    """

    format: str
    sketch: Sketch
    goal: Goal
    known: Known
    have: Have
    often: tuple[int, ...] | None = None

    @property
    def usable(self) -> dict[str, PassFacts]:
        """Passes that nothing speaks against."""
        facts = self.known.facts
        return {name: one for name, one in facts.items() if not against_pass(one, self.have)}

    @property
    def first(self) -> dict[str, PassFacts]:
        """Those to begin with: none that teaches what another one of them loses."""
        usable = self.usable
        return {name: one for name, one in usable.items() if one.mends not in usable}


def pruned(ground: Ground) -> list[Finding]:
    """What is not tried, and why: facts about passes alone."""
    told = dict(ground.known.absent)
    for name, facts in ground.known.facts.items():
        why = against_pass(facts, ground.have)
        if why:
            told[name] = why
    usable = ground.usable
    for name in usable.keys() - ways(ground.format, usable).keys():
        wanted = " or ".join(usable[name].consumes)
        told[name] = f"{name} reads {wanted}, which nothing here makes of {ground.format}"
    return [
        Finding(_alone(name, ground.known.facts), Ending.PRUNED, why)
        for name, why in sorted(told.items())
    ]


def singles(ground: Ground) -> list[Candidate]:
    """The first round: every pass that can be reached, the most promising first."""
    usable = ground.first
    every = ways(ground.format, usable).values()
    found = [one for way in every for one in (candidate(ground, way), *_at_once(ground, way))]
    found += _run_otherwise(ground, Recipe(run=Execution(ENGINES.get(ground.format, ""))))
    return _ordered(found)


def composed(ground: Ground, good: Sequence[Recipe], tried: Iterable[str]) -> list[Candidate]:
    """The second round: what helped by itself, put together; smaller networks in other engines.

    Args:
        ground: as before.
        good: recipes that passed their gates, the best first.
        tried: ids of recipes that are not to be tried again.
    """
    usable, known = ground.usable, set(tried)
    helped = [
        tuple(usable[step.name] for step in one.steps)
        for one in good
        if one.steps and all(step.name in usable for step in one.steps)
    ]
    fronts = [way for way in helped if len(way) == 1 and shrinks(way[0])][:_BEST]
    tidy = [(one,) for one in usable.values() if tidies(one, ground.format)]
    # Of a smaller network the engine's own time is the larger part: another one may be better now.
    elsewhere = [way for way in ways(ground.format, usable).values() if moves(way, ground.format)]
    found = []
    for front in (*fronts, *tidy):
        behind = [way for way in helped if way[0].name != front[0].name][: 2 * _BEST]
        for way in behind[:_BEST] if front in tidy else (*behind, *elsewhere):
            steps = (*front, *way)
            if not against_order(steps):
                found.append(candidate(ground, steps))
    unique = {one.recipe.id: one for one in found if one.recipe.id not in known}
    return _ordered(unique.values())


def varied(ground: Ground, good: Sequence[Recipe], tried: Iterable[str]) -> list[Candidate]:
    """The third round: other settings and options of the best forms.

    Args:
        ground: as before.
        good: recipes worth it, the best first: those that passed, and fast ones that lost quality.
        tried: ids of recipes that are not to be tried again.
    """
    known = set(tried)
    found: list[Candidate] = []
    for recipe in _apart(ground, good)[:_BEST]:
        found += _run_otherwise(ground, recipe)  # the form is made already
        found += _settings(ground, recipe)[:_MOST_VARIED]
    unique = {one.recipe.id: one for one in found if one.recipe.id not in known}
    return list(unique.values())


def _apart(ground: Ground, good: Sequence[Recipe]) -> list[Recipe]:
    """The best of those that differ by tidying alone: their settings do the same for each."""
    facts = ground.known.facts
    found: dict[str, Recipe] = {}
    for one in good:
        steps = tuple(
            step
            for step in one.steps
            if step.name not in facts or not tidies(facts[step.name], ground.format)
        )
        # Tidying alone is a form as well, beside what is as it came.
        found.setdefault(replace(one, steps=steps or one.steps).id, one)
    return list(found.values())


def ways(start: str, usable: Mapping[str, PassFacts]) -> dict[str, tuple[PassFacts, ...]]:
    """The shortest sequence of passes that ends with each; between formats, exact ones."""
    found: dict[str, tuple[PassFacts, ...]] = {}
    reached: dict[str, tuple[PassFacts, ...]] = {start: ()}
    for _ in range(_LONGEST):
        ends: dict[str, tuple[PassFacts, ...]] = {}
        for name, facts in sorted(usable.items(), key=lambda item: (not item[1].exact, item[0])):
            if name in found:
                continue
            before = [reached[one] for one in facts.consumes if one in reached]
            fitting = [way for way in before if not against_order((*way, facts))]
            if not fitting:
                continue
            found[name] = (*min(fitting, key=len), facts)
            if facts.exact and facts.produces not in reached:
                ends.setdefault(facts.produces, found[name])
        if not ends:
            break
        reached |= ends
    return found


def moves(way: Sequence[PassFacts], format_: str) -> bool:
    """Whether passes leave the answers as they are, for the engine of another format to give."""
    return way[-1].produces != format_ and all(one.exact for one in way)


def tidies(facts: PassFacts, format_: str) -> bool:
    """Whether a pass leaves the format and the answers as they are: it may go before others."""
    return facts.exact and format_ in facts.consumes and facts.produces == format_


def candidate(ground: Ground, steps: tuple[PassFacts, ...]) -> Candidate:
    """These passes with their defaults, run by the engine of the last one."""
    engine = steps[-1].engine
    run = Execution(engine, running.sized(engine, ground.goal, ground.often))
    recipe = Recipe(tuple(_step(ground, one) for one in steps), run)
    hope = expected(ground.sketch.kind, ground.goal.objective, steps)
    dear = any(trains(one) or one.mends or Need.LABELS in one.needs for one in steps)
    return Candidate(recipe, hope, dear)


def _settings(ground: Ground, recipe: Recipe) -> list[Candidate]:
    """The last pass with one setting changed, as far as it says which values there are."""
    if not recipe.steps:
        return []
    last = recipe.steps[-1]
    facts = ground.known.facts.get(last.name)
    if facts is None:
        return []
    hope = expected(ground.sketch.kind, ground.goal.objective, (facts,))
    found = []
    for setting in facts.settings:
        now = last.settings.get(setting.name, setting.default)
        values: tuple[Any, ...] = setting.choices
        if type(setting.default) is bool:
            values = (True, False)
        if len(values) > _MOST_CHOICES:
            continue
        for value in values:
            if value != now:
                given = {name: v for name, v in last.settings.items() if name != setting.name}
                if value != setting.default:  # else it is the form that was tried before
                    given[setting.name] = value
                step = RecipeStep(last.name, given, last.keep)
                found.append(Candidate(Recipe((*recipe.steps[:-1], step), recipe.run), hope))
    return found


def _run_otherwise(ground: Ground, recipe: Recipe) -> list[Candidate]:
    """The same form with other options of its engine, where those can matter."""
    run, features = recipe.run, ground.have.hardware.features
    usual = running.sized(run.engine, ground.goal, ground.often)
    if recipe.parts or run.options not in {(), usual}:
        return []
    options = running.otherwise(run.engine, ground.goal, features, ground.often)
    return [
        Candidate(Recipe(recipe.steps, Execution(run.engine, one)), 1.01)
        for one in options
        if one != run.options
    ]


def _at_once(ground: Ground, steps: tuple[PassFacts, ...]) -> list[Candidate]:
    """A form with options of its engine without which it may be slow."""
    plain, features = candidate(ground, steps), ground.have.hardware.features
    options = running.at_once(steps[-1], ground.goal, features, ground.often)
    recipes = [replace(plain.recipe, run=Execution(steps[-1].engine, one)) for one in options]
    return [replace(plain, recipe=one, expected=_HOPED * plain.expected) for one in recipes]


def _step(ground: Ground, facts: PassFacts) -> RecipeStep:
    """A pass with its defaults; where size is wanted, as it works for the size alone."""
    told = any(one.name == "size" and one.default is False for one in facts.settings)
    small = told and ground.goal.objective is Objective.SIZE
    return RecipeStep(facts.name, {"size": True} if small else {})


def _ordered(found: Iterable[Candidate]) -> list[Candidate]:
    return sorted(
        found,
        key=lambda one: (one.dear, -one.expected, len(one.recipe.steps), one.recipe.title),
    )


def _alone(name: str, facts: Mapping[str, PassFacts]) -> Recipe:
    """A recipe to name a pass by."""
    engine = facts[name].engine if name in facts else "onnxruntime"
    return Recipe((RecipeStep(name),), Execution(engine))
