"""The choice among many forms on simulated answers: is any kept that is as bad as it may not be?

Part of `forms.py`. The forms of a search are guided by rows that do not decide, ordered, and
proved in turn, by the product's own code (`optimize.proving`); only making and timing forms is
left out. Beside it two other rules on the same rows, guide and all: each form held at 95 % by
itself, and Bonferroni over all of them.
"""

import sys
import time
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from modelworks.core.model import Verdict
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import (
    BatchTime,
    Ending,
    Finding,
    Goal,
    Hardware,
    Measurement,
)
from modelworks.optimize import glancing
from modelworks.optimize.bench import Judgement
from modelworks.optimize.judging import quality
from modelworks.optimize.meaning import Kind, Plan, Said
from modelworks.optimize.proving import Prover
from modelworks.optimize.quality import Pair
from modelworks.stats import paired

LIMIT = 0.005
CONFIDENCE = 0.95
GOAL = Goal(max_drop=LIMIT, confidence=CONFIDENCE)
CLASSES = Plan(Kind.CLASSES, label="label", classes=("0", "1"))
HARDWARE = Hardware("none", (), 1, "none")
HEAD = (
    "| Forms, all exactly at the limit | Rows (guide + decide) | Any kept (99 % lower bound) | "
    "Each by itself | Bonferroni |"
)
POWER = (
    "| Rows (guide + decide) | A form is kept | Share of the gain | Each by itself, kept | gain | "
    "Bonferroni, kept | gain |"
)
TWENTY = "20 forms, 1.2 to 4 x as fast: the 5 fastest lose 2 points, the others nothing"


@dataclass(frozen=True)
class World:
    """Forms, and how their answers hang together.

    Attributes:
        forms: how many.
        alike: share of what happens to a row that happens to it in every form.
        guide: rows that guide.
        rows: that decide.
    """

    forms: int
    alike: float
    guide: int
    rows: int

    @property
    def own(self):
        """Whether the rows that guide could decide; where there are few, those for passes guide."""
        return self.rows >= 1500

    @property
    def name(self):
        """For the table."""
        words = {0.0: "independent", 0.7: "alike", 1.0: "the same answers"}
        return f"{self.forms}, {words[self.alike]}" if self.forms > 1 else "1"


def worlds():
    """At the limit of half a point."""
    sizes = ((330, 1000), (1000, 4000))
    kinds = [(1, 0.0), *((k, alike) for k in (5, 20, 40) for alike in (0.0, 0.7, 1.0))]
    return [World(k, alike, *size) for size in sizes for k, alike in kinds]


def counts(rng, rows, alike, losses, gains):
    """Losses and gains of each form; their chances a row are given, one a form."""
    forms = len(losses)
    own = rng.random((forms, rows), np.float32)
    if alike:
        shared = rng.random(rows, np.float32)
        own = np.where(rng.random((forms, rows), np.float32) < alike, shared, own)
    lost = (own < losses[:, None]).sum(axis=1)
    won = (own > 1 - gains[:, None]).sum(axis=1)
    return lost.tolist(), won.tolist()


