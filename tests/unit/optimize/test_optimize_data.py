"""Rows for passes and rows that decide: from files or made up, and never the same ones."""

import json
from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Ranges
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.optimize import arrays
from modelworks.optimize.calls import cuts, sizes_of
from modelworks.optimize.data import Asked, prepared, read_slices

pytestmark = pytest.mark.unit
OUT = TensorSpec("y", Datatype.FP32, (None, 1))
MATRIX = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),), (OUT,), Layout.MATRIX, ("a", "b", "c")
)
PLAIN = Signature((TensorSpec("x", Datatype.FP32, (None, 3)),), (OUT,))


@pytest.fixture
def table():
    return np.round(np.random.default_rng(0).standard_normal((400, 3)), 6)


def csv(path, table, head="a,b,c", tail=lambda row: ""):
    lines = [head, *(",".join(map(repr, row.tolist())) + tail(i) for i, row in enumerate(table))]
    path.write_text("\n".join(lines) + "\n")
    return path


def rows_of(rows):
    return arrays.load(rows.inputs)["x"]


def as_set(array):
    return {row.tobytes() for row in array}


def test_one_file_is_cut_in_two_that_share_no_row_the_same_way_each_time(tmp_path, table):
    both = np.vstack([table, table[:50]])  # rows that come twice stay together
    file = csv(tmp_path / "rows.csv", both)
    first = prepared(MATRIX, Asked(evaluation=file), tmp_path, tmp_path)
    learning, deciding = rows_of(first.calibration), rows_of(first.evaluation)
    assert len(learning) + len(deciding) == 450
    assert 60 < len(learning) < 160
    assert not as_set(learning) & as_set(deciding)
    assert "one file was given" in first.facts.notes[0]
    again = prepared(MATRIX, Asked(calibration=file), tmp_path, tmp_path)
    assert np.array_equal(rows_of(again.evaluation), deciding)
    other = prepared(MATRIX, Asked(evaluation=file, seed=1), tmp_path, tmp_path)
    assert not np.array_equal(rows_of(other.evaluation), deciding)


def test_rows_of_both_files_decide_and_passes_do_not_see_them(tmp_path, table):
    deciding = csv(tmp_path / "eval.csv", table[:250])
    learning = csv(tmp_path / "cal.csv", table[200:])
    found = prepared(MATRIX, Asked(learning, deciding), tmp_path, tmp_path)
    assert found.evaluation.count == 250
    assert found.calibration.count == 150
    assert "50 rows of the calibration file" in found.facts.notes[0]


def test_a_copy_of_the_file_is_the_same_file(tmp_path, table):
    deciding, learning = (csv(tmp_path / name, table) for name in ("eval.csv", "cal.csv"))
    found = prepared(MATRIX, Asked(learning, deciding), tmp_path, tmp_path)
    assert "both files are the same" in found.facts.notes[0]
    assert not as_set(rows_of(found.calibration)) & as_set(rows_of(found.evaluation))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (lambda row: "", "has no value"),
        (lambda row: "z" * 100_000 if row < 20 else "a", "100000 characters long"),
    ],
)
def test_a_truth_that_cannot_be_is_refused(tmp_path, table, values, says):
    rows = np.tile(table, (10, 1))
    file = csv(tmp_path / "rows.csv", rows, "a,b,c,y", lambda row: "," + values(row))
    with pytest.raises(InvalidError, match=says):
        prepared(MATRIX, Asked(evaluation=file, label="y"), tmp_path, tmp_path)


def test_a_truth_of_lists_is_refused(tmp_path, table):
    file = tmp_path / "rows.json"
    lines = [dict(zip("abc", row, strict=True)) | {"y": [1, 2]} for row in table.tolist()]
    file.write_text(json.dumps(lines))
    with pytest.raises(InvalidError, match="has lists"):
        prepared(MATRIX, Asked(evaluation=file, label="y"), tmp_path, tmp_path)


def test_a_truth_that_the_model_never_says_is_told(tmp_path, table):
    known = replace(MATRIX, classes=(0, 1))
    file = csv(tmp_path / "rows.csv", table, "a,b,c,y", lambda row: f",{row % 2 if row % 4 else 7}")
    found = prepared(known, Asked(evaluation=file, label="y"), tmp_path, tmp_path)
    [note] = [note for note in found.facts.notes if "no class of the model" in note]
    assert "(7)" in note
    file = csv(tmp_path / "other.csv", table, "a,b,c,y", lambda row: f",{row % 2 + 7}")
    with pytest.raises(InvalidError, match=r"no value of the truth \(7, 8\) is a class"):
        prepared(known, Asked(evaluation=file, label="y"), tmp_path, tmp_path)
    file = csv(tmp_path / "good.csv", table, "a,b,c,y", lambda row: f",{row % 2}")
    found = prepared(known, Asked(evaluation=file, label="y"), tmp_path, tmp_path)
    assert not any("no class" in note for note in found.facts.notes)


