"""Sample files to columns, and columns to tensors."""

import json

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.ext.importers import samples

pytestmark = pytest.mark.unit

MATRIX = Signature(
    (TensorSpec("input", Datatype.FP32, (None, 2)),), (), Layout.MATRIX, ("age", "income")
)
COLUMNS = Signature(
    (TensorSpec("age", Datatype.FP32, (None, 1)), TensorSpec("city", Datatype.BYTES, (None, 1))),
    (),
    Layout.COLUMNS,
    ("age", "city"),
)


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_types(tmp_path):
    text = "n,x,flag,city,gap\n1,1.5,true,Rome,\n-2,nan,False,,3\n"
    columns = samples.read(write(tmp_path, "s.csv", "\ufeff" + text)).columns
    assert columns["n"].dtype == np.int64
    assert columns["x"].dtype == np.float64
    assert np.isnan(columns["x"][1])
    assert columns["flag"].tolist() == [True, False]
    assert columns["city"].tolist() == ["Rome", None]
    assert np.isnan(columns["gap"][0])
    assert columns["gap"][1] == 3


def test_a_number_of_very_many_digits_is_a_float(tmp_path):
    columns = samples.read(write(tmp_path, "s.csv", f"n\n1\n{'9' * 5000}\n")).columns
    assert columns["n"].tolist() == [1.0, np.inf]


def test_a_column_without_any_value_is_missing_everywhere(tmp_path):
    found = samples.read(write(tmp_path, "s.csv", "age,income\n,1\nnan,2\n"))
    assert np.isnan(samples.tensors(found, MATRIX)["input"][:, 0]).all()
    whole = Signature((TensorSpec("age", Datatype.INT64, (None, 1)),), (), Layout.COLUMNS)
    with pytest.raises(InvalidError, match="'age' of the sample has missing values"):
        samples.tensors(found, whole)


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "s.npz", a=np.zeros(100_000))
    assert samples.read(tmp_path / "s.npz").rows == 100_000
    monkeypatch.setattr(samples, "MOST_UNPACKED", 500_000)
    with pytest.raises(InvalidError, match="its arrays take 800"):
        samples.read(tmp_path / "s.npz")


def test_csv_without_header(tmp_path):
    sample = samples.read(write(tmp_path, "s.csv", "1,2\n3,4\n"))
    assert not sample.named
    assert sample.rows == 2
    numbered = samples.read(write(tmp_path, "t.csv", "0,1\n1,2\n3,4\n"))
    assert (numbered.named, numbered.rows) == (False, 2)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("s.csv", "a,b\n1,2\n1,2,3\n", "line 3: 3 values where the first has 2"),
        ("s.csv", 'a,b\n"1,2\n', "line"),
        ("s.csv", "a,a\n1,2\n", "two columns are called 'a'"),
        ("s.csv", b"a\n\xff\xfe\n", "no UTF-8"),
        ("s.csv", "a,b\n", "no rows"),
        ("s.csv", "", "empty file"),
        ("s.txt", "x", "a sample is a .csv"),
        ("s.json", "{", "no JSON"),
        ("s.json", "[]", "list of rows"),
        ("s.json", "3", "list of rows"),
        ("s.json", '[{"a": 1}, {"b": 2}]', "row 1 has other names"),
        ("s.json", "[[1], [1, 2]]", "rows of different lengths"),
        ("s.json", '[[1], ["x"]]', "mixes int, str"),
        ("s.json", '{"a": [1, 2], "b": [1]}', "different numbers of rows"),
        ("s.json", '{"a": 3}', "no list"),
        ("s.json", "[" * 100_000, "no JSON"),
        ("s.npy", b"\x93NUMPY\x01\x00garbage", "not readable"),
        ("s.npy", b"PK\x03\x04", "not readable"),
        ("s.npz", b"PK\x03\x04oops", "not readable"),
        ("s.parquet", b"PAR1", "no parquet"),
    ],
)
def test_malformed_samples_give_one_line(tmp_path, name, content, reason):
    with pytest.raises(InvalidError, match=reason.replace("(", r"\(")) as caught:
        samples.read(write(tmp_path, name, content))
    assert caught.value.field == "sample"
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "rows",
    [
        [{"age": 1, "income": 2.5}, {"age": 3, "income": None}],
        {"rows": [{"age": 1, "income": 2.5}, {"age": 3, "income": None}]},
        {"age": [1, 3], "income": [2.5, None]},
        [[1, 2.5], [3, None]],
    ],
)
def test_json_forms(tmp_path, rows):
    sample = samples.read(write(tmp_path, "s.json", json.dumps(rows)))
    tensor = samples.tensors(sample, MATRIX)["input"]
    assert tensor.dtype == np.float64
    assert tensor[:, 0].tolist() == [1, 3]
    assert np.isnan(tensor[1, 1])