@cache
def pair_of(losses, gains, rows):
    """Answers with so many rows that became wrong and right; a tenth was wrong before."""
    was, still = np.ones(rows, bool), np.ones(rows, bool)
    was[-rows // 10 :] = still[-rows // 10 :] = False
    still[:losses] = False
    still[rows - gains :] = True
    labels = [np.where(one, "1", "0") for one in (was, still)]
    return Pair(CLASSES, Said(labels[0]), Said(labels[1]), np.full(rows, "1"))


@cache
def glanced(losses, gains, guide, rows):
    """Gates of a glance."""
    pair = pair_of(losses, gains, guide)
    seen = glancing.quality(pair, {}, GOAL)
    seen += glancing.agreement(CLASSES, pair.before, pair.after, GOAL)
    return (*(one.gate for one in seen), glancing.likely(seen, guide, glancing.Ahead(rows)))


@cache
def held(losses, gains, rows, level):
    """Gates of a proof."""
    return tuple(quality(pair_of(losses, gains, rows), {}, replace(GOAL, confidence=1 - level)))


class Memory:
    """What became of forms, as `trying.Tried` has it, without a file."""

    def __init__(self, found):
        self.found = {one.recipe.id: one for one in found}

    @property
    def all(self):
        """Every finding."""
        return tuple(self.found.values())

    def of(self, ending):
        """Those that ended so."""
        return [one for one in self.found.values() if one.ending is ending]

    def note(self, one):
        """Keep what became of one."""
        self.found[one.recipe.id] = one
        return one


class Bench:
    """Judges by counts."""

    def __init__(self, counted, rows):
        self.counted, self.rows = counted, rows

    def make(self, recipe, _until, _say):
        """Its recipe stands for the form."""
        return recipe

    def judged(self, recipe, _until, level):
        """By the counts that were drawn."""
        return Judgement(held(*self.counted[recipe.id], self.rows, level))

    def let_go(self, recipe):
        """Nothing was held."""


@cache
def form(number, speed):
    """A candidate: the faster the larger, so that none beats another."""
    recipe = Recipe((RecipeStep(f"form_{number}"),), Execution("onnxruntime"))
    span = (9.0, 10.0, 11.0)
    time_ = BatchTime(1, speed, speed, speed, span, span, 20.0, 100)
    size = int(1000 * speed**2)
    return Finding(
        recipe, Ending.KEPT, "", (), Measurement(HARDWARE, 1, (time_,), 0, 1 << 20, size)
    )


def decided(rng, world, losses, gains, speeds):
    """One search: numbers of the forms that each of three rules keeps."""
    forms = [form(number, speed) for number, speed in enumerate(speeds)]
    looks, proofs = (
        list(zip(*counts(rng, rows, world.alike, losses, gains), strict=True))
        for rows in (world.guide, world.rows)
    )
    found = []
    for one, look in zip(forms, looks, strict=True):
        gates = glanced(*look, world.guide, world.rows)
        if all(gate.verdict is not Verdict.FAILED for gate in gates):
            found.append(replace(one, gates=gates))
    counted = {one.recipe.id: proof for one, proof in zip(forms, proofs, strict=True)}
    memory = Memory(found)
    prover = Prover(Bench(counted, world.rows), GOAL, memory, world.rows, lambda _line: None)
    never = float("inf")
    prover.run(form(-1, 1.0).measured, never, never)
    kept = {one.recipe.id for one in memory.of(Ending.KEPT)}
    mine = [number for number, one in enumerate(forms) if one.recipe.id in kept]
    both, rows, error = proofs, world.rows, 1 - CONFIDENCE
    if world.own:  # the other rules would have these rows too
        both = [(a + c, b + d) for (a, b), (c, d) in zip(looks, proofs, strict=True)]
        rows += world.guide
    alone, bonferroni = (
        [number for number, one in enumerate(both) if refuted(*one, rows, level)]
        for level in (error, error / len(forms))
    )
    return mine, alone, bonferroni


@cache
def refuted(losses, gains, rows, level):
    """Whether a drop of the limit is."""
    return paired.p_value(losses, gains, rows, LIMIT, level) <= level


def at_limit(world, runs, rng):
    """A row of the first table: every form falls by exactly what is allowed."""
    gains = np.full(world.forms, 0.001)
    speeds = tuple(np.geomspace(1.2, 4.0, world.forms).round(6).tolist())
    any_kept = np.zeros(3, int)
    for _ in range(runs):
        any_kept += [bool(kept) for kept in decided(rng, world, gains + LIMIT, gains, speeds)]
    low = paired.at_least(int(any_kept[0]), runs, 0.01)
    return {
        "forms": world.name,
        "guide": world.guide,
        "rows": world.rows,
        "any": any_kept[0] / runs,
        "low": low,
        "kept": low <= 1 - CONFIDENCE,
        "alone": any_kept[1] / runs,
        "bonferroni": any_kept[2] / runs,
    }


def power(guide, rows, runs, rng):
    """A row of the second table: fifteen forms that lost nothing, five fast ones 2 points."""
    world = World(20, 0.3, guide, rows)
    speeds = tuple(np.geomspace(1.2, 4.0, 20).round(6).tolist())
    lost = np.where(np.arange(20) < 15, 0.0, 0.02)
    gains = np.tile([0.0005, 0.001, 0.0015], 7)[:20]
    logs = np.log(speeds)
    found = np.zeros((3, 2))
    for _ in range(runs):
        for place, kept in enumerate(decided(rng, world, gains + lost, gains, speeds)):
            fine = [number for number in kept if number < 15]
            found[place] += bool(fine), max(logs[fine], default=0.0) / logs[14]
    return {"guide": guide, "rows": rows, "rules": (found / runs).tolist()}


def simulated(
    runs, seed=0, chosen=None, sizes=((200, 600), (330, 1000), (250, 1750), (1000, 4000))
):
    """The document's part: who keeps what at the limit, and what that costs."""
    began, found, powers = time.process_time(), [], []
    for number, world in enumerate(chosen or worlds()):
        found.append(at_limit(world, runs, np.random.default_rng([seed, 1000 + number])))
        said = f"{world.name}, {world.rows} rows: {found[-1]['any']:.2%}"
        print(f"{time.process_time() - began:7.1f} s  {said}", file=sys.stderr)
    for number, (guide, rows) in enumerate(sizes):
        rng = np.random.default_rng([seed, 2000 + number])
        powers.append(power(guide, rows, max(runs // 4, 20), rng))
    return {"experiments": runs, "limit": LIMIT, "worlds": found, "power": powers}


def table(document):
    """Markdown."""
    lines = [HEAD, "|---|---:|---:|---:|---:|"]
    for row in document["worlds"]:
        mark = "" if row["kept"] else " **exceeded**"
        lines.append(
            f"| {row['forms']} | {row['guide']:,} + {row['rows']:,} | {row['any']:.2%} "
            f"({row['low']:.2%}){mark} | {row['alone']:.1%} | {row['bonferroni']:.1%} |"
        )
    lines += ["", f"What that costs ({TWENTY}):", "", POWER, "|---:|---:|---:|---:|---:|---:|---:|"]
    for row in document["power"]:
        cells = " | ".join(f"{value:.0%}" for rule in row["rules"] for value in rule)
        lines.append(f"| {row['guide']:,} + {row['rows']:,} | {cells} |")
    return "\n".join(lines)
