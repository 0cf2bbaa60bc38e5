"""Pairs of passes that only help together: found, few, and within the time."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelworks.core.optimizing.passes import Setting
from modelworks.core.optimizing.variants import Ending, Finding
from modelworks.optimize import enabling
from modelworks.optimize.applying import Failure
from modelworks.optimize.planning import singles
from modelworks.optimize.scoring import MOST
from modelworks.optimize.trying import LATE, Pace
from optimize_fakes import FakeBench, Table, endings, facts, ground, measurement, searched

FUSE = facts("fuse", exact=True)
SHRINK = facts("shrink")
INT8 = facts("int8_dynamic")


def planned(plan, forms: dict[str, Finding]) -> list[str]:
    """Titles of the pairs, after each pass was tried alone."""
    alone = {one.recipe.steps[-1].name: one.recipe for one in singles(plan) if one.recipe.steps}
    seen = [
        Finding(alone[name], ending, "", measured=measurement(ratio) if ratio else None)
        for name, (ending, ratio) in forms.items()
    ]
    found = enabling.enabled(plan, seen, measurement(), {one.recipe.id for one in seen})
    return [one.recipe.title.partition(" @")[0] for one in found]


@pytest.mark.parametrize(("front", "alone"), [(FUSE, 0.91), (SHRINK, 0.99), (SHRINK, 1.01)])
@pytest.mark.parametrize("behind", [0.95, 1.0])
def test_a_pair_of_which_neither_helps_alone_is_found(tmp_path: Path, front, alone, behind):
    forms = {
        front.name: Table(alone),
        "int8_dynamic": Table(behind),
        f"{front.name} int8_dynamic": Table(2.5),
    }
    run = searched(FakeBench(forms), ground(front, INT8), tmp_path / "run").run()
    told = endings(run)
    assert told[front.name] is told["int8_dynamic"] is Ending.SLOWER
    assert told[f"{front.name} > int8_dynamic"] is Ending.KEPT
    assert run.conclusion.startswith(f"{front.name} > int8_dynamic")


def test_a_pair_helps_a_pass_that_could_do_nothing_alone(tmp_path: Path):
    unfit = Failure(Ending.PRUNED, "int8_dynamic: it knows no shape of the second matrix")
    forms = {"int8_dynamic": Table(failure=unfit), "fuse int8_dynamic": Table(2.0)}
    run = searched(FakeBench(forms), ground(FUSE, INT8), tmp_path / "run").run()
    assert endings(run)["int8_dynamic"] is Ending.PRUNED
    assert endings(run)["fuse > int8_dynamic"] is Ending.KEPT


def test_settings_of_a_pair_are_tried_like_those_of_others(tmp_path: Path):
    bits = Setting("bits", 8, "how many", choices=(8, 4))
    forms = {"fuse": Table(0.9), "int8_dynamic": Table(1.0), "fuse int8_dynamic": Table(2.0)}
    plan = ground(FUSE, facts("int8_dynamic", settings=(bits,)))
    run = searched(FakeBench(forms), plan, tmp_path / "run").run()
    assert "fuse > int8_dynamic(bits=4)" in endings(run)


def test_a_smaller_network_is_tried_in_other_engines_though_they_lost_with_the_large_one(
    tmp_path: Path,
):
    litert = facts("litert", produces="tflite", engine="litert", exact=True)
    forms = {"shrink": Table(9.0), "litert": Table(0.7), "shrink litert": Table(14.0)}
    run = searched(FakeBench(forms), ground(SHRINK, litert), tmp_path / "run").run()
    assert endings(run)["litert"] is Ending.SLOWER
    assert run.conclusion.startswith("shrink > litert @ litert")


def test_few_pairs_are_tried_the_most_promising_first_and_not_all_of_one_front():
    fronts = [facts(f"front{n}", exact=True) for n in range(4)]
    plan = ground(*fronts, *(facts(f"int8_{n}") for n in range(4)))
    slower = Ending.SLOWER
    seen = {f"front{n}": (slower, 1.0 - 0.1 * n) for n in range(4)}
    seen |= {f"int8_{n}": (slower, 1.0 - 0.05 * n) for n in range(4)}
    told = planned(plan, seen)
    assert told == [
        "front0 > int8_0",
        "front0 > int8_1",
        "front1 > int8_0",
        "front1 > int8_1",
    ]
    counted = Counter(title.partition(" ")[0] for title in told)
    assert len(told) == enabling.MOST
    assert max(counted.values()) == 2


@pytest.mark.parametrize(
    ("front", "ending", "ratio", "behind", "wanted"),
    [
        (FUSE, Ending.SLOWER, 0.9, (Ending.REFUSED, 3.0), True),  # the fused graph may round better
        (SHRINK, Ending.SLOWER, 0.9, (Ending.REFUSED, 3.0), False),  # it loses twice
        (SHRINK, Ending.REFUSED, 3.0, (Ending.SLOWER, 1.0), False),
        (FUSE, Ending.FAILED, None, (Ending.SLOWER, 1.0), False),
        (SHRINK, Ending.SLOWER, 0.9, (Ending.FAILED, None), False),
        (FUSE, Ending.SLOWER, 0.9, (Ending.SLOWER, 0.4), False),  # twelve times slower stays slow
    ],
)
def test_what_makes_no_pair(front, ending, ratio, behind, wanted):
    told = planned(ground(front, INT8), {front.name: (ending, ratio), "int8_dynamic": behind})
    assert told == ([f"{front.name} > int8_dynamic"] if wanted else [])


def test_a_pair_for_which_there_is_no_time_is_told_and_not_made(tmp_path: Path, monkeypatch):
    now = 0.0

    class Slow(FakeBench):
        def timed(self, forms, seconds):
            nonlocal now
            now += 10.0
            return super().timed(forms, seconds)

    monkeypatch.setattr("modelworks.optimize.trying.time", SimpleNamespace(monotonic=lambda: now))
    forms = {"fuse": Table(0.9), "int8_dynamic": Table(1.0), "fuse int8_dynamic": Table(2.5)}
    bench, plan = Slow(forms), ground(FUSE, INT8)
    run = searched(bench, plan, tmp_path / "run", Pace(30.0, 60.0, 1.0)).run()
    pair = next(one for one in run.findings if len(one.recipe.steps) == 2)
    assert pair.why.startswith(LATE)
    assert pair.recipe.id not in bench.begun
    assert now == 30.0
    monkeypatch.undo()
    again = searched(FakeBench(forms), plan, tmp_path / "run").run()
    assert endings(again)["fuse > int8_dynamic"] is Ending.KEPT


def test_what_is_fastest_at_many_rows_only_is_started_from_too(tmp_path: Path):
    bits = Setting("bits", 8, "how many", choices=(8, 4))
    forms = {f"int8_{n}": Table({1: 4.0 - 0.1 * n, 16: 1.5}) for n in range(4)}
    forms["weights"] = Table({1: 1.1, 16: 3.0})
    plan = ground(*(facts(name, settings=(bits,)) for name in forms))
    told = endings(searched(FakeBench(forms), plan, tmp_path / "run").run())
    assert {"int8_0(bits=4)", "weights(bits=4)"} <= told.keys()
    assert "int8_3(bits=4)" not in told


def test_of_many_forms_the_fastest_at_many_rows_is_kept_too(tmp_path: Path):
    forms = {f"int8_{n}": Table({1: 4.0 - 0.3 * n, 16: 1.0 + 0.4 * n}) for n in range(MOST + 1)}
    plan = ground(*map(facts, forms))
    last = f"int8_{MOST} @ onnxruntime"
    forms[f"by rows (to 4: int8_0 @ onnxruntime; more: {last})"] = Table(9.0, lost=True)
    run = searched(FakeBench(forms), plan, tmp_path / "run").run()
    assert endings(run)["by rows (to 4: int8_0"] is Ending.REFUSED
    titles = [one.recipe.title for one in run.kept]
    assert len(titles) == MOST
    assert titles[0] == "int8_0 @ onnxruntime"
    assert last in titles


def test_the_fastest_at_many_rows_is_proved_though_many_promise_more_at_one(tmp_path: Path):
    forms = {f"int8_{n:02}": Table({1: 4.0 - 0.1 * n, 16: 1.0 + 0.2 * n}) for n in range(20)}
    run = searched(FakeBench(forms), ground(*map(facts, forms)), tmp_path / "run").run()
    [joined] = [one for one in run.kept if one.recipe.parts]
    assert [part.steps[0].name for part in joined.recipe.parts] == ["int8_00", "int8_19"]
