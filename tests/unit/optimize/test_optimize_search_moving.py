"""Forms of fewer bits in the source's format are given to other engines too."""

from dataclasses import replace

import pytest

from modelworks.core.optimizing.passes import Setting
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import Objective
from modelworks.optimize import planning
from modelworks.optimize.moving import moved
from optimize_fakes import FakeBench, Table, facts, ground, recipe, searched

pytestmark = pytest.mark.unit
INT8 = facts("int8_static", keeps=True)
TIDY = facts("tidy", exact=True)
OPENVINO = facts("openvino", produces="openvino-ir", engine="openvino", exact=True)
LITERT = facts("litert", produces="tflite", engine="litert", exact=True)
NNCF = facts("nncf_int8", produces="openvino-ir", engine="openvino", keeps=True)


def titles(candidates):
    return [one.recipe.title for one in candidates]


def test_what_rounds_in_the_sources_format_goes_to_every_other_engine_as_it_is():
    plan = replace(ground(INT8, TIDY, OPENVINO, LITERT), often=())
    tuned = Recipe(
        (RecipeStep("tidy"), RecipeStep("int8_static", {"first": 2})), Execution("onnxruntime")
    )
    sizes = ",".join(str(rows) for rows in plan.goal.batches)
    assert titles(moved(plan, [tuned], [])) == [
        "tidy > int8_static(first=2) > litert @ litert",
        f"tidy > int8_static(first=2) > openvino @ openvino reshape={sizes}",
    ]


def test_sizes_that_nobody_knows_or_that_cost_memory_are_not_compiled_for():
    plan = ground(INT8, OPENVINO)
    good = [recipe("int8_static")]
    assert titles(moved(plan, good, [])) == ["int8_static > openvino @ openvino"]
    memory = replace(ground(INT8, OPENVINO, objective=Objective.MEMORY), often=())
    assert titles(moved(memory, good, [])) == ["int8_static > openvino @ openvino"]


def test_what_does_not_round_or_is_elsewhere_already_stays():
    plan = replace(ground(INT8, TIDY, OPENVINO, NNCF), often=())
    good = [recipe("tidy"), recipe("nncf_int8", engine="openvino"), Recipe(run=Execution("x"))]
    assert moved(plan, good, []) == []
    assert moved(plan, [recipe("gone")], []) == []


def test_two_at_most_and_none_twice():
    plan = replace(ground(INT8, facts("int8_other", keeps=True), facts("fp16"), OPENVINO), often=())
    good = [recipe("int8_static"), recipe("int8_other"), recipe("fp16")]
    found = moved(plan, good, [])
    assert len(found) == 2
    assert moved(plan, good, [one.recipe.id for one in found]) == []


def test_openvino_begins_with_what_is_compiled_for_the_rows():
    plan = replace(ground(NNCF), often=())
    sizes = ",".join(str(rows) for rows in plan.goal.batches)
    assert titles(planning.singles(plan)) == [f"nncf_int8 @ openvino reshape={sizes}"]
    assert titles(planning.singles(ground(NNCF))) == ["nncf_int8 @ openvino"]


def test_three_that_help_come_together_before_their_settings_are_tried(tmp_path):
    small = facts("low_rank", keeps=True)
    rounded = replace(NNCF, settings=(Setting("preset", "even", "", choices=("even", "odd")),))
    best = recipe("tidy", "low_rank", "nncf_int8", engine="openvino")
    forms = {
        "tidy": Table(1.2),
        "low_rank": Table(1.3),
        "nncf_int8": Table(2.0),
        "low_rank nncf_int8": Table(2.5),
        "tidy low_rank nncf_int8": Table(3.0),
    }
    bench = FakeBench(forms)
    run = searched(bench, ground(TIDY, small, rounded), tmp_path / "run").run()
    assert run.kept[0].recipe == best
    settings = [one for one in run.findings if "odd" in one.recipe.title]
    assert settings
    assert all(bench.begun.index(best.id) < bench.begun.index(one.recipe.id) for one in settings)


def test_a_search_finds_what_is_faster_elsewhere(tmp_path):
    forms = {"int8_static": Table(1.6), "openvino": Table(0.8), "int8_static openvino": Table(2.2)}
    run = searched(FakeBench(forms), ground(INT8, OPENVINO), tmp_path / "run").run()
    assert run.kept[0].recipe.title == "int8_static > openvino @ openvino"
