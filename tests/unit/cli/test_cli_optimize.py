"""`modelworks optimize` without a search: its words, its report, its recipes."""

from dataclasses import replace
from pathlib import Path

import click
import pytest

from modelworks.cli.exits import Exit
from modelworks.cli.optimizing import AMOUNT, SECONDS, Words
from modelworks.control.optimizing.place import KIND
from modelworks.control.optimizing.storing import store
from modelworks.control.service import Factory
from modelworks.core import codec
from modelworks.core.errors import UnavailableError
from modelworks.core.lock import locked
from modelworks.core.model import Evidence, Verdict
from modelworks.core.optimizing.recipes import read_recipe
from modelworks.core.optimizing.variants import Ending, Finding, Gate, Goal
from modelworks.optimize.forms import Form
from modelworks.optimize.run import Run
from optimize_fakes import HARDWARE, measurement, recipe

PARTS = "parts first at /layer2/Conv: 0.3 apart"
GATE = Gate("accuracy", Verdict.PASSED, "it falls by 0.1 points at most")


class Shop:
    """What a workshop says of a form."""

    def environment(self, recipe):
        return {"onnx": "1.23"}

    def stamped(self, recipe):
        return recipe


@pytest.fixture
def optimized(filled, tmp_path: Path) -> Run:
    """fraud 1.1.0 with a run of four findings, one of them a variant."""
    found = measurement({1: 2.5, 16: 2.0}, size=200)
    kept = Finding(recipe("int8_static"), Ending.KEPT, "2.50 x at 1 row", (GATE,), found)
    folder = tmp_path / "form"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"faster")
    with Factory(filled) as factory:
        version = factory.show("fraud:1.1.0")
        form = Form(kept.recipe, folder, "onnx", version.signature)
        shelf = factory.optimizing._shelf
        given = (shelf, version, kept, form, measurement(), Goal(), Shop())
        variant = store(*given)
        assert store(*given).name == variant.name
        (folder / "model.onnx").write_bytes(b"faster still")
        assert store(*given).name == "int8-static-2"
        findings = (
            replace(kept, variant=variant.name),
            Finding(
                recipe("int8_dynamic"), Ending.REFUSED, "lost 3 points", (), found, parts=PARTS
            ),
            Finding(recipe("low_rank"), Ending.FAILED, "low_rank: no such thing"),
            *(Finding(recipe(f"p{n}"), Ending.PRUNED, "needs numba") for n in range(14)),
        )
        run = Run(
            "r", version.ref, "sha256:0", Goal(), HARDWARE, source=measurement(), findings=findings
        )
        run = replace(run, conclusion="int8_static: 2.50 x at 1 row; kept")
        evidence = Evidence(KIND, Verdict.PASSED, run.conclusion, codec.encode(run))
        factory.note_evidence(version.ref, evidence)
    return run


def test_the_report_tells_every_form(type_, optimized):
    done = type_("optimize", "report", "fraud:1.1.0")
    assert done.code == Exit.OK
    assert "fraud:1.1.0: int8_static: 2.50 x at 1 row; kept" in done.out
    row = next(line for line in done.out.splitlines() if line.startswith("int8-static"))
    assert row.split()[-6:] == ["2.50", "2.00", "200", "B", "8.4", "MB"]
    assert f"- refused: int8_dynamic @ onnxruntime: lost 3 points\n  {PARTS}" in done.err
    assert "- failed: low_rank @ onnxruntime: low_rank: no such thing" in done.err
    assert "- 2 more were not tried" in done.err
    told = type_("optimize", "report", "fraud:1.1.0", "--json").json
    assert codec.decode(Run, told) == optimized


def test_a_variant_is_explained_and_its_recipe_is_a_file(type_, optimized):
    text = type_("optimize", "explain", "fraud:1.1.0#int8-static").out
    for words in (
        "fraud:1.1.0#int8-static: int8_static @ onnxruntime",
        "- 1 row: 2.50 x the source form (2.45 to 2.55), 10 us of CPU a call, p99 20 us",
        "- accuracy passed: it falls by 0.1 points at most",
        "- made with onnx 1.23",
    ):
        assert words in text
    written = type_("optimize", "recipe", "fraud:1.1.0#int8-static").out
    assert read_recipe(written) == recipe("int8_static")
    assert type_("optimize", "explain", "fraud:1.1.0#none").code == Exit.NOT_FOUND
    assert type_("optimize", "explain", "fraud:1.1.0").code == Exit.INVALID


