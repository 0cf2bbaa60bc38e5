"""The parts of commands that need neither registry nor server."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.cli import human
from modelworks.cli.commands.annotate import pairs
from modelworks.cli.commands.imports import parse_input
from modelworks.cli.commands.serve import _plain
from modelworks.cli.demo.script import label_of
from modelworks.cli.rows import read_csv, read_rows
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.reference import model_name
from modelworks.core.tensor import Datatype

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "just now"),
        (4, "just now"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400 * 400, "1 year ago"),
    ],
)
def test_ago(seconds, text):
    assert human.ago(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_440_000, "1.4 MB"), (2 * 10**12, "2.0 TB")],
)
def test_size(count, text):
    assert human.size(count) == text


def test_when_names_utc():
    assert human.when(0, 60 * 10**9) == "1 minute ago (1970-01-01 00:00 UTC)"


def test_aligned_keeps_references_as_they_are():
    lines = human.aligned(["field", "fraud:1.0.0"], [["size", "5"], ["digest", "ab"]])
    assert lines == ["FIELD   fraud:1.0.0", "size    5", "digest  ab"]


@given(st.text())
def test_printable_is_one_line_without_control_characters(text):
    shown = human.printable(text)
    assert shown.isprintable() or shown == ""
    assert len(shown) == len(text)


@pytest.mark.parametrize(
    ("text", "shape", "datatype"),
    [
        ("x:FP32[-1,30]", (None, 30), Datatype.FP32),
        ("x:fp32[-1, 3, 32, 32]", (None, 3, 32, 32), Datatype.FP32),
        ("text:BYTES[-1]", (None,), Datatype.BYTES),
        ("scalar:INT64[]", (), Datatype.INT64),
    ],
)
def test_input_specs(text, shape, datatype):
    spec = parse_input(text)
    assert (spec.shape, spec.datatype) == (shape, datatype)


@pytest.mark.parametrize(
    "text", ["", "x", "x:FP32", "x:FLOAT[1]", "x:FP32[0]", "x:FP32[-2]", "x:FP32[a]", ":FP32[1]"]
)
def test_wrong_input_specs(text):
    with pytest.raises(InvalidError) as caught:
        parse_input(text)
    assert caught.value.field == "inputs"


def test_labels_keep_further_equals_signs():
    assert pairs(("a=b=c", "a=b=c", "e=")) == {"a": "b=c", "e": ""}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('[{"a": 1}]', [{"a": 1}]),
        ('{"a": 1}', [{"a": 1}]),
        ('{"rows": [[1, 2]]}', [[1, 2]]),
        ("[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        ("[1, 2]", [[1, 2]]),
    ],
)
def test_rows(text, rows):
    assert read_rows(text) == rows


@pytest.mark.parametrize(
    "text", ["", "nope", "[]", "3", '"a"', '{"rows": []}', '{"rows": 3}', "[" * 99_999]
)
def test_wrong_rows(text):
    with pytest.raises(InvalidError) as caught:
        read_rows(text)
    assert caught.value.field == "rows"


def test_rows_from_a_file_and_from_stdin(tmp_path, monkeypatch):
    file = tmp_path / "rows.json"
    file.write_text('[{"a": "\u00e9"}]', encoding="utf-8")
    assert read_rows(f"@{file}") == [{"a": "\u00e9"}]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[[1]]")))
    assert read_rows("-") == [[1]]
    with pytest.raises(NotFoundError):
        read_rows(f"@{tmp_path / 'nope'}")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidError, match="UTF-8"):
        read_rows(f"@{file}")
    with pytest.raises(InvalidError):
        read_rows(f"@{tmp_path}")


def test_rows_from_a_device_without_an_end_are_refused_at_the_bound(monkeypatch):
    monkeypatch.setattr("modelworks.cli.rows.LARGEST", 1 << 20)
    with pytest.raises(InvalidError, match="in pieces"):
        read_rows("@/dev/zero")


def test_csv(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text('\ufeffage,zip,"a, b",ok\n41,01234,,true\n-2.5e1,x,1,False\n\n')
    assert read_csv(file, {"zip"}) == [
        {"age": 41, "zip": "01234", "a, b": None, "ok": True},
        {"age": -25.0, "zip": "x", "a, b": 1, "ok": False},
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "head"),
        ("a,a\n1,2\n", "distinct"),
        ("a,b\n", "no rows"),
        ("a,b\n1\n", "line 2"),
        ("a\n1,2\n", "1"),
        ("a\n" + "1" * 200_000, "line 2: no csv"),
    ],
)
def test_wrong_csv(tmp_path, text, says):
    file = tmp_path / "rows.csv"
    file.write_text(text)
    with pytest.raises(InvalidError, match=says):
        read_csv(file, set())


@given(st.text(min_size=1).filter(lambda text: "/" not in text and "\0" not in text))
def test_any_file_name_gives_a_model_name(text):
    from pathlib import Path

    assert model_name(_plain(Path(text + ".onnx")))


@pytest.mark.parametrize(
    ("prediction", "label"),
    [({"label": 3}, "3"), ({"outputs": {"y": [0.1, 0.7, 0.2]}}, "1")],
)
def test_label_of(prediction, label):
    assert label_of(prediction) == label
