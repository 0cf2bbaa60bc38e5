"""The choice among many forms: who is proved, in which turn, at which level; and its error."""

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, UnavailableError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Ending, Finding, Gate, Goal
from modelworks.optimize.applying import NOT_NOW, Failure
from modelworks.optimize.bench import Judgement
from modelworks.optimize.proving import MOST, PROOF, Prover, left, order, proved, share
from modelworks.optimize.run import read_run
from modelworks.optimize.trying import LATE, Pace
from modelworks.stats.paired import at_least
from optimize_fakes import FakeBench, Table, endings, facts, ground, measurement, recipe, searched

pytestmark = pytest.mark.unit
SOURCE = measurement()
NEVER = float("inf")


def found(name: str, ratio=2.0, chance: float | None = None, **more) -> Finding:
    """A form that passed its glance."""
    gates = (
        Gate("accuracy", Verdict.PASSED, ""),
        Gate("likely", Verdict.SKIPPED, "", value=chance),
    )
    measured = measurement(ratio, **more)
    return Finding(recipe(name), Ending.KEPT, "", gates, measured)


class Memory:
    """`trying.Tried` without a file."""

    def __init__(self, given):
        self.found = {one.recipe.id: one for one in given}

    @property
    def all(self):
        return tuple(self.found.values())

    def of(self, ending):
        return [one for one in self.found.values() if one.ending is ending]

    def note(self, one):
        self.found[one.recipe.id] = one
        return one


class Chances(FakeBench):
    """Forms pass where their p-value is at most the level."""

    p_values: dict[str, float]

    def judged(self, form, until, level=0.0):
        self.levels.append(level)
        fine = self.p_values[form.recipe.steps[0].name] <= level
        return Judgement((Gate("accuracy", Verdict.PASSED if fine else Verdict.FAILED, "so"),))


@lru_cache
def forms_of(count):
    """So many forms, the fastest first, none beaten by another; and their names."""
    names = [f"f{number:02}" for number in range(count)]
    speeds = np.linspace(4.0, 1.5, count).tolist()
    forms = [found(n, {1: s}, size=int(1000 * s * s)) for n, s in zip(names, speeds, strict=True)]
    return names, forms


def proving(p_values, rows=10_000):
    """The search's last step over forms with these p-values, the fastest first."""
    names, forms = forms_of(len(p_values))
    bench, memory = Chances({}), Memory(forms)
    bench.p_values = dict(zip(names, p_values, strict=True))
    prover = Prover(bench, Goal(), memory, rows, lambda _: None)
    prover.run(SOURCE, NEVER, NEVER)
    return bench, memory, prover


def kept(memory):
    return [one.recipe.steps[0].name for one in memory.of(Ending.KEPT)]


def test_a_form_that_fails_loses_its_bet_and_one_that_passes_gets_it_back():
    bench, memory, prover = proving([0.5, 0.001, 0.001, 0.5, 0.001])
    assert bench.levels == pytest.approx([0.025, 0.0125, 0.0125, 0.0125, 0.0125])
    assert kept(memory) == ["f01", "f02", "f04"]
    gate = memory.of(Ending.KEPT)[0].gates[-1]
    assert (gate.name, gate.value) == (PROOF, 2)
    assert "tested at 1.25%" in gate.summary
    assert "number 2 of the forms that the 10000 rows that decide were asked about" in gate.summary
    assert "5 of 5 forms that were measured" in prover.told()
    assert "2.5%, 1.25%, 1.25%, 1.25%, 1.25%" in prover.told()


def test_few_rows_are_bet_whole_and_prove_no_more_where_the_first_fails():
    bench, memory, _ = proving([0.04, 0.04, 0.2, 0.001], rows=700)
    assert bench.levels == pytest.approx([0.05, 0.05, 0.05])
    assert kept(memory) == ["f00", "f01"]
    last = memory.found[recipe("f03").id]
    assert last.ending is Ending.REFUSED
    assert "700 rows that decide are too few to prove another one" in last.why


def test_one_form_alone_is_held_at_the_goals_confidence():
    bench, memory, _ = proving([0.04])
    assert bench.levels == pytest.approx([0.05])
    assert kept(memory) == ["f00"]


def test_where_more_will_be_tried_the_last_leaves_something_for_it():
    late = Finding(recipe("late"), Ending.PRUNED, f"{LATE} before it was tried")
    bench, memory = FakeBench({"f00": Table(unlucky=True)}), Memory([forms_of(1)[1][0], late])
    prover = Prover(bench, Goal(), memory, 10_000, lambda _: None)
    prover.run(SOURCE, NEVER, NEVER)
    assert bench.levels == pytest.approx([0.025])
    assert left(memory.all, 0.05) == pytest.approx(0.025)


def test_a_search_bets_on_so_many_forms_and_not_more():
    bench, memory, _ = proving([1.0] * 12)
    assert len(bench.levels) == MOST
    late = memory.of(Ending.SLOWER)
    assert len(late) == 12 - MOST
    assert f"{MOST} forms that promised better were proved before it" in late[0].why


