"""Plans: the shortest ways to every pass, and what speaks against them beforehand."""

from dataclasses import replace

import pytest

from modelworks.core.optimizing.passes import Need, Setting
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import Objective
from modelworks.optimize import planning
from modelworks.optimize.facts import against_order, against_pass, lowers, shrinks, trains
from modelworks.optimize.scoring import better, front, gain
from modelworks.optimize.sketch import Kind
from optimize_fakes import facts, ground, measurement, recipe

LITERT = facts("litert", produces="tflite", engine="litert", exact=True)
LITERT_INT8 = facts("litert_int8", consumes=("tflite",), produces="tflite", engine="litert")


def _titles(candidates) -> list[str]:
    return [one.recipe.title for one in candidates]


def test_a_pass_is_reached_by_the_shortest_way():
    found = planning.singles(ground(LITERT, LITERT_INT8, facts("int8_dynamic")))
    assert _titles(found) == [
        "litert > litert_int8 @ litert",
        "int8_dynamic @ onnxruntime",
        "litert @ litert",
    ]


def test_what_trains_waits():
    found = planning.singles(ground(facts("distil"), facts("tidy", exact=True)))
    assert _titles(found) == ["tidy @ onnxruntime", "distil @ onnxruntime"]


def test_what_cannot_be_reached_is_told():
    plan = ground(LITERT_INT8, facts("a"), absent={"b": "the pass b needs nncf"})
    told = {one.recipe.steps[0].name: one.why for one in planning.pruned(plan)}
    assert told == {
        "b": "the pass b needs nncf",
        "litert_int8": "litert_int8 reads tflite, which nothing here makes of onnx",
    }
    assert _titles(planning.singles(plan)) == ["a @ onnxruntime"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"verified": False}, "cannot be run here"),
        ({"size_only": True}, "--objective size"),
        ({"hardware": ("cuda",)}, "needs cuda, which this machine has not"),
        ({"needs": frozenset({Need.LABELS})}, "--label COL"),
        ({"needs": frozenset({Need.ROWS})}, ""),
        ({}, ""),
    ],
)
def test_a_pass_that_cannot_help_is_left_out_with_the_reason(given, says):
    plan = ground(facts("a", **given))
    found = against_pass(plan.known.facts["a"], plan.have)
    assert says in found
    assert bool(says) == bool(found)


def test_without_rows_what_calibrates_is_left_out():
    have = replace(ground().have, rows=False)
    assert "--calibration FILE" in against_pass(facts("a", needs=frozenset({Need.ROWS})), have)


def test_networks_and_trees_are_told_apart():
    have = ground().have
    trees, dense = replace(have, kind=Kind.TREES), replace(have, kind=Kind.DENSE)
    assert "ensemble of trees" in against_pass(facts("int8_static"), trees)
    assert "here are none" in against_pass(facts("trees"), dense)
    assert not against_pass(facts("trees"), trees)
    assert not against_pass(facts("int8_static"), dense)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((facts("int8_static", keeps=True), facts("int8_dynamic")), "rounds twice"),
        ((facts("ort_optimize", exact=True), facts("int8_static")), "read by nothing else"),
        ((facts("a"), facts("a")), "is a once"),
        ((facts("a"), LITERT_INT8), "does not read"),
        ((facts("distil"), facts("int8_static")), ""),
        ((LITERT, LITERT_INT8), ""),
    ],
)
def test_known_bad_orders_are_never_tried(steps, says):
    found = against_order(steps)
    assert says in found
    assert bool(says) == bool(found)


def test_bits_are_lowered_by_who_says_so_or_is_called_so():
    assert lowers(facts("nncf_accuracy"))
    assert lowers(facts("other", keeps=True))
    assert not lowers(facts("litert_int8_shape", exact=True))
    assert not lowers(facts("distil"))


