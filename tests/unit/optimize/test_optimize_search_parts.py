"""Forms that a gate refuses are followed to where they part: a few of them, in little time."""

import time

import pytest

from modelworks.core.optimizing.variants import Ending
from modelworks.optimize.trying import Pace
from optimize_fakes import FakeBench, Table, facts, ground, searched

pytestmark = pytest.mark.unit

LOST = Table(ratio=3.0, lost=True)


def refused(search):
    return [one for one in search.run().findings if one.ending is Ending.REFUSED]


def test_a_refused_form_says_where_it_parts_and_a_kept_one_is_not_followed(tmp_path):
    bench = FakeBench({"bad": LOST, "good": Table(ratio=2.0)})
    found = refused(searched(bench, ground(facts("bad"), facts("good")), tmp_path / "run"))
    assert {one.parts for one in found if len(one.recipe.steps) == 1} == {
        "parts first at /layer2/Conv"
    }
    followed = set(bench.followed)
    assert followed <= {one.recipe.id for one in found}


def test_of_many_the_first_six_are_followed(tmp_path):
    passes = [facts(f"p{n}") for n in range(9)]
    bench = FakeBench({one.name: LOST for one in passes})
    found = refused(searched(bench, ground(*passes), tmp_path / "run"))
    assert len(found) >= 9
    assert len(bench.followed) == 6
    assert sum(bool(one.parts) for one in found) == 6


def test_where_time_is_short_nothing_is_followed(tmp_path):
    bench = FakeBench({"bad": LOST})
    pace = Pace(time.monotonic() + 20, time.monotonic() + 25, 0.1)
    found = refused(searched(bench, ground(facts("bad")), tmp_path / "run", pace))
    assert found
    assert bench.followed == []


def test_a_form_with_operators_back_in_float_is_the_same_form_again(tmp_path):
    table = Table(ratio=3.0, lost=True, operators=tuple("abcdefgh"), to_blame=frozenset("c"))
    bench = FakeBench({"int8": table})
    searched(bench, ground(facts("int8", keeps=True)), tmp_path / "run").run()
    assert len(bench.looked_) > 1
    assert len(bench.followed) == 1