def test_what_only_rounds_takes_no_chance_and_its_turn_is_not_counted():
    rounds = Gate("same", Verdict.PASSED, "rounding")
    forms = [replace(found(f"r{n}", 1.2), gates=(rounds,)) for n in range(3)]
    bench, memory = FakeBench({}), Memory(forms)
    bench.judged = lambda *_: Judgement((rounds,))
    prover = Prover(bench, Goal(), memory, 10_000, lambda _: None)
    prover.run(SOURCE, NEVER, NEVER)
    assert len(memory.of(Ending.KEPT)) == 3
    assert {one.gates[-1].limit for one in memory.all} == {0.0}
    assert left(memory.all, 0.05) == 0.05
    assert prover.told() == ""


def any_of(p_values, rows) -> float:
    """Share of experiments in which any form is kept."""
    return int(sum(bool(kept(proving(row, rows)[1])) for row in p_values))


@pytest.mark.parametrize("rows", [700, 10_000])
@pytest.mark.parametrize("alike", ["independent", "the same"])
def test_of_many_forms_at_the_limit_any_is_kept_as_rarely_as_declared(alike, rows):
    """P-values of forms at the limit are uniform; however they hang together."""
    random, runs = np.random.default_rng(5), 300
    p_values = random.random((runs, 8 if alike == "independent" else 1))
    p_values = np.broadcast_to(p_values, (runs, 8))
    assert at_least(any_of(p_values.tolist(), rows), runs, 0.01) <= 0.05


def test_held_by_itself_each_would_break_its_word(monkeypatch):
    """The simulation can fail: at 5 % each, a third of the experiments keep one of eight."""
    monkeypatch.setattr(Prover, "_level", lambda _, whole: 0.05)
    p_values = np.random.default_rng(3).random((100, 8)).tolist()
    assert at_least(any_of(p_values, 10_000), 100, 0.01) > 0.05


def test_bad_forms_gain_nothing_by_good_ones_before_them():
    """Good forms pass and give their bets back: bad ones after them have the whole again, once."""
    random, runs = np.random.default_rng(4), 200
    bad = random.random((runs, 4))
    count = 0
    for row in bad:
        p_values = [p for pair in zip([1e-6] * 4, row.tolist(), strict=True) for p in pair]
        _, memory, _ = proving(p_values)
        count += any(int(name[1:]) % 2 for name in kept(memory))
    assert at_least(count, runs, 0.01) <= 0.05


def test_turns_follow_gain_and_chance_and_copies_come_last():
    forms = [
        found("fast", 4.0, 0.1),
        found("likely", 3.0, 0.9),
        found("copy", 2.99, 0.9),
        found("other", {1: 1.1, 16: 5.0}, 0.9),
    ]
    names = [one.recipe.steps[0].name for one in order(forms, Goal(), SOURCE)]
    assert names == ["likely", "other", "fast", "copy"]  # the best at 16 rows comes second


def test_how_much_is_bet_follows_from_the_number_of_rows():
    def of(name, rows):
        return share(rows, Goal(), [Gate(name, Verdict.PASSED, "")])

    assert of("accuracy", 799) == 1.0
    assert of("accuracy", 800) == 0.5
    assert of("agreement", 399) == 1.0
    assert of("agreement", 400) == 0.5
    assert of("mae", 10) == 0.5
    assert of("accuracy", 0) == 0.5


def test_a_form_that_the_rows_that_decide_refuse_is_refused_and_the_next_has_its_turn(
    tmp_path: Path,
):
    forms = {"fast": Table(4.0, unlucky=True), "safe": Table(2.0), "lost": Table(5.0, lost=True)}
    bench = FakeBench(forms)
    run = searched(bench, ground(*map(facts, forms)), tmp_path / "run").run()
    told = endings(run)
    assert told["fast"] is told["lost"] is Ending.REFUSED
    assert told["safe"] is Ending.KEPT
    assert bench.levels == pytest.approx([0.025, 0.025])
    by = {one.recipe.steps[0].name: one for one in run.findings if len(one.recipe.steps) == 1}
    assert not proved(by["lost"])  # the glance gave it up: no bet was made
    assert by["fast"].gates[-1].verdict is Verdict.FAILED
    assert any("at levels of 2.5%, 2.5%" in note for note in run.notes)


class Killed(FakeBench):
    """Is killed when so many forms were held against the rows that decide."""

    after: int = 0

    def judged(self, form, until, level=0.0):
        if len(self.judged_) >= self.after:
            raise KeyboardInterrupt
        return super().judged(form, until, level)


@pytest.mark.parametrize("after", range(3))
def test_after_a_kill_nothing_is_asked_twice_and_bets_stay_lost(tmp_path: Path, after: int):
    forms = {"a": Table(4.0, unlucky=True), "b": Table(3.0, unlucky=True), "c": Table(2.0)}
    plan, path = ground(*map(facts, forms)), tmp_path / "run"
    first = Killed(forms)
    first.after = after
    with pytest.raises(KeyboardInterrupt):
        searched(first, plan, path).run()
    second = FakeBench(forms)
    run = searched(second, plan, path).run()
    assert first.levels + second.levels == pytest.approx([0.025, 0.0125, 0.0125])
    assert endings(run)["c"] is Ending.KEPT
    assert sum(proved(one) for one in read_run(path).findings) == 3


