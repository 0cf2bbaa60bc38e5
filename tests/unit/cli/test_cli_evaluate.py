"""`evaluate` and `tensorboard` as typed: files in, tables, JSON, pages and event files out."""

import json
import warnings

import numpy as np
import pytest

from modelworks.cli.exits import Exit
from modelworks.evaluation.tfma import JSON, RECORDS

pytestmark = pytest.mark.unit


def write(path, columns):
    lines = [",".join(columns)]
    lines += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def table(tmp_path):
    """Scores of 600 rows; those of the moon are worse; the last ten have no truth yet."""
    generator = np.random.default_rng(0)
    where = generator.choice(["eu", "moon"], 600)
    scores = generator.random(600)
    held = np.where(where == "moon", 0.5, scores)
    truth = np.where(generator.random(600) < held, "yes", "no").astype(object)
    truth[-10:] = ""
    label = np.where(scores >= 0.5, "yes", "no")
    columns = {"id": range(600), "y": truth, "p": scores, "said": label, "where": where}
    return columns, write(tmp_path / "p.csv", columns)


def test_a_table_a_slice_a_page_and_files(type_, table, tmp_path):
    _, path = table
    words = ["--predictions", path, "--truth", "y", "--score", "p", "--slice", "where"]
    html, board, tfma = tmp_path / "p.html", tmp_path / "board", tmp_path / "tfma"
    words += ["--html", str(html), "--tensorboard", str(board), "--tfma", str(tfma)]
    words += ["--step", "7"]
    done = type_("evaluate", *words)
    assert done.code == Exit.OK, done.err
    assert "10 rows have no truth yet" in done.err
    assert "2 slices: each of their intervals is at 97.50%" in done.err
    assert "roc_auc" in done.out
    assert "worse than the rest" in done.out
    assert "<svg" in html.read_text()
    assert "where=moon" in html.read_text()
    assert sorted(p.name for p in board.iterdir()) == ["all", "where=eu", "where=moon"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(board / "where=moon"))
        events.Reload()
    (scalar,) = events.Scalars("accuracy/value")
    assert (scalar.step, 0.4 < scalar.value < 0.7) == (7, True)
    keys = [one["sliceKey"] for one in json.loads((tfma / JSON).read_text())]
    assert len(keys) == 3
    assert (tfma / RECORDS).stat().st_size > 1000


def test_one_json_document(type_, table):
    columns, path = table
    words = ("--predictions", path, "--truth", "y", "--label", "said", "--json")
    told = type_("evaluate", *words)
    found = told.json
    assert told.err == ""
    assert (found["task"], found["rows"], found["without_truth"]) == ("binary", 590, 10)
    figures = {one["metric"]: one for one in found["figures"]}
    right = np.mean(columns["y"][:590] == columns["said"][:590])
    assert figures["accuracy"]["value"] == pytest.approx(right)
    assert figures["accuracy"]["low"] < right < figures["accuracy"]["high"]
    only = type_("evaluate", *words, "--metric", "f1", "--positive", "no").json
    assert [one["metric"] for one in only["figures"]] == ["f1"]
    assert only["classes"] == ["yes", "no"]


def test_what_is_not_defined_is_null(type_, tmp_path):
    path = write(tmp_path / "p.csv", {"y": [0, 0, 0], "p": [0.1, 0.2, 0.3]})
    told = type_("evaluate", "--predictions", path, "--truth", "y", "--score", "p", "--json")
    figures = {one["metric"]: one["value"] for one in told.json["figures"]}
    assert figures["roc_auc"] is None
    assert "NaN" not in told.out


def test_a_baseline_by_key(type_, table, tmp_path):
    columns, path = table
    other = {name: list(column)[::-1][:595] for name, column in columns.items()}
    other["said"] = ["no"] * 595
    old = write(tmp_path / "old.csv", other)
    words = ("--predictions", path, "--truth", "y", "--label", "said", "--baseline", old)
    told = type_("evaluate", *words, "--key", "id")
    assert told.code == Exit.OK
    assert "5 rows and 0 of the baseline have no partner" in told.err
    lines = told.out.partition("LESS THE BASELINE")[2].splitlines()
    assert next(line for line in lines if line.startswith("accuracy")).endswith("better")
    assert type_("evaluate", *words, "--key", "id", "--json").json["paired"] is True
    assert type_("evaluate", *words, "--json").json["paired"] is False


