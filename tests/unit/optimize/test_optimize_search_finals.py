"""The last measurement: what befalls a form there is its own end, and not the search's."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelworks.core.optimizing.variants import Ending
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