def test_what_was_not_optimized_says_how(type_, filled):
    done = type_("optimize", "report", "churn")
    assert done.code == Exit.NOT_FOUND
    assert "modelworks optimize churn:1.0.0" in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("none",), Exit.NOT_FOUND, "none"),
        (("churn", "--objective", "cost"), Exit.INVALID, "--price"),
        (("churn", "--confidence", "0.2"), Exit.INVALID, "confidence"),
        (("churn", "--slice-drop", "200pp"), Exit.INVALID, "slice_drop: 2.0"),
        (("churn", "--batches", "0"), Exit.INVALID, "batches"),
        (("churn", "--batches", "one"), Exit.USAGE, "numbers"),
        (("churn", "--batches", ","), Exit.INVALID, "batches"),
        (("churn", "--threads", "999"), Exit.INVALID, "cores"),
        (("churn", "--seed", str(2**31)), Exit.USAGE, "seed"),
        (("churn", "--budget", "0"), Exit.INVALID, "budget"),
        (("churn", "--budget", "soon"), Exit.USAGE, "no length of time"),
        (("--budget", "1s", "churn", "--max-drop", "x"), Exit.USAGE, "0.5pp"),
        (("churn", "--passes", "nonsense"), Exit.NOT_FOUND, "no pass 'nonsense'"),
        (("run", "churn", "--passes", "nonsense"), Exit.NOT_FOUND, "no pass 'nonsense'"),
        (("churn", "--eval", "none.csv"), Exit.NOT_FOUND, "none.csv"),
        (("churn", "--slices", "age"), Exit.INVALID, "--slices"),
        (("apply", "none.json", "churn"), Exit.NOT_FOUND, "none.json"),
        (("diverge", "churn#none"), Exit.NOT_FOUND, "none"),
        (("diverge", "churn", "--rows", "none.csv"), Exit.NOT_FOUND, "none.csv"),
        (("diverge", "churn", "--recipe", "none.json"), Exit.NOT_FOUND, "none.json"),
    ],
)
def test_what_cannot_be_is_refused(type_, filled, words, code, says):
    done = type_("optimize", *words)
    assert (done.code, says in done.err) == (code, True), done.err


def test_two_at_once_are_one_too_many(type_, filled):
    locks = filled.optimize / "locks"
    with locked(locks / "default-churn-1.0.0.lock"):
        done = type_("optimize", "churn")
    assert done.code == Exit.CONFLICT
    assert "is being optimized by another process" in done.err


def test_a_place_that_cannot_be_written_is_said(type_, filled):
    filled.optimize.write_text("in the way")
    done = type_("optimize", "churn")
    assert done.code == Exit.UNAVAILABLE
    assert "MODELWORKS_HOME" in done.err


def test_names_run_out(filled, tmp_path):
    class Full:
        def add_variant(self, variant, folder):
            from modelworks.core.errors import ConflictError

            raise ConflictError("taken")

    kept = Finding(recipe("a"), Ending.KEPT, "", (), measurement())
    with Factory(filled) as factory:
        version = factory.show("churn")
    form = Form(kept.recipe, tmp_path, "onnx", version.signature)
    with pytest.raises(UnavailableError, match="no name is free"):
        store(Full(), version, kept, form, measurement(), Goal(), Shop())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (SECONDS, "90", 90.0),
        (SECONDS, "10m", 600.0),
        (SECONDS, "1.5h", 5400.0),
        (AMOUNT, "0.5pp", 0.005),
        (AMOUNT, "99%", 0.99),
        (AMOUNT, "0.01", 0.01),
        (Words(int), "1, 16,", (1, 16)),
        (Words(), "", ()),
    ],
)
def test_values_as_people_write_them(kind, text, value):
    assert kind.convert(text, None, None) == pytest.approx(value)


@pytest.mark.parametrize("kind", [SECONDS, AMOUNT])
@pytest.mark.parametrize("text", ["", "-1", "1 week", "nan"])
def test_values_that_are_none(kind, text):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)
