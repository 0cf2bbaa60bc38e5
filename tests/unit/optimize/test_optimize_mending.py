"""A pass that teaches what another one lost is tried where that was refused, and only then."""

from dataclasses import replace

from modelworks.core.optimizing.passes import Setting
from modelworks.core.optimizing.recipes import Recipe, RecipeStep
from modelworks.core.optimizing.variants import Ending
from modelworks.optimize import planning
from modelworks.optimize.mending import mending, spared
from optimize_fakes import FakeBench, Table, endings, facts, ground, recipe, searched

ROUNDS = facts("rounds_int8", settings=(Setting("first", 0, "in float", (0, 2)),))
TEACHES = facts(
    "teaches_int8",
    mends="rounds_int8",
    settings=(Setting("first", 0, "in float", (0, 2)), Setting("steps", 9, "of it", (), 1, 99)),
)


def titles(candidates) -> list[str]:
    return [one.recipe.title.partition(" @")[0] for one in candidates]


def test_at_first_it_waits():
    assert titles(planning.singles(ground(ROUNDS, TEACHES))) == ["rounds_int8"]


def test_where_there_is_nothing_to_mend_by_it_is_one_like_the_others():
    [only] = planning.singles(ground(TEACHES))
    assert only.recipe == recipe("teaches_int8")
    assert only.dear


def test_it_takes_the_place_of_what_was_refused_with_the_settings_that_both_have():
    first = RecipeStep("rounds_int8", {"first": 2, "method": "entropy"})
    refused = replace(recipe("tidy", "rounds_int8"), steps=(RecipeStep("tidy"), first))
    [found] = mending(ground(ROUNDS, TEACHES, facts("tidy")), [refused, recipe("other")])
    assert found.recipe.steps == (RecipeStep("tidy"), RecipeStep("teaches_int8", {"first": 2}))
    assert found.dear


def test_what_has_operators_in_float_already_is_left_alone():
    kept = Recipe((RecipeStep("rounds_int8", keep=("conv",)),))
    assert mending(ground(ROUNDS, TEACHES), [kept]) == []


def test_a_fast_form_that_lost_too_much_is_taught(tmp_path):
    bench = FakeBench({"rounds_int8": Table(2.0, lost=True), "teaches_int8": Table(2.0)})
    run = searched(bench, ground(ROUNDS, TEACHES), tmp_path / "run").run()
    assert endings(run)["rounds_int8"] is Ending.REFUSED
    assert endings(run)["teaches_int8"] is Ending.KEPT
    assert bench.begun[0] == recipe("rounds_int8").id


def test_what_lost_nothing_is_not_taught_and_that_is_said(tmp_path):
    bench = FakeBench({"rounds_int8": Table(2.0)})
    run = searched(bench, ground(ROUNDS, TEACHES), tmp_path / "run").run()
    [found] = [one for one in run.findings if one.recipe == recipe("teaches_int8")]
    assert found.ending is Ending.PRUNED
    assert "teaches what rounds_int8 loses" in found.why
    assert recipe("teaches_int8").id not in bench.begun


def test_nothing_is_said_of_it_while_the_other_was_not_tried():
    plan = ground(ROUNDS, TEACHES)
    assert spared(plan, ()) == []
    assert [one.recipe for one in spared(plan, {"rounds_int8"})] == [recipe("teaches_int8")]
    assert spared(plan, {"rounds_int8", "teaches_int8"}) == []
