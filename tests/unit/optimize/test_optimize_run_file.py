"""The record of a run: it only grows, survives a cut line, and says everything on its page."""

import os
import resource
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from modelworks.cli.optimizing_text import plots_of
from modelworks.core.errors import CorruptError, InvalidError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import (
    BatchTime,
    Ending,
    Finding,
    Gate,
    Goal,
    Hardware,
    Measurement,
)
from modelworks.optimize import page
from modelworks.optimize.run import DataFacts, Run, RunFile, read_run, sweep, write_run

pytestmark = pytest.mark.unit
HERE = Hardware("Some Processor", ("avx2",), 2, "x86-64 avx2")


def measured(ratio, size=1_000_000):
    third = (90 / ratio, 100 / ratio, 110 / ratio)
    times = tuple(
        BatchTime(rows, ratio, ratio * 0.9, ratio * 1.1, third, third, 200 / ratio, 500)
        for rows in (1, 16)
    )
    return Measurement(HERE, 1, times, 0.01, 5_000_000, size)


def finding(name, ending, **more):
    return Finding(
        Recipe((RecipeStep(name),), Execution("onnxruntime")), ending, f"why {name}", **more
    )


@pytest.fixture
def run():
    return Run("r1", "fraud:1.0.0", "sha256:0", Goal(), HERE, began_ns=1_700_000_000_000_000_000)


@pytest.fixture
def findings():
    fine = Gate("accuracy", Verdict.PASSED, "accuracy falls by 0.10 points")
    missed = Gate("accuracy", Verdict.FAILED, "accuracy of <b>old</b> falls by 9 points", "age=old")
    worst = ({"row": 7, "before": "1 (0.9)", "after": "0 (0.6)", "difference": 0.5, "truth": "1"},)
    return [
        finding("int8", Ending.KEPT, gates=(fine,), measured=measured(2.0), variant="int8"),
        finding("bad", Ending.REFUSED, gates=(missed,), measured=measured(3.0), worst=worst),
        finding("fp16", Ending.SLOWER, measured=measured(0.7)),
        finding("gone", Ending.FAILED),
        finding("never", Ending.PRUNED),
    ]


def written(path, run, findings):
    file = RunFile(path)
    file.begin(run)
    file.data(DataFacts(evaluation=700, labels=True, notes=("one file",)))
    file.source(measured(1.0, 4_000_000))
    for one in findings:
        file.finding(one)
    file.note("others had the core")
    file.end(1_700_000_060_000_000_000, "int8 is twice as fast")
    return read_run(path)


def test_what_was_written_is_read(tmp_path, run, findings):
    found = written(tmp_path / "run.jsonl", run, findings)
    assert found.findings == tuple(findings)
    assert found.source == measured(1.0, 4_000_000)
    assert found.data.evaluation == 700
    assert found.notes == ("others had the core",)
    assert found.conclusion == "int8 is twice as fast"
    assert [one.variant for one in found.kept] == ["int8"]
    assert '"fraud:1.0.0"' in write_run(found)


def test_a_line_that_was_cut_short_is_left_out_and_written_over(tmp_path, run, findings):
    path = tmp_path / "run.jsonl"
    written(path, run, findings[:2])
    data = path.read_bytes()
    for cut in range(1, len(data), 97):
        path.write_bytes(data[:cut])
        found = read_run(path)
        assert found is None or found.findings == tuple(findings[: len(found.findings)])
    path.write_bytes(data + b'{"finding": {"rec')
    assert read_run(path).findings == tuple(findings[:2])
    RunFile(path).finding(findings[2])
    assert read_run(path).findings == tuple(findings[:3])


def test_the_later_finding_of_a_recipe_counts(tmp_path, run, findings):
    path = tmp_path / "run.jsonl"
    written(path, run, findings)
    late = replace(findings[1], ending=Ending.KEPT, why="with two operators in float")
    RunFile(path).finding(late)
    assert read_run(path).findings[-1] == late
    assert len(read_run(path).findings) == len(findings)


