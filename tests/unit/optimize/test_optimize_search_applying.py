"""Forms are made by passes in their order, none twice; whatever goes wrong is a sentence."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from modelworks.core import codec
from modelworks.core.errors import (
    CrashedError,
    MissingExtraError,
    ModelworksError,
    RefusedError,
    UnavailableError,
)
from modelworks.core.optimizing.passes import Applied, Need, Setting
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import Ending
from modelworks.optimize.applying import Failure, Stock, Workshop
from modelworks.optimize.facts import known_passes
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.memory import Cache
from optimize_fakes import HARDWARE, SIGNATURE, facts, recipe

FACTS = {
    "a": facts("a", settings=(Setting("much", 1, "how much"),)),
    "b": facts("b", produces="tflite", engine="litert"),
    "c": facts("c", needs=frozenset({Need.ROWS})),
    "d": facts("d", looks=True),
}


@dataclass
class Runner:
    """In the sandbox's place: writes what a pass would have written."""

    jobs: list = field(default_factory=list)
    error: ModelworksError | None = None
    answer: dict | None = None

    def __call__(self, job, progress):
        self.jobs.append(job)
        if self.error is not None:
            raise self.error
        asked = job.arguments["job"]
        if self.answer is not None:
            return SimpleNamespace(value=self.answer)
        name = job.arguments["pass"]
        before = "".join(one.read_text() for one in Path(asked["source"]).iterdir())
        (Path(asked["into"]) / "model").write_text(f"{before} {name}{asked['settings']}")
        applied = Applied(FACTS[name].produces, operators=("x", "y"))
        return SimpleNamespace(value={"applied": codec.encode(applied)})


@pytest.fixture
def source(tmp_path: Path) -> Form:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model").write_text("source")
    return Form(Recipe(), folder, "onnx", SIGNATURE)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as made:
        yield made


def shop(cache: Cache, source: Form, runner: Runner, **stock) -> Workshop:
    return Workshop(cache, FACTS, source, Stock(SIGNATURE, "sha256:0", HARDWARE, **stock), runner)


def made(workshop: Workshop, one: Recipe, until: float = math.inf) -> Form | Failure:
    return workshop.make(one, until, lambda _: None)


def test_passes_follow_each_other_and_a_common_beginning_is_made_once(cache, source):
    runner = Runner()
    workshop = shop(cache, source, runner)
    first = made(workshop, recipe("a", "b", engine="litert"))
    assert isinstance(first, Form)
    assert (first.format, (first.folder / "model").read_text()) == (
        "tflite",
        "source a{'much': 1} b{}",
    )
    made(workshop, recipe("a", "c"))
    assert [job.arguments["pass"] for job in runner.jobs] == ["a", "b", "c"]
    assert workshop.applied(first.recipe).operators == ("x", "y")
    again = Runner()
    assert isinstance(made(shop(cache, source, again), first.recipe), Form)
    assert again.jobs == []


def test_the_source_form_needs_no_pass(cache, source):
    found = made(shop(cache, source, Runner()), Recipe(run=Execution("onnxruntime")))
    assert isinstance(found, Form)
    assert found.folder == source.folder


def test_what_is_let_go_makes_room_but_for_what_others_use(tmp_path, source):
    with Cache(tmp_path / "small", most=1) as cache:
        runner = Runner()
        workshop = shop(cache, source, runner)
        first, second = recipe("a", "b", engine="litert"), recipe("a", "c")
        forms = [made(workshop, one) for one in (first, second)]
        assert all(form.folder.exists() for form in forms)  # both are held, however large
        workshop.let_go(first)
        made(workshop, recipe("c"))  # what is put makes room
        assert not forms[0].folder.exists()
        assert forms[1].folder.exists()
        assert workshop.applied(first) is None
        assert isinstance(made(workshop, first), Form)  # made again: "a" was kept for the second
        assert [job.arguments["pass"] for job in runner.jobs] == ["a", "b", "c", "c", "b"]
        workshop.let_go(recipe("z"))
        workshop.let_go(Recipe((RecipeStep("a", {"much": "none"}),)))


