"""Recipes are files to share; a pass's settings are checked before it runs."""

import json

import pytest

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.passes import PassFacts, Setting, settled
from modelworks.core.optimizing.recipes import (
    Execution,
    Recipe,
    RecipeStep,
    read_recipe,
    write_recipe,
)
from modelworks.core.optimizing.variants import Goal

pytestmark = pytest.mark.unit
FACTS = PassFacts(
    "int8",
    1,
    "int8",
    ("onnx",),
    "onnx",
    "onnxruntime",
    settings=(
        Setting("method", "minmax", "how ranges are found", choices=("minmax", "entropy")),
        Setting("share", 0.5, "of the rows", least=0.0, most=1.0),
        Setting("per_channel", True, "a scale each channel"),
        Setting("skip", ("Softmax",), "operators that stay"),
    ),
)


def _parts(parts: list, rows: list[int], **more) -> str:
    return json.dumps({"parts": parts, "rows": rows, "run": {"engine": "by_rows"}} | more)


def test_a_recipe_is_read_as_it_was_written():
    fast = Recipe((RecipeStep("int8", {"share": 0.25, "skip": ["Add"]}, ("/a", "/b")),))
    native = Recipe((), Execution("trees", (("block", "8"),)))
    both = Recipe((), Execution("by_rows"), (fast, native), (32, 0))
    for recipe in (Recipe(), fast, both):
        again = read_recipe(write_recipe(recipe))
        assert again == recipe
        assert again.id == recipe.id
    assert len({Recipe().id, fast.id, native.id, both.id}) == 4
    small = "int8(share=0.25, skip=['Add'], 2 in float) @ onnxruntime"
    assert both.title == f"by rows (to 32: {small}; more: as it is @ trees block=8)"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "recipe"),
        ('{"version": 2}', "version"),
        ('{"rows": [1]}', "rows"),
        ('{"steps": [{"nam": "x"}]}', "nam"),
        ('{"colour": 1}', "colour"),
        ("[" * 100_000, "recipe"),
        ('{"parts": [' * 1000 + "]}" * 1000, "recipe"),
        (_parts([{}], [4]), "rows"),
        (_parts([{}, {}, {}], [4, 2, 0]), "rows"),
        (_parts([{}, {}], [-1, 0]), "rows"),
        (_parts([{}] * 17, [*range(1, 17), 0]), "parts"),
        (_parts([json.loads(_parts([{}, {}], [4, 0])), {}], [4, 0]), "parts"),
        (_parts([{}, {}], [4, 0], run={"engine": "onnxruntime"}), "run"),
    ],
)
def test_a_recipe_that_is_none_is_refused(text, field):
    with pytest.raises(InvalidError) as caught:
        read_recipe(text)
    assert field in str(caught.value.field)


def test_settings_are_completed():
    assert settled(FACTS, {"share": 1, "skip": ["Add"]}) == {
        "method": "minmax",
        "share": 1.0,
        "per_channel": True,
        "skip": ("Add",),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("colour", 1),
        ("method", "guess"),
        ("method", 3),
        ("share", 1.5),
        ("share", float("nan")),
        ("share", True),
        ("per_channel", 1),
    ],
)
def test_settings_that_cannot_be_are_refused(name, value):
    with pytest.raises(InvalidError, match=name) as caught:
        settled(FACTS, {name: value})
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_drop", -0.1),
        ("confidence", float("nan")),
        ("gain", 0.5),
        ("budget_s", 0.0),
        ("batches", ()),
        ("batches", (0,)),
        ("batches", tuple(range(1, 18))),
        ("threads", 0),
    ],
)
def test_goals_that_cannot_be_are_refused(name, value):
    goal = codec.decode(Goal, codec.encode(Goal()) | {name: value})
    Goal().check()
    with pytest.raises(InvalidError, match=name) as caught:
        goal.check()
    assert caught.value.field == name