@pytest.mark.parametrize(
    "case",
    [
        ({"y": ["a", "b", "c"] * 5, "s": ["a", "b", "b"] * 5}, ["--label", "s"], "multiclass"),
        ({"y": [0.5, 1.5, 2.0], "s": [1.0, 1.0, 2.0]}, ["--label", "s"], "regression"),
        ({"y": range(30), "s": range(30)}, ["--label", "s"], "regression"),
        ({"y": [0, 1, 0], "s": [1, 2, 1], "q": ["a", "a", "b"]}, ["--score", "s", "--query", "q"],
         "ranking"),
        ({"y": [0, 1, 2], "a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1]}, ["--score", "a,b,c"],
         "multiclass"),
    ],
)  # fmt: skip
def test_the_task_is_told_from_the_columns(type_, tmp_path, case):
    columns, words, task = case
    path = write(tmp_path / "p.csv", columns)
    told = type_("evaluate", "--predictions", path, "--truth", "y", *words, "--json")
    assert told.json["task"] == task


def test_several_labels_a_row(type_, tmp_path):
    columns = {"a": [1, 0] * 9, "b": [1, 1] * 9, "pa": [0.9, 0.2] * 9, "pb": [0.4, 0.7] * 9}
    path = write(tmp_path / "p.csv", columns)
    told = type_("evaluate", "--predictions", path, "--truth", "a,b", "--score", "pa,pb", "--json")
    assert told.json["task"] == "multilabel"
    assert next(f for f in told.json["figures"] if f["metric"] == "recall[b]")["value"] == 0.5


@pytest.mark.parametrize(
    "case",
    [
        (["--truth", "nothing"], Exit.INVALID, "no column 'nothing' (there are id, y"),
        (["--truth", "y", "--label", "id"], Exit.INVALID, "no value of 'id' is a class of 'y'"),
        (["--truth", "y"], Exit.INVALID, "neither labels nor scores"),
        (["--truth", "y", "--score", "id", "--task", "binary"], Exit.INVALID, "from 0 to 1"),
        (["--truth", "y", "--score", "p", "--slice", "town"], Exit.INVALID, "no column 'town'"),
        (["--truth", "y", "--score", "p", "--level", "2"], Exit.INVALID, "level"),
        (["--truth", "y", "--score", "p", "--metric", "mae"], Exit.INVALID, "not to be had"),
        (["--truth", "y", "--score", "p", "--baseline", "no.csv"], Exit.NOT_FOUND, "no file"),
        (["--truth", "y", "--score", "p", "--top", "0"], Exit.USAGE, "top"),
        (["--truth", "id", "--label", "p", "--task", "ranking"], Exit.INVALID, "--query"),
    ],
)
def test_what_cannot_be_is_told(type_, table, case):
    words, code, message = case
    told = type_("evaluate", "--predictions", table[1], *words)
    assert told.code == code, told.out
    assert message in told.err


def test_a_key_names_one_row(type_, table):
    _, path = table
    words = ["--predictions", path, "--truth", "y", "--score", "p", "--baseline", path]
    assert "has a value twice" in type_("evaluate", *words, "--key", "where").err
    assert "no column 'x'" in type_("evaluate", *words, "--key", "x").err


def test_training_curves(type_, tmp_path):
    path = write(tmp_path / "history.csv", {"epoch": [1, 2], "loss": [0.5, 0.3]})
    told = type_("tensorboard", path, "--logdir", str(tmp_path / "runs"), "--json")
    (file,) = told.json["files"]
    assert "tfevents" in file
    assert type_("tensorboard", path, "--logdir", str(tmp_path / "runs")).out.count("tfevents") == 1
    bad = write(tmp_path / "bad.csv", {"epoch": [1, 2], "note": ["a", "b"]})
    told = type_("tensorboard", bad, "--logdir", str(tmp_path / "runs"))
    assert (told.code, "no column of numbers" in told.err) == (Exit.INVALID, True)