@pytest.mark.parametrize("change", ["settings", "keep", "version", "seed", "hardware", "source"])
def test_another_question_is_another_form(cache, source, change):
    runner = Runner()
    made(shop(cache, source, runner), recipe("a"))
    step, stock, known = RecipeStep("a"), Stock(SIGNATURE, "sha256:0", HARDWARE), dict(FACTS)
    if change == "settings":
        step = RecipeStep("a", {"much": 2})
    elif change == "keep":
        step = RecipeStep("a", {}, ("x",))
    elif change == "version":
        known["a"] = replace(FACTS["a"], version=2)
    elif change == "seed":
        stock = replace(stock, seed=1)
    elif change == "hardware":
        stock = replace(stock, hardware=replace(HARDWARE, kind="arm64"))
    else:
        stock = replace(stock, digest="sha256:1")
    made(Workshop(cache, known, source, stock, runner), Recipe((step,)))
    assert len(runner.jobs) == 2


def test_calibration_rows_count_for_those_that_see_them(cache, source, tmp_path):
    runner = Runner()
    for value in (1.0, 2.0):
        file = tmp_path / f"rows-{value}.npz"
        np.savez(file, x=np.full(3, value))
        for name in ("a", "c", "d"):
            made(shop(cache, source, runner, calibration=Rows(file, 3)), recipe(name))
    told = [(job.arguments["pass"], job.arguments["job"]["calibration"]) for job in runner.jobs]
    assert [name for name, _ in told] == ["a", "c", "d", "c", "d"]
    assert [name for name, rows in told if rows is None] == ["a"]  # what it does not see


@pytest.mark.parametrize(
    ("error", "ending", "says"),
    [
        (CrashedError("the job died of SIGSEGV"), Ending.FAILED, "a: the job died of SIGSEGV"),
        (
            RefusedError("the job needs more; MODELWORKS_IMPORT_MEMORY raises the limit"),
            Ending.FAILED,
            "a: the job needs more",
        ),
        (UnavailableError("no space left"), Ending.FAILED, "not now: a: no space left"),
        (
            MissingExtraError("passe 'a'", "a", "nncf"),
            Ending.PRUNED,
            'the pass a needs nncf, which is not installed: pip install "modelworks[optimize-',
        ),
    ],
)
def test_what_goes_wrong_is_a_finding(cache, source, error, ending, says):
    found = made(shop(cache, source, Runner(error=error)), recipe("a"))
    assert isinstance(found, Failure)
    assert found.ending is ending
    assert found.why.startswith(says)
    assert "MODELWORKS_IMPORT" not in found.why


def test_a_pass_that_finds_nothing_to_do_says_why(cache, source):
    runner = Runner(answer={"unfit": "there is no convolution"})
    found = made(shop(cache, source, runner), recipe("a"))
    assert found == Failure(Ending.PRUNED, "a: there is no convolution")


def test_time_that_is_over_is_no_fault_of_the_pass(cache, source):
    workshop = shop(cache, source, Runner())
    assert made(workshop, recipe("a"), time.monotonic()).late
    runner = Runner(answer={"late": 90.0})
    found = made(shop(cache, source, runner), recipe("a"), time.monotonic() + 5)
    assert found.late
    assert "a takes about 90 s" in found.why


def test_a_form_of_another_format_than_told_is_refused(cache, source):
    runner = Runner(answer={"applied": codec.encode(Applied("tflite"))})
    found = made(shop(cache, source, runner), recipe("a"))
    assert "it wrote tflite, and onnx was told" in found.why


def test_a_pass_that_is_not_there(cache, source):
    assert made(shop(cache, source, Runner()), recipe("z")).why == "there is no pass z here"


