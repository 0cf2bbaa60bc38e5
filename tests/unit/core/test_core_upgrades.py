"""Recipes and forms of another version of a pass: applied with a note, or refused with the cure."""

import json

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.passes import PassFacts, Setting
from modelworks.core.optimizing.recipes import (
    Execution,
    Recipe,
    RecipeStep,
    read_recipe,
    write_recipe,
)
from modelworks.core.optimizing.upgrades import aged, checked, every_step, stamped

pytestmark = pytest.mark.unit


def facts(version: int, *settings: Setting, keeps: bool = False) -> PassFacts:
    return PassFacts(
        "rounds", version, "t", ("onnx",), "onnx", "onnxruntime", settings=settings, keeps=keeps
    )


MUCH = Setting("much", 1, "how much", (), 0, 9)


@pytest.mark.parametrize("version", [0, 2])
def test_of_this_version_or_of_none_nothing_is_said(version):
    assert checked(RecipeStep("rounds", {"much": 3}, version=version), facts(2, MUCH)) == ""


def test_of_an_older_version_it_is_applied_with_a_note():
    told = checked(RecipeStep("rounds", {"much": 3}, version=1), facts(2, MUCH))
    assert "written by rounds 1, and here is 2" in told
    assert "\n" not in told


def test_of_a_later_version_it_is_refused_with_the_cure():
    with pytest.raises(InvalidError, match=r"rounds 3, and here is 2: update") as caught:
        checked(RecipeStep("rounds", version=3), facts(2, MUCH))
    assert caught.value.field == "version"


@pytest.mark.parametrize(
    ("settings", "says"), [({"gone": 1}, "no setting 'gone'"), ({"much": 12}, "from 0 to 9")]
)
def test_a_setting_that_is_no_more_is_refused_by_name_with_the_cure(settings, says):
    with pytest.raises(InvalidError, match="written by rounds 1, and here is 2") as caught:
        checked(RecipeStep("rounds", settings, version=1), facts(2, MUCH))
    assert says in caught.value.message
    assert "take the setting out" in caught.value.message
    assert caught.value.field in settings


def test_of_a_recipe_without_versions_a_setting_is_refused_in_fewer_words():
    with pytest.raises(InvalidError, match="no setting 'gone'") as caught:
        checked(RecipeStep("rounds", {"gone": 1}), facts(2, MUCH))
    assert "written by" not in caught.value.message


def test_operators_to_keep_are_refused_by_a_pass_that_keeps_none():
    step = RecipeStep("rounds", keep=("conv",))
    assert checked(step, facts(1, keeps=True)) == ""
    with pytest.raises(InvalidError, match="leaves no operators in float") as caught:
        checked(step, facts(1))
    assert caught.value.field == "keep"


def test_versions_go_with_the_file_and_are_no_part_of_what_a_recipe_is():
    inner = Recipe((RecipeStep("other"),), Execution("litert"))
    plain = Recipe((), Execution("by_rows"), (inner, Recipe((RecipeStep("rounds"),))), (4, 0))
    told = stamped(plain, {"rounds": facts(7)})
    assert [one.version for one in every_step(told)] == [0, 7]
    assert told.id == plain.id
    assert told.title == plain.title
    assert read_recipe(write_recipe(told)) == told


def test_a_recipe_written_before_there_were_versions_is_read():
    written = json.loads(write_recipe(Recipe((RecipeStep("rounds"),))))
    del written["steps"][0]["version"]
    assert [one.version for one in every_step(read_recipe(json.dumps(written)))] == [0]


def test_a_form_of_another_version_is_served_and_that_is_told():
    known = {"rounds": facts(2)}
    assert aged(Recipe((RecipeStep("rounds", version=2),)), known) == []
    [older] = aged(Recipe((RecipeStep("rounds", version=1),)), known)
    assert "made by rounds 1, which is 2 here" in older
    assert "served as it is" in older
    [before] = aged(Recipe((RecipeStep("rounds"),)), known)
    assert "before recipes told the version" in before
    [gone] = aged(Recipe((RecipeStep("rounds", version=2),)), {})
    assert "cannot be made anew" in gone
