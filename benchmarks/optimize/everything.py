"""Every form of one network that passes, settings and options allow: made, raced, judged.

None of the search's rules of what to try next is used. What is left out is counted: what a pass
refuses, what would follow a form that could not be made, and what there was no time for.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from modelworks.core.errors import ModelworksError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.passes import Need
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.optimize import timing
from modelworks.optimize.applying import Failure
from modelworks.optimize.facts import against_order, lowers, trains
from modelworks.optimize.forms import Form

LONGEST = 3  # passes of a sequence
EACH_S = 120.0  # that one form may take
GROUP = 12  # forms of one race
RACE_S, LEAST_S = 0.4, 3.0  # of a form in it, and of any
VARIED = 16  # sequences whose settings and options are gone through, the fastest first
NEAR = 0.85  # of the search's form: what is slower in the first race is not judged
ONNXRUNTIME = (
    ("arena", "off"),
    ("arena", "own"),
    ("execution", "parallel"),
    ("optimization", "extended"),
    ("optimization", "basic"),
    ("optimization", "disabled"),
)


def sequences(ground):
    """Passes in every order that formats allow; those that train, and long ones, last."""
    usable = ground.usable
    level, found = [()], []
    for _ in range(LONGEST):
        level = [
            (*before, facts)
            for before in level
            for facts in usable.values()
            if (before or ground.format in facts.consumes) and not against_order((*before, facts))
        ]
        found += level
    return sorted(found, key=lambda steps: (trained(steps) > 1, len(steps) > 2, trained(steps)))


def trained(steps):
    """How many passes of a sequence train a network."""
    return sum(trains(one) or bool(one.mends) or Need.LABELS in one.needs for one in steps)


def recipe_of(steps):
    """The passes with their defaults."""
    return Recipe(tuple(RecipeStep(one.name) for one in steps), Execution(steps[-1].engine))


def changed(ground, recipe):
    """The same with one setting that has few values changed, at any step."""
    for place, step in enumerate(recipe.steps):
        for setting in ground.known.facts[step.name].settings:
            values = (True, False) if type(setting.default) is bool else setting.choices
            for value in values:
                if value != step.settings.get(setting.name, setting.default):
                    others = {k: v for k, v in step.settings.items() if k != setting.name}
                    new = {} if value == setting.default else {setting.name: value}
                    other = RecipeStep(step.name, others | new)
                    steps = (*recipe.steps[:place], other, *recipe.steps[place + 1 :])
                    yield replace(recipe, steps=steps)


def otherwise(ground, recipe):
    """The same form run with another option of its engine."""
    options = ONNXRUNTIME if recipe.run.engine == "onnxruntime" else ()
    if recipe.run.engine == "openvino" and ground.often is not None:
        sizes = ["x".join(map(str, (rows, *ground.often))) for rows in ground.goal.batches]
        options = (("reshape", ",".join(sizes)),)
    for one in options:
        yield replace(recipe, run=Execution(recipe.run.engine, (one,)))


class Everything:
    """The forms of one network.

    Args:
        bench: makes and judges them.
        ground: passes, and what they can be given.
        say: told how it goes.
    """

    def __init__(self, bench, ground, say):
        self.bench, self.ground, self.say = bench, ground, say
        self.forms, self.ratios, self.gates = {}, {}, {}
        self.seen, self.refused, self.counts = set(), set(), Counter()

    def go_through(self, until):
        """Sequences, then settings and options of the fastest, until `time.monotonic()` is so."""
        began = time.monotonic()
        every = sequences(self.ground)
        once = [steps for steps in every if trained(steps) < 2]
        for length, dear in ((1, 0), (2, 0), (1, 1), (2, 1), (3, 0), (3, 1)):
            some = [one for one in once if (len(one), trained(one)) == (length, dear)]
            self.sequences(
                some, f"{length} passes, {dear} that train", began + 0.6 * (until - began)
            )
        self.more([self.bench.workshop.source.recipe], until)
        for best in self.fastest()[:VARIED]:
            self.more([best], until)
        self.sequences([one for one in every if trained(one) > 1], "several that train", until)

    def sequences(self, some, what, until):
        """Make and race those whose beginnings could be made."""
        found = []
        for steps in some:
            names = [one.name for one in steps]
            pair = tuple(names[-2:])
            if len(steps) > 1 and recipe_of(steps[:-1]).id not in self.forms:
                self.counts["their beginning could not be made"] += 1
            elif len(steps) > 2 and lowers(steps[-2]) and pair in self.refused:
                self.counts["refused behind the same pass before"] += 1
            else:
                found.append(recipe_of(steps))
        self.tried(found, what, until)

    def more(self, recipes, until):
        """Settings and options of forms."""
        for recipe in recipes:
            some = [*otherwise(self.ground, recipe), *changed(self.ground, recipe)]
            self.tried(some, f"settings of {recipe.title}", until)

    def tried(self, recipes, what, until):
        """Make forms, two at a time, then race them."""
        new = [one for one in recipes if one.id not in self.seen]
        if not new:
            return
        self.say(f"{what}: {len(new)} forms ({until - time.monotonic():.0f} s left)")
        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(lambda one: self.made(one, until), new))
        forms = [one for one in told if isinstance(one, Form)]
        for recipe, one in zip(new, told, strict=True):
            if one is None or (isinstance(one, Failure) and one.late):
                self.counts["no time"] += 1
                continue
            self.seen.add(recipe.id)
            if isinstance(one, Failure):
                self.counts["refused by a pass, or failed"] += 1
                self.refused.add(tuple(step.name for step in recipe.steps[-2:]))
        for place in range(0, len(forms), GROUP):
            self.raced(forms[place : place + GROUP])

    def made(self, recipe, until):
        """A form, why there is none, or None: the time is over."""
        now = time.monotonic()
        if now >= until:
            return None
        return self.bench.make(recipe, min(until, now + EACH_S), lambda _line: None)

    def raced(self, forms):
        """Their ratios to the source form by number of rows, from a short race."""
        bench = self.bench
        scales = timing.Scales()
        for one in (bench.workshop.source, *forms):  # what they weigh is not asked
            scales.weights[one.recipe.id, str(one.folder)] = timing.Weight(0.0, 0)
        rows, goal, source = bench.rows.evaluation, bench.goal, bench.workshop.source
        seconds = max(LEAST_S, RACE_S * len(forms))
        try:
            found = timing.timed(
                source, forms, rows, goal, bench.work, seconds=seconds, scales=scales
            )
        except ModelworksError as error:
            self.say(f"{len(forms)} forms could not be raced: {error.message}")
            self.counts["could not be raced"] += len(forms)
            return
        for form, measured in zip(forms, found.forms, strict=True):
            if isinstance(measured, str):
                self.counts["does not run"] += 1
                continue
            self.forms[form.recipe.id] = form
            self.ratios[form.recipe.id] = {one.rows: one.ratio for one in measured.times}
            self.counts["measured"] += 1

    def fastest(self):
        """Recipes, those that are the nearest to the fastest at any number of rows first."""
        best = {size: max(of[size] for of in self.ratios.values()) for size in self.sizes()}
        near = {
            name: max(of[size] / best[size] for size in best) for name, of in self.ratios.items()
        }
        return [self.forms[name].recipe for name in sorted(near, key=lambda name: -near[name])]

    def sizes(self):
        """Numbers of rows that were raced."""
        return sorted({size for of in self.ratios.values() for size in of})

    def good(self, form, until):
        """Whether it passes the gates of the search."""
        name = form.recipe.id
        if name not in self.gates:
            try:
                gates = self.bench.judged(form, until).gates
                self.gates[name] = all(one.verdict is not Verdict.FAILED for one in gates)
            except ModelworksError:
                self.gates[name] = False
            self.counts["judged"] += 1
        return self.gates[name]

    def nearest(self, size, base, most, until):
        """The fastest forms at so many rows that are good enough, `base` itself left out.

        Forms that are clearly slower than `base` in the first race are no rivals.
        """
        least = NEAR * self.ratios.get(base, {}).get(size, 0.0)
        names = sorted(self.ratios, key=lambda name: -self.ratios[name][size])
        found = []
        for name in names:
            if len(found) >= most or self.ratios[name][size] < least:
                break
            if name != base and self.good(self.forms[name], until):
                found.append(self.forms[name])
        return found
