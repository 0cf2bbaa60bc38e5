"""Tables as files become columns of numbers and texts, or say what is wrong."""

import numpy as np
import pytest

from modelworks.cli.tables import column_of, read_table
from modelworks.core.errors import InvalidError, NotFoundError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "case",
    [
        (["1", "2", "-3"], "i", [1, 2, -3]),
        (["1", "", "2.5"], "f", [1, None, 2.5]),
        (["1e3", "inf", "NaN"], "f", [1000, np.inf, None]),
        (["true", "False"], "b", [True, False]),
        (["true", ""], "O", ["true", None]),
        (["a", "1", ""], "O", ["a", "1", None]),
        (["1.0.0", "1.1.0"], "O", ["1.0.0", "1.1.0"]),
        (["99999999999999999999", "1"], "f", [1e20, 1.0]),
        (["", ""], "f", [None, None]),
    ],
)
def test_cells_become_what_all_of_them_are(case):
    cells, kind, wanted = case
    found = column_of(cells)
    assert found.dtype.kind == kind
    for value, other in zip(found.tolist(), wanted, strict=True):
        assert value == other or (other is None and value != value)  # noqa: PLR0124 - NaN


def test_csv_npz_and_parquet_give_the_same(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": ["x", "y"], "d": [True, False]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    arrays = {name: frame[name].to_numpy() for name in "abd"}
    np.savez(tmp_path / "t.npz", c=np.array(["x", "y"]), **arrays)
    tables = [read_table(tmp_path / f"t.{end}", "file") for end in ("csv", "npz", "parquet")]
    for table in tables:
        assert sorted(table) == ["a", "b", "c", "d"]
        for name, column in table.items():
            assert column.dtype == tables[0][name].dtype
            np.testing.assert_array_equal(column, tables[0][name])


def test_lists_and_times_come_from_parquet(tmp_path):
    import pandas as pd

    times = pd.to_datetime(["2026-01-01", "2026-01-02"])
    pd.DataFrame({"p": [[0.1, 0.9], [0.5, 0.5]], "t": times}).to_parquet(tmp_path / "t.pq")
    found = read_table(tmp_path / "t.pq", "file")
    assert found["p"].tolist() == [[0.1, 0.9], [0.5, 0.5]]
    assert found["t"].tolist() == [1767225600000000000, 1767312000000000000]


@pytest.mark.parametrize(
    "case",
    [
        ("t.xlsx", b"x", "a .csv, .npz or .parquet"),
        ("t.csv", b"", "a head with distinct"),
        ("t.csv", b"a,a\n1,2\n", "a head with distinct"),
        ("t.csv", b"a,b\n1\n", "line 2: 1 cells, the head has 2"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"a\n\xff\n", "no UTF-8"),
        ("t.npz", b"PK", "not readable without pickle"),
        ("t.parquet", b"PAR1", "no parquet"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, case):
    name, content, message = case
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidError, match=message) as caught:
        read_table(tmp_path / name, "predictions")
    assert caught.value.field == "predictions"


def test_no_file(tmp_path):
    with pytest.raises(NotFoundError, match=r"no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv", "predictions")