def test_one_long_text_among_many_does_not_take_all_memory(tmp_path):
    texts = np.array(["a"] * 9_999 + ["z" * 100_000], object)
    with pytest.raises(InvalidError, match="take more than"):
        arrays.save(tmp_path / "rows.npz", {"text": texts})


def test_a_model_with_a_fixed_number_of_rows_says_so(tmp_path, table):
    fixed = Signature((TensorSpec("x", Datatype.FP32, (4, 3)),), (OUT,))
    file = csv(tmp_path / "rows.csv", table)
    for asked in (Asked(), Asked(evaluation=file)):
        found = prepared(fixed, asked, tmp_path, tmp_path)
        assert any("every call of this model has 4 rows" in note for note in found.facts.notes)


def test_truth_and_slices_belong_to_the_rows_that_are_left(tmp_path, table):
    def tail(row):
        return f",{'' if row % 7 == 0 else int(table[row, 0] > 0)},{'eu' if row % 2 else 'us'}"

    file = csv(tmp_path / "rows.csv", table, "a,b,c,bought,region", tail)
    asked = Asked(evaluation=file, label="bought", slices=("region",))
    found = prepared(MATRIX, asked, tmp_path, tmp_path)
    rows, truth = rows_of(found.evaluation), np.load(found.evaluation.labels)
    assert np.array_equal(truth, (rows[:, 0] > 0).astype(float))
    parts = read_slices(found.evaluation)
    assert sorted(row for part in parts.values() for row in part) == list(
        range(found.evaluation.count)
    )
    places = {row.astype(np.float32).tobytes(): i for i, row in enumerate(table)}
    assert all(places[rows[r].tobytes()] % 2 for r in parts["region=eu"])
    assert found.facts.slices == {name: len(part) for name, part in parts.items()}
    assert found.calibration.count + found.evaluation.count == 342


def many(path, count, seed=1):
    """A file of so many different rows."""
    return csv(path, np.round(np.random.default_rng(seed).standard_normal((count, 3)), 6))


def test_where_there_are_many_rows_some_guide_and_do_not_decide(tmp_path):
    files = many(tmp_path / "eval.csv", 2500), many(tmp_path / "cal.csv", 100, 2)
    found = prepared(MATRIX, Asked(files[1], files[0]), tmp_path, tmp_path)
    guiding, deciding = rows_of(found.guide), rows_of(found.evaluation)
    assert 400 < len(guiding) < 600  # half of what is over 1,500
    assert len(guiding) + len(deciding) == 2500
    assert not as_set(guiding) & as_set(deciding)
    assert found.facts.guide == len(guiding)


def test_where_they_are_few_those_for_passes_guide(tmp_path, table):
    file = csv(tmp_path / "rows.csv", table)
    found = prepared(MATRIX, Asked(evaluation=file), tmp_path, tmp_path)
    assert found.guide is found.calibration
    assert found.facts.guide == found.calibration.count


def test_without_rows_for_passes_a_fifth_guides(tmp_path, table):
    file = csv(tmp_path / "rows.csv", table[:100])
    found = prepared(MATRIX, Asked(evaluation=file), tmp_path, tmp_path)
    assert found.calibration is None
    assert 5 < found.guide.count < 30
    assert not as_set(rows_of(found.guide)) & as_set(rows_of(found.evaluation))


def test_slices_are_told_of_rows_that_guide_too(tmp_path):
    rows = np.round(np.random.default_rng(1).standard_normal((2800, 3)), 6)
    regions = ("us", "eu")
    file = csv(tmp_path / "rows.csv", rows, "a,b,c,region", lambda row: f",{regions[row % 2]}")
    found = prepared(MATRIX, Asked(evaluation=file, slices=("region",)), tmp_path, tmp_path)
    assert found.guide is not found.calibration
    parts = read_slices(found.guide)
    assert sum(map(len, parts.values())) == found.guide.count


def test_at_most_so_many_rows_decide(tmp_path, table):
    file = csv(tmp_path / "rows.csv", table)
    found = prepared(MATRIX, Asked(evaluation=file, most=100), tmp_path, tmp_path)
    assert found.evaluation.count == 100