@dataclass
class FactsRunner:
    """Dies at one pass, and tells facts of the others."""

    dies_at: str = ""
    runs: int = 0

    def __call__(self, job, progress):
        self.runs += 1
        told = {}
        for name in job.arguments["names"]:
            progress(name)
            if name == self.dies_at:
                raise CrashedError("the job died of SIGSEGV")
            told[name] = codec.encode(facts(name, needs=frozenset({Need.ROWS})))
        missing = {"nncf_int8": "nncf"} if told.pop("nncf_int8", None) else {}
        return SimpleNamespace(value={"facts": told, "missing": missing, "broken": {}})


def test_facts_are_read_once_and_a_pass_that_kills_its_process_is_named(tmp_path: Path):
    names, memory = ("litert", "nncf_int8", "onnx_clean"), tmp_path / "facts.json"
    runner = FactsRunner(dies_at="litert")
    known = known_passes(names, memory, tmp_path, runner)
    assert set(known.facts) == {"onnx_clean"}
    assert known.facts["onnx_clean"].needs == frozenset({Need.ROWS})
    assert "cannot be loaded: the job died of SIGSEGV" in known.absent["litert"]
    assert 'pip install "modelworks[optimize-openvino]"' in known.absent["nncf_int8"]
    assert runner.runs == 2
    again = FactsRunner(dies_at="onnx_clean")
    assert known_passes(("onnx_clean",), memory, tmp_path, again).facts == known.facts
    assert again.runs == 0


@pytest.mark.parametrize("harm", ["json", "list", "need", "more", "less", "setting"])
def test_a_memory_of_facts_that_is_damaged_is_written_anew(tmp_path: Path, harm: str):
    memory = tmp_path / "facts.json"
    known = known_passes(("onnx_clean",), memory, tmp_path, FactsRunner()).facts
    whole = json.loads(memory.read_text())
    told = whole["onnx_clean"]
    if harm == "need":  # one of an older Modelworks
        told["facts"]["needs"] = ["training"]
    elif harm == "more":
        told["facts"]["colour"] = 1
    elif harm == "setting":
        told["facts"]["settings"] = [3]
    elif harm == "less":
        del told["facts"]
    memory.write_text({"json": "{]", "list": '{"onnx_clean": []}'}.get(harm, json.dumps(whole)))
    runner = FactsRunner()
    assert known_passes(("onnx_clean",), memory, tmp_path, runner).facts == known
    assert runner.runs == 1
    assert json.loads(memory.read_text())["onnx_clean"]["facts"]["needs"] == ["rows"]


def test_a_plug_in_whose_package_is_gone_is_one_absent_pass(tmp_path: Path, monkeypatch):
    gone = EntryPoint("gone", "no_such_package.passes:Gone", "modelworks.passes")
    monkeypatch.setattr("modelworks.optimize.facts.available", lambda _: {"gone": gone})
    known = known_passes((), tmp_path / "facts.json", tmp_path, FactsRunner(dies_at="gone"))
    assert (dict(known.facts), set(known.absent)) == ({}, {"gone"})


def test_a_form_that_learned_from_rows_is_known_also_as_a_part(cache: Cache, source: Form):
    """What a glance at those very rows shows of it is believed less."""
    told = {
        "int8_static": facts("int8_static", keeps=True, needs=frozenset({Need.ROWS})),
        "tidy": facts("tidy", exact=True),
        "distil": facts("distil", needs=frozenset({Need.ROWS})),
        "nncf_accuracy": facts("nncf_accuracy", keeps=True, needs=frozenset({Need.LABELS})),
    }
    workshop = Workshop(cache, told, source, Stock(SIGNATURE, "sha256:0", HARDWARE), Runner())
    learned = {name for name in told if workshop.learns(recipe("tidy", name))}
    assert learned == {"distil", "nncf_accuracy"}
    joined = Recipe(run=Execution("by_rows"), parts=(recipe("tidy"), recipe("distil")), rows=(4, 0))
    assert workshop.learns(joined)