def test_who_ends_it_early_gets_the_first_that_is_proved(tmp_path: Path):
    forms = {"a": Table(4.0, unlucky=True), "b": Table(3.0), "c": Table(2.0)}
    bench = FakeBench(forms, stop_at=3)
    search = searched(bench, ground(*map(facts, forms)), tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        search.run()
    bench.stop_at = 0
    best = search.best()
    assert best is not None
    assert best.recipe.steps[0].name == "b"
    assert proved(best)
    assert search.best() == best  # it is not asked about again


def test_where_time_is_over_turns_wait_for_the_next_run():
    forms = [found("a", 3.0, size=3000), found("b", 2.0)]
    bench, memory = FakeBench({}), Memory(forms)
    Prover(bench, Goal(), memory, 10_000, lambda _: None).run(SOURCE, 0.0, NEVER)
    waiting = memory.found[recipe("b").id]
    assert waiting.ending is Ending.PRUNED
    assert waiting.why.startswith(LATE)
    assert len(bench.judged_) == 1


@pytest.mark.parametrize(
    ("error", "ending", "why"),
    [
        (CrashedError("the engine died"), Ending.FAILED, "the engine died"),
        (UnavailableError("no room"), Ending.FAILED, f"{NOT_NOW}: no room"),
    ],
)
def test_a_form_that_cannot_be_asked_costs_no_bet(error, ending, why):
    bench, memory = FakeBench({}), Memory([found("a")])

    def dies(*_):
        raise error

    bench.judged = dies
    Prover(bench, Goal(), memory, 10_000, lambda _: None).run(SOURCE, NEVER, NEVER)
    assert (memory.all[0].ending, memory.all[0].why) == (ending, why)
    assert left(memory.all, 0.05) == 0.05


def test_one_recipe_is_held_at_the_whole_level(tmp_path: Path):
    bench = FakeBench({"a": Table(2.0)})
    run = searched(bench, ground(facts("a")), tmp_path / "run", only=recipe("a")).run()
    assert bench.levels == pytest.approx([0.05])
    assert any(note.startswith("it was held against") for note in run.notes)


def test_forms_by_rows_are_as_good_as_their_parts(tmp_path: Path):
    forms = {"small": Table({1: 4.0, 16: 0.5}), "large": Table({1: 1.2, 16: 3.0})}
    bench = FakeBench(forms)
    run = searched(bench, ground(*map(facts, forms)), tmp_path / "run").run()
    joined = next(one for one in run.kept if one.recipe.parts)
    assert joined.recipe.id not in bench.judged_
    assert next(gate for gate in joined.gates if gate.name == PROOF).limit == 0.0


def test_what_the_rows_that_decide_refuse_starts_no_new_form(tmp_path: Path):
    operators = ("x", "y", "z")
    forms = {
        "int8": Table(4.0, unlucky=True, operators=operators, to_blame=frozenset({"x"})),
        "late": Table(failure=Failure(Ending.PRUNED, "late takes long", late=True)),
    }
    plan, path = ground(facts("int8", keeps=True), facts("late")), tmp_path / "run"
    assert endings(searched(FakeBench(forms), plan, path).run())["int8"] is Ending.REFUSED
    second = FakeBench(forms | {"late": Table(1.1)})
    run = searched(second, plan, path).run()
    assert second.differed == 0
    assert not any(step.keep for one in run.findings for step in one.recipe.steps)


class Slow(FakeBench):
    """The time is over when the first form was held against the rows that decide."""

    def judged(self, form, until, level=0.0):
        found = super().judged(form, until, level)
        self.clock.append(1.0)
        return found


def test_what_there_was_no_time_to_prove_is_not_kept_and_waits(tmp_path: Path, monkeypatch):
    forms = {"a": Table(4.0), "b": Table({1: 1.2, 16: 6.0})}
    bench = Slow(forms)
    bench.clock = []
    plan, path = ground(*(facts(name) for name in forms)), tmp_path / "run"
    pace = Pace(500.0, 1000.0, 1.0)
    monkeypatch.setattr(time, "monotonic", lambda: 900.0 if bench.clock else 100.0)
    run = searched(bench, plan, path, pace).run()
    assert [one.recipe.steps[0].name for one in run.kept] == ["a"]
    late = next(one for one in run.findings if one.recipe == recipe("b"))
    assert late.why == f"{LATE} before it was proved"
    again = FakeBench(forms)
    searched(again, plan, path).run()
    assert again.judged_ == [recipe("b").id]


def test_nothing_is_proved_without_time_to_try(tmp_path: Path):
    over = Pace(0.0, NEVER, 1.0)
    bench = FakeBench({"a": Table(2.0)})
    searched(bench, ground(facts("a")), tmp_path / "run", over).run()
    assert bench.judged_ == []