def test_numpy_files(tmp_path):
    np.save(tmp_path / "s.npy", np.arange(6, dtype=np.float32).reshape(3, 2))
    assert samples.tensors(samples.read(tmp_path / "s.npy"), MATRIX)["input"].shape == (3, 2)
    np.savez(tmp_path / "s.npz", age=np.arange(2.0), city=np.array(["a", "é"]))
    tensors = samples.tensors(samples.read(tmp_path / "s.npz"), COLUMNS)
    assert tensors["age"].shape == (2, 1)
    assert tensors["city"].tolist() == [[b"a"], ["é".encode()]]
    np.save(tmp_path / "image.npy", np.zeros((2, 3, 8, 8), np.float32))
    image = Signature((TensorSpec("x", Datatype.FP32, (None, 3, 8, 8)),), ())
    assert samples.tensors(samples.read(tmp_path / "image.npy"), image)["x"].shape == (2, 3, 8, 8)


def test_pickled_arrays_are_never_opened(tmp_path):
    np.save(tmp_path / "s.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InvalidError, match="without pickle"):
        samples.read(tmp_path / "s.npy")


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # pandas on pyarrow, not ours
def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {"age": pyarrow.array([1, None]), "city": pyarrow.array(["a", "b"]).dictionary_encode()}
    )
    parquet.write_table(table, tmp_path / "s.parquet")
    sample = samples.read(tmp_path / "s.parquet")
    assert np.isnan(sample.columns["age"][1])
    assert sample.columns["city"].tolist() == ["a", "b"]
    parquet.write_table(pyarrow.table({"x": pyarrow.array([[1], [2]])}), tmp_path / "l.parquet")
    with pytest.raises(InvalidError, match="column 'x' is of type list"):
        samples.read(tmp_path / "l.parquet")


def test_at_most_a_hundred_thousand_rows(tmp_path):
    path = write(tmp_path, "s.csv", "a\n" + "1\n" * (samples.MOST_ROWS + 50))
    assert samples.read(path).rows == samples.MOST_ROWS
    np.save(tmp_path / "s.npy", np.zeros((samples.MOST_ROWS + 5, 1)))
    assert samples.read(tmp_path / "s.npy").rows == samples.MOST_ROWS


@pytest.mark.parametrize(
    ("text", "signature", "reason"),
    [
        ("age,x\n1,2\n", MATRIX, "no column 'income'"),
        ("1,2,3\n4,5,6\n", MATRIX, "has no column|3 columns and the model takes 2"),
        ("age,income\n1,b\n", MATRIX, "holds text \\('b'\\)"),
    ],
)
def test_samples_that_do_not_fit(tmp_path, text, signature, reason):
    with pytest.raises(InvalidError, match=reason):
        samples.tensors(samples.read(write(tmp_path, "s.csv", text)), signature)


def test_more_columns_than_needed_are_no_harm(tmp_path):
    sample = samples.read(write(tmp_path, "s.csv", "target,income,age\n9,2,1\n"))
    assert samples.tensors(sample, MATRIX)["input"].tolist() == [[1, 2]]
