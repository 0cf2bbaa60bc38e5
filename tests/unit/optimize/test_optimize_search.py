"""The search over a table of forms: what is kept, refused, slower, broken; and its resuming."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from modelworks.core.errors import UnavailableError
from modelworks.core.optimizing.passes import Setting
from modelworks.core.optimizing.variants import Ending, Objective
from modelworks.optimize.applying import NOT_NOW, Failure
from modelworks.optimize.run import read_run
from modelworks.optimize.scoring import MOST
from modelworks.optimize.trying import LATE, Pace
from optimize_fakes import FakeBench, Table, endings, facts, ground, recipe, searched


def test_every_ending_is_told_and_only_what_is_worth_it_stays(tmp_path: Path):
    passes = [facts(name) for name in ("good", "spoilt", "slow", "broken", "dead", "unfit")]
    forms = {
        "good": Table(2.0),
        "spoilt": Table(3.0, lost=True),
        "slow": Table(0.5),
        "broken": Table(failure=Failure(Ending.FAILED, "broken: no such operator")),
        "dead": Table(crash=True),
        "unfit": Table(failure=Failure(Ending.PRUNED, "unfit: it has no convolution")),
    }
    run = searched(FakeBench(forms), ground(*passes), tmp_path / "run").run()
    assert endings(run) == {
        "good": Ending.KEPT,
        "spoilt": Ending.REFUSED,
        "slow": Ending.SLOWER,
        "broken": Ending.FAILED,
        "dead": Ending.FAILED,
        "unfit": Ending.PRUNED,
    }
    by = {one.recipe.steps[0].name: one for one in run.findings}
    assert by["spoilt"].why == "lost 3 points"
    assert by["dead"].why == "the engine died"
    assert [gate.name for gate in by["good"].gates] == ["accuracy", "proof", "p99"]
    assert "good @ onnxruntime: 2.00 x at 1 row" in run.conclusion
    assert read_run(tmp_path / "run").conclusion == run.conclusion


def test_where_nothing_helps_it_is_left_as_it_is(tmp_path: Path):
    bench = FakeBench({"a": Table(1.01), "b": Table(0.3)})
    run = searched(bench, ground(facts("a"), facts("b")), tmp_path / "run").run()
    assert run.kept == ()
    assert run.conclusion.startswith("leave it as it is: nothing that was tried is better")
    assert "2 not better" in run.conclusion


def test_without_any_pass_it_is_left_as_it_is(tmp_path: Path):
    run = searched(FakeBench({}), ground(), tmp_path / "run").run()
    assert "nothing here fits this model" in run.conclusion


@pytest.mark.parametrize("stop_at", range(1, 9))
def test_interrupted_anywhere_it_goes_on_and_judges_nothing_twice(tmp_path: Path, stop_at: int):
    forms = {"a": Table(2.0), "b": Table(3.0), "c": Table(1.5, lost=True), "d": Table(0.9)}
    plan = ground(*(facts(name) for name in forms))
    whole = searched(FakeBench(forms), plan, tmp_path / "whole").run()
    first = FakeBench(forms, stop_at=stop_at)
    with suppress(KeyboardInterrupt):
        searched(first, plan, tmp_path / "run").run()
    second = FakeBench(forms)
    run = searched(second, plan, tmp_path / "run").run()
    for asked in (first.looked_ + second.looked_, first.judged_ + second.judged_):
        assert len(asked) == len(set(asked))
    assert endings(run) == endings(whole)


def test_the_best_so_far_is_known_when_it_is_interrupted(tmp_path: Path):
    bench = FakeBench({"a": Table(2.0), "b": Table(3.0)}, stop_at=2)
    search = searched(bench, ground(facts("a"), facts("b")), tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        search.run()
    bench.stop_at = 0
    best = search.best()
    assert best is not None
    assert best.recipe.steps[0].name == "a"
    assert search.so_far().source is not None


def test_a_torn_last_line_costs_one_candidate(tmp_path: Path):
    plan = ground(facts("a"), facts("b"))
    path = tmp_path / "run"
    bench = FakeBench({"a": Table(2.0), "b": Table(0.5)}, stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        searched(bench, plan, path).run()
    path.write_bytes(path.read_bytes()[:-20])
    run = searched(FakeBench({"a": Table(2.0), "b": Table(0.5)}), plan, path).run()
    assert endings(run) == {"a": Ending.KEPT, "b": Ending.SLOWER}


def test_what_there_was_no_time_for_is_said_and_tried_the_next_time(tmp_path: Path):
    plan = ground(facts("a"), facts("b"))
    now = time.monotonic()
    over = Pace(now - 1, now + 60, 1.0)
    bench = FakeBench({"a": Table(2.0)})
    run = searched(bench, plan, tmp_path / "run", over).run()
    assert {one.why.startswith(LATE) for one in run.findings} == {True}
    assert run.conclusion == (
        "nothing was tried, so it is left as it is; for 2 there was no time within 60 s"
    )
    assert bench.begun == []
    again = searched(FakeBench({"a": Table(2.0)}), plan, tmp_path / "run").run()
    assert endings(again)["a"] is Ending.KEPT


def test_a_pass_that_ran_out_of_time_is_tried_the_next_time(tmp_path: Path):
    late = Failure(Ending.PRUNED, "a takes about 40 s, and 3 were left", late=True)
    plan = ground(facts("a"))
    run = searched(FakeBench({"a": Table(failure=late)}), plan, tmp_path / "run").run()
    assert run.findings[0].why == f"{LATE}: a takes about 40 s, and 3 were left"
    again = searched(FakeBench({"a": Table(2.0)}), plan, tmp_path / "run").run()
    assert endings(again) == {"a": Ending.KEPT}


def test_who_goes_on_has_no_conclusion_until_it_ends_again(tmp_path: Path):
    plan, path, now = ground(facts("a")), tmp_path / "run", time.monotonic()
    searched(FakeBench({"a": Table(2.0)}), plan, path, Pace(now - 1, now + 60, 1.0)).run()
    assert read_run(path).conclusion
    again = FakeBench({"a": Table(2.0)}, stop_at=2)  # it ends after "a", before it is measured well
    with pytest.raises(KeyboardInterrupt):
        searched(again, plan, path).run()
    killed = read_run(path)
    assert killed.conclusion == ""
    assert endings(killed) == {"a": Ending.KEPT}
    done = searched(FakeBench({"a": Table(2.0)}), plan, path).run()
    assert read_run(path).conclusion == done.conclusion
    once_more = searched(FakeBench({"a": Table(2.0)}), plan, path).run()
    names = [gate.name for gate in once_more.findings[0].gates]
    assert len(set(names)) == len(names)  # a later measurement takes the place of an earlier


def test_forms_that_are_out_may_go(tmp_path: Path):
    passes = [facts("good"), facts("slow"), facts("int8", keeps=True)]
    operators = tuple(f"op{n}" for n in range(4))
    spoilt = Table(3.0, lost=True, operators=operators, to_blame=frozenset({"op3"}))
    bench = FakeBench({"good": Table(2.0), "slow": Table(0.5), "int8": spoilt})
    run = searched(bench, ground(*passes), tmp_path / "run").run()
    assert {"slow @ onnxruntime", "int8 @ onnxruntime"} <= set(bench.left)
    assert "good @ onnxruntime" not in bench.left
    trials = [title for title in bench.left if "in float" in title]
    assert len(trials) >= bench.differed > 0
    assert run.kept


def test_a_full_disk_is_told_and_tried_again_when_there_is_room(tmp_path: Path):
    full = Failure(Ending.FAILED, f"{NOT_NOW}: a: no space left", late=True)
    plan = ground(facts("a"), facts("b"))
    run = searched(FakeBench({"a": Table(failure=full)}), plan, tmp_path / "run").run()
    assert endings(run)["a"] is Ending.FAILED
    assert "goes on when that is mended" in run.conclusion
    second = FakeBench({"a": Table(2.0)})
    assert endings(searched(second, plan, tmp_path / "run").run())["a"] is Ending.KEPT


def test_one_recipe_alone_is_tried_and_nothing_else(tmp_path: Path):
    plan, bench = ground(facts("a"), facts("b")), FakeBench({"a": Table(2.0), "b": Table(3.0)})
    run = searched(bench, plan, tmp_path / "run", only=recipe("a")).run()
    assert endings(run) == {"a": Ending.KEPT}


def test_what_shrinks_and_what_lowers_are_put_together(tmp_path: Path):
    plan = ground(facts("distil"), facts("int8_dynamic"), facts("tidy", exact=True))
    forms = {"distil": Table(2.0), "int8_dynamic": Table(2.2), "distil int8_dynamic": Table(4.0)}
    bench = FakeBench(forms)
    run = searched(bench, plan, tmp_path / "run").run()
    told = endings(run)
    assert told["distil > int8_dynamic"] is Ending.KEPT
    assert "int8_dynamic > distil" not in told
    assert "tidy > int8_dynamic" in told
    assert "tidy > tidy" not in told


def test_settings_of_the_best_are_tried_last(tmp_path: Path):
    method = Setting("method", "minmax", "how", choices=("minmax", "entropy"))
    plan = ground(facts("int8_static", settings=(method,)))
    forms = {
        "int8_static": Table(3.0, lost=True),
        "int8_static(method=entropy) @ onnxruntime": Table(2.9),
    }
    run = searched(FakeBench(forms), plan, tmp_path / "run").run()
    told = endings(run)
    assert told["int8_static"] is Ending.REFUSED
    assert told["int8_static(method=entropy)"] is Ending.KEPT


def test_settings_of_what_does_not_help_are_left_alone(tmp_path: Path):
    method = Setting("method", "minmax", "how", choices=("minmax", "entropy"))
    plan = ground(facts("int8_static", settings=(method,)))
    run = searched(FakeBench({"int8_static": Table(1.01)}), plan, tmp_path / "run").run()
    assert set(endings(run)) == {"int8_static"}


def test_operators_to_blame_go_back_to_float(tmp_path: Path):
    operators = tuple(f"op{n}" for n in range(20))
    blamed = frozenset({"op3", "op17"})
    forms = {
        "int8": Table(3.0, lost=True, operators=operators, to_blame=blamed),
        "safe": Table(1.2),
    }
    bench = FakeBench(forms)
    run = searched(bench, ground(facts("int8", keeps=True), facts("safe")), tmp_path / "run").run()
    best = run.kept[0].recipe.steps[-1]
    assert best.name == "int8"
    assert blamed <= set(best.keep)
    assert len(best.keep) <= 4


def test_of_many_only_the_best_few_stay(tmp_path: Path):
    names = [f"int8_{n:02}" for n in range(20)]
    forms = {name: Table(1.5 + 0.1 * n, size=1000 + n) for n, name in enumerate(names)}
    run = searched(FakeBench(forms), ground(*map(facts, names)), tmp_path / "run").run()
    assert 1 <= len(run.kept) <= MOST
    assert run.kept[0].recipe.steps[0].name == "int8_19"
    out = [one for one in run.findings if one.ending is Ending.SLOWER]
    assert all("better" in one.why or "as good" in one.why for one in out)


def test_the_best_by_rows_lie_side_by_side(tmp_path: Path):
    forms = {"small": Table({1: 4.0, 16: 0.5}), "large": Table({1: 1.2, 16: 3.0})}
    plan = ground(facts("small"), facts("large"))
    run = searched(FakeBench(forms), plan, tmp_path / "run").run()
    joined = next(one for one in run.kept if one.recipe.parts)
    assert [part.steps[0].name for part in joined.recipe.parts] == ["small", "large"]
    assert joined.recipe.rows == (4, 0)
    assert joined.recipe.run.engine == "by_rows"


def test_the_source_form_may_be_a_part(tmp_path: Path):
    forms = {"small": Table({1: 4.0, 16: 0.5})}
    run = searched(FakeBench(forms), ground(facts("small")), tmp_path / "run").run()
    joined = next(one for one in run.kept if one.recipe.parts)
    assert [part.steps for part in joined.recipe.parts][1] == ()


def test_size_is_a_goal_of_its_own(tmp_path: Path):
    plan = ground(facts("zipped", size_only=True), facts("fast"), objective=Objective.SIZE)
    forms = {"zipped": Table(0.9, size=300), "fast": Table(3.0, size=1000)}
    run = searched(FakeBench(forms), plan, tmp_path / "run").run()
    assert endings(run)["zipped"] is Ending.KEPT
    assert endings(run)["fast"] is Ending.SLOWER


def test_a_disk_that_is_full_is_said(tmp_path: Path):
    bench = FakeBench({"a": Table(2.0)})
    search = searched(bench, ground(facts("a")), tmp_path / "run")
    (tmp_path / "run").unlink()
    (tmp_path / "run").mkdir()  # nothing can be written there any more
    with pytest.raises(UnavailableError, match="the same command goes on from there"):
        search.run()