def test_a_whole_line_that_says_nothing_known_is_an_error_with_its_number(tmp_path, run):
    path = tmp_path / "run.jsonl"
    RunFile(path).begin(run)
    for line in (b"nonsense\n", b'{"other": 1}\n', b'{"a": 1, "b": 2}\n', b'{"source": {}}\n'):
        whole = path.read_bytes()
        path.write_bytes(whole + line)
        with pytest.raises(CorruptError, match=r"run\.jsonl, line 2 cannot be understood"):
            read_run(path)
        path.write_bytes(whole)
    path.write_bytes(b'{"note": "early"}\n')
    with pytest.raises(CorruptError, match="'note' stands before 'run'"):
        read_run(path)
    assert read_run(tmp_path / "none.jsonl") is None


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "path"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "path":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_says_every_form_its_gates_and_what_was_not_tried(tmp_path, run, findings):
    text = page.html(written(tmp_path / "run.jsonl", run, findings))
    found = Parsed(text)
    assert found.open == []
    said = "".join(found.text)
    for one in findings:
        assert one.recipe.title in said
        assert one.why in said
    assert "accuracy of <b>old</b> falls by 9 points" in said  # as text, not as a tag
    assert ("b", {}) not in found.tags
    assert "int8 is twice as fast" in said
    assert "Rows whose answers differ most" in said
    dots = [attrs for tag, attrs in found.tags if tag == "circle" and "data-key" in attrs]
    assert [dot["class"] for dot in dots].count("kept") == 1
    assert {dot["data-key"] for dot in dots} == {"source", *(f.recipe.id for f in findings[:3])}
    rows = {attrs.get("id") for tag, attrs in found.tags if tag == "tr"}
    assert {f"f-{dot['data-key']}" for dot in dots} <= rows
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")  # nothing is fetched


def test_a_run_that_found_nothing_has_a_page_too(run):
    found = Parsed(page.html(run))
    assert found.open == []
    assert "This run was not finished." in "".join(found.text)
    assert page.charts_of(run) == []


def test_the_charts_show_the_source_form_and_those_kept(tmp_path, run, findings):
    charts = page.charts_of(written(tmp_path / "run.jsonl", run, findings))
    assert [curve.name.partition(":")[0] for curve in charts[0].curves] == ["source", "int8"]
    assert charts[0].curves[1].points == ((1.0, 2.0), (16.0, 2.0))


def test_the_plots_are_a_picture(tmp_path, run, findings):
    found = written(tmp_path / "run.jsonl", run, findings)
    plots_of(found, tmp_path / "plots.png")
    assert (tmp_path / "plots.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidError, match="nothing to plot"):
        plots_of(run, tmp_path / "none.png")


def test_what_a_full_disk_cut_short_stands_before_nothing(tmp_path, run):
    path = tmp_path / "run.jsonl"
    file = RunFile(path)
    file.begin(run)
    before = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            file.note("a sentence that is longer than there is room for")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == before
    file.note("there is room again")
    assert read_run(path).notes == ("there is room again",)


def test_the_files_of_the_oldest_runs_go_and_those_of_today_stay(tmp_path):
    days = {"old": 9, "older": 10, "last-week": 7, "today": 0, "tomorrow": -1}
    for name, age in days.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"x" * 100)
        os.utime(path, (time.time() - 86_400 * age, time.time() - 86_400 * age))
    (tmp_path / "other").write_bytes(b"x" * 1000)

    def left() -> set[str]:
        return {one.stem for one in tmp_path.glob("*.jsonl")}

    sweep(tmp_path, most=500)
    assert left() == days.keys()
    sweep(tmp_path, most=350)
    assert left() == days.keys() - {"old", "older"}
    sweep(tmp_path, most=0)
    assert left() == {"today", "tomorrow"}
    sweep(tmp_path / "none")
