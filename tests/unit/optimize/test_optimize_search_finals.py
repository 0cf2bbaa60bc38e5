"""The last measurement: what befalls a form there is its own end, and not the search's."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError, UnavailableError
from modelworks.core.optimizing.variants import Ending
from modelworks.optimize.applying import NOT_NOW
from modelworks.optimize.trying import LATE, Pace
from optimize_fakes import FakeBench, Table, facts, ground, searched

pytestmark = pytest.mark.unit
PAIR = {"small": Table({1: 4.0, 16: 0.5}), "large": Table({1: 1.2, 16: 3.0})}


class Frail(FakeBench):
    """One of its forms runs alone, and not beside others."""

    def timed(self, forms, seconds):
        found = super().timed(forms, seconds)
        alone = len(forms) == 1
        told = (
            "no memory is left for it" if not alone and _is(form, "frail") else one
            for form, one in zip(forms, found.forms, strict=True)
        )
        return replace(found, forms=tuple(told))


def _is(form, name):
    return bool(form.recipe.steps) and form.recipe.steps[0].name == name


def test_a_form_that_fails_beside_the_others_does_not_end_the_search(tmp_path: Path):
    forms = {**PAIR, "frail": Table(2.0)}
    run = searched(Frail(forms), ground(*map(facts, forms)), tmp_path / "run").run()
    told = {one.recipe.title: one for one in run.findings}
    assert told["frail @ onnxruntime"].ending is Ending.FAILED
    assert told["frail @ onnxruntime"].why == "no memory is left for it"
    assert [one for one in run.kept if one.recipe.parts]


class Stopped(FakeBench):
    """The form by rows cannot be looked at; it is so late then."""

    error: ModelworksError
    late: float
    now: float = 100.0

    def looked(self, form, until):
        if form.recipe.parts:
            self.now = self.late
            raise self.error
        return super().looked(form, until)


@pytest.mark.parametrize(
    ("error", "late", "ending", "why", "again"),
    [
        (UnavailableError("no space left"), 200.0, Ending.FAILED, f"{NOT_NOW}: no space", 1),
        (RefusedError("it took longer"), 2000.0, Ending.PRUNED, f"{LATE}: it took longer", 1),
        (InvalidError("no such operator"), 200.0, Ending.FAILED, "no such operator", 0),
    ],
)
def test_forms_by_rows_wait_for_the_next_run_where_time_or_room_was_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error, late, ending, why, again
):
    plan, path = ground(*map(facts, PAIR)), tmp_path / "run"
    bench = Stopped(PAIR)
    bench.error, bench.late = error, late
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: bench.now)
        run = searched(bench, plan, path, Pace(500.0, 1000.0, 1.0)).run()
    [joined] = [one for one in run.findings if one.recipe.parts]
    assert joined.ending is ending
    assert joined.why.startswith(why)
    run = searched(FakeBench(PAIR), plan, path).run()
    assert len([one for one in run.kept if one.recipe.parts]) == again