def test_factors_are_a_smaller_network_that_takes_no_training():
    low_rank, int8 = facts("low_rank", keeps=True), facts("int8_dynamic")
    assert shrinks(low_rank)
    assert not trains(low_rank)
    assert not against_order((low_rank, int8))
    plan = ground(low_rank, int8, LITERT)
    found = planning.composed(plan, [recipe("low_rank"), recipe("int8_dynamic")], [])
    assert _titles(found) == ["low_rank > int8_dynamic @ onnxruntime", "low_rank > litert @ litert"]
    assert not any(one.dear for one in found)


def test_options_of_the_engine_are_tried_where_they_matter():
    plan = ground(objective=Objective.MEMORY)
    assert _titles(planning.singles(plan)) == ["as it is @ onnxruntime arena=off"]
    more = replace(ground(), goal=replace(ground().goal, threads=4))
    assert "execution=parallel inter_threads=4" in _titles(planning.singles(more))[0]
    done = Recipe((RecipeStep("a"),), Execution("onnxruntime", (("arena", "off"),)))
    assert planning.varied(plan, [done], []) == []


def test_settings_of_what_differs_by_tidying_alone_are_tried_once():
    other = facts("int8", settings=(Setting("first", 0, "", choices=(0, 1)),))
    plan = ground(other, facts("tidy", exact=True))
    good = [recipe("tidy", "int8"), recipe("int8"), recipe("tidy")]
    assert _titles(planning.varied(plan, good, [])) == ["tidy > int8(first=1) @ onnxruntime"]
    assert _titles(planning.varied(plan, good[1:], [])) == ["int8(first=1) @ onnxruntime"]


def test_openvino_compiles_for_the_sizes_of_the_goal_where_they_are_known():
    form = Recipe((RecipeStep("a"),), Execution("openvino"))
    plan = replace(ground(), often=(32,))
    [found] = planning.varied(plan, [form], [])
    sizes = ",".join(f"{rows}x32" for rows in plan.goal.batches)
    assert found.recipe.run.options == (("reshape", sizes),)
    assert planning.varied(ground(), [form], []) == []
    assert planning.varied(plan, [found.recipe], []) == []
    memory = replace(ground(objective=Objective.MEMORY), often=(32,))
    assert planning.varied(memory, [form], []) == []


def test_nothing_is_planned_twice():
    plan = ground(facts("distil"), facts("int8_dynamic"), facts("tidy", exact=True))
    good = [recipe("distil"), recipe("int8_dynamic")]
    first = planning.composed(plan, good, [])
    assert first
    assert planning.composed(plan, good, [one.recipe.id for one in first]) == []


def test_worth_it_needs_the_gain_and_the_interval():
    goal, source = ground().goal, measurement()
    assert better(goal, measurement(2.0), source).verdict == "passed"
    assert "at least 1.05 x is wanted" in better(goal, measurement(1.04), source).summary
    noisy = better(goal, measurement(1.2, noise=0.4), source)
    assert noisy.verdict == "failed"
    assert "may as well be no faster" in noisy.summary


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        (Objective.P99, 3.0),
        (Objective.THROUGHPUT, 2.0),
        (Objective.COST, 2.0),
        (Objective.SIZE, 4.0),
        (Objective.MEMORY, 2.0),
        (Objective.ENERGY, 0.0),
    ],
)
def test_each_objective_looks_at_its_own_figure(objective, wanted):
    found = measurement({1: 3.0, 16: 2.0}, size=250, memory=4 << 20)
    assert gain(objective, found, measurement()) == pytest.approx(wanted)


def test_more_than_one_thread_is_judged_by_the_clock():
    found = measurement(0.9)
    times = tuple(replace(one, wall_ratio=(1.8, 1.7, 1.9)) for one in found.times)
    two = replace(found, threads=2, times=times)
    assert gain(Objective.P99, two, measurement()) == 1.8
    assert gain(Objective.P99, replace(two, threads=1), measurement()) == 0.9


def test_the_front_is_what_nothing_beats():
    measured = {
        "fast": measurement(3.0, size=900),
        "same": measurement(2.99, size=900),
        "small": measurement(2.0, size=100),
        "worse": measurement(1.9, size=950),
    }
    told = front(Objective.P99, measured, measurement())
    assert told == {"fast": "", "same": "fast", "small": "", "worse": "fast"}