def test_too_few_rows_are_not_shared_with_passes(tmp_path, table):
    file = csv(tmp_path / "rows.csv", table[:60])
    found = prepared(MATRIX, Asked(evaluation=file), tmp_path, tmp_path)
    assert found.calibration is None
    assert any("too few rows to give passes any" in note for note in found.facts.notes)


def test_files_of_every_kind_say_the_same(tmp_path, table):
    csv(tmp_path / "rows.csv", table)
    records = [dict(zip("abc", row, strict=True)) for row in table.tolist()]
    (tmp_path / "rows.json").write_text(json.dumps(records))
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    np.save(tmp_path / "rows.npy", table)
    np.savez(tmp_path / "rows.npz", x=table)
    found = {}
    for kind in ("csv", "json", "jsonl", "npy", "npz"):
        asked = Asked(evaluation=tmp_path / f"rows.{kind}")
        found[kind] = rows_of(prepared(MATRIX, asked, tmp_path, tmp_path).evaluation)
    assert all(np.array_equal(rows, found["csv"]) for rows in found.values())


def test_columns_of_a_file_are_the_features_of_a_model_that_has_no_names(tmp_path, table):
    file = csv(tmp_path / "rows.csv", table, "a,b,c,kind", lambda row: f",{row % 2}")
    asked = Asked(evaluation=file, slices=("kind",))
    assert rows_of(prepared(PLAIN, asked, tmp_path, tmp_path).evaluation).shape[1] == 3
    whole = tmp_path / "whole.npz"
    np.savez(whole, rows=table, kind=np.arange(400) % 2, truth=np.zeros(400))
    asked = Asked(evaluation=whole, slices=("kind",), label="truth")
    assert rows_of(prepared(PLAIN, asked, tmp_path, tmp_path).evaluation).shape[1] == 3


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"label": "price"}, "no column 'price'"),
        ({"slices": ("country",)}, "no column 'country'"),
    ],
)
def test_a_column_that_is_not_there_is_an_error(tmp_path, table, asked, says):
    file = csv(tmp_path / "rows.csv", table)
    with pytest.raises(InvalidError, match=says):
        prepared(MATRIX, Asked(evaluation=file, **asked), tmp_path, tmp_path)


def test_a_line_of_jsonl_that_is_none_is_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(InvalidError, match=r"rows\.jsonl: line 2"):
        prepared(MATRIX, Asked(evaluation=file), tmp_path, tmp_path)


def test_without_a_file_rows_are_made_up_and_the_facts_say_what_that_cannot_show(tmp_path):
    asked = Asked(ranges={"a": Ranges(low=5.0, high=6.0)})
    found = prepared(MATRIX, asked, tmp_path, tmp_path)
    rows = rows_of(found.evaluation)
    first = rows[~np.isnan(rows[:, 0]), 0]
    assert ((first >= 5) & (first <= 6)).all()
    assert np.isnan(rows).any()  # the model takes gaps
    assert not np.isnan(rows_of(found.calibration)).any()
    assert not as_set(rows_of(found.calibration)) & as_set(rows)
    assert found.evaluation.made_up
    assert "cannot show" in found.facts.notes[0]
    with pytest.raises(InvalidError, match="give --eval"):
        prepared(MATRIX, Asked(label="y"), tmp_path, tmp_path)


def test_a_fixed_number_of_rows_a_call_gets_whole_calls(tmp_path, table):
    fixed = Signature((TensorSpec("x", Datatype.FP32, (8, 3)),), (OUT,))
    np.savez(tmp_path / "rows.npz", x=table)
    found = prepared(fixed, Asked(evaluation=tmp_path / "rows.npz"), tmp_path, tmp_path)
    assert found.evaluation.count % 8 == 0
    assert sizes_of(fixed, (1, 16)) == (8,)


def test_calls_take_turns_so_that_every_size_answers_about_as_many_rows():
    parts = cuts(100, (1, 16))
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert parts[-1].stop == 100
    lengths = [part.stop - part.start for part in parts]
    assert lengths[:17] == [1] * 16 + [16]
    assert abs(lengths.count(1) - 16 * lengths.count(16)) <= 16


def test_texts_go_through_a_file_without_pickle(tmp_path):
    spec = TensorSpec("t", Datatype.BYTES, (None,))
    words = np.empty(3, object)
    words[:] = [b"a", "né".encode(), b""]
    arrays.save(tmp_path / "t.npz", {"t": words})
    back = arrays.load(tmp_path / "t.npz", (spec,))["t"]
    assert back.tolist() == words.tolist()
    with pytest.raises(InvalidError, match="cannot be read"):
        arrays.load(tmp_path / "gone.npz")
