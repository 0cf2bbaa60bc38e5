"""The operators to blame: found by halving, within bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.optimizing.variants import Ending
from modelworks.optimize.applying import Failure
from modelworks.optimize.fallback import TRIALS, Fallback
from optimize_fakes import FakeBench, Table, recipe

OPERATORS = tuple(f"op{n}" for n in range(40))


def _kept(one) -> set[str]:
    return set(one.steps[-1].keep)


@given(st.sets(st.sampled_from(OPERATORS), min_size=1, max_size=2))
def test_few_operators_to_blame_are_found_among_many(blamed):
    bench = FakeBench({"int8": Table(operators=OPERATORS, to_blame=frozenset(blamed))})
    search = Fallback(bench, recipe("int8"), OPERATORS, math.inf, lambda _: None)
    found = search.search(lambda one: blamed <= _kept(one))
    assert found is not None
    assert blamed <= _kept(found.recipe)
    assert len(_kept(found.recipe)) <= 3 * len(blamed)
    assert found.trials <= TRIALS
    assert [name for name in OPERATORS if name in _kept(found.recipe)] == list(
        found.recipe.steps[-1].keep
    )


def test_the_trials_are_bounded():
    bench = FakeBench({"int8": Table(operators=OPERATORS, to_blame=frozenset(OPERATORS))})
    search = Fallback(bench, recipe("int8"), OPERATORS, math.inf, lambda _: None)
    assert search.search(lambda _: False) is None
    assert bench.differed <= TRIALS


def test_it_ends_when_it_is_not_worth_it_any_more():
    bench = FakeBench({"int8": Table(operators=OPERATORS, to_blame=frozenset(OPERATORS))})
    search = Fallback(bench, recipe("int8"), OPERATORS, math.inf, lambda _: None)
    asked: list[int] = []
    assert search.search(lambda one: asked.append(len(_kept(one)))) is None
    assert len(asked) == 1


def test_without_time_nothing_is_made():
    bench = FakeBench({"int8": Table(operators=OPERATORS, to_blame=frozenset({"op1"}))})
    search = Fallback(bench, recipe("int8"), OPERATORS, -1.0, lambda _: None)
    assert search.search(lambda _: True) is None
    assert bench.begun == []


@pytest.mark.parametrize("wrong", ["failure", "nan"])
def test_forms_that_cannot_be_compared_are_passed_over(wrong, monkeypatch):
    bench = FakeBench({"int8": Table(operators=OPERATORS)})
    if wrong == "failure":
        bench.forms["int8"].failure = Failure(Ending.FAILED, "no")
    else:
        monkeypatch.setattr(bench, "difference", lambda *_: math.nan)
    search = Fallback(bench, recipe("int8"), OPERATORS, math.inf, lambda _: None)
    assert search.search(lambda _: True) is None
