"""Rows read in pieces, and the ranges that tensors take on them."""

import zipfile

import numpy as np
import onnx
import pytest
from onnx import helper

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype
from modelworks.ext.formats.npz_rows import NpzRows
from modelworks.ext.formats.onnx_model import read_model, sort_nodes
from modelworks.ext.passes import onnx_ranges
from modelworks.testing import onnx_models


def saved(folder, **arrays):
    file = folder / "rows.npz"
    np.savez(file, **arrays)
    return file


def test_rows_come_in_pieces_and_in_order(tmp_path):
    x, y = np.arange(22.0).reshape(11, 2), np.arange(11)
    rows = NpzRows(saved(tmp_path, x=x, y=y, other=np.zeros(3)), ["x", "y"])
    found = list(rows.batches(4))
    assert rows.count == 11
    assert [len(one["y"]) for one in found] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate([one["x"] for one in found]), x)
    np.testing.assert_array_equal(np.concatenate([one["y"] for one in found]), y)


@pytest.mark.parametrize(("most", "wanted"), [(3, [0, 4, 8]), (11, range(11)), (99, range(11))])
def test_fewer_rows_are_evenly_spread(tmp_path, most, wanted):
    rows = NpzRows(saved(tmp_path, y=np.arange(11)), ["y"], most)
    for size in (1, 2, 50):
        found = np.concatenate([one["y"] for one in rows.batches(size)])
        np.testing.assert_array_equal(found, list(wanted))
    assert rows.count == len(wanted)


def test_compressed_rows_are_read_too(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.savez_compressed(tmp_path / "rows.npz", x=x)
    np.testing.assert_array_equal(NpzRows(tmp_path / "rows.npz", ["x"]).first(5)["x"], x)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": np.zeros((3, 2))}, "no array 'y'"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(4)}, "3, 4 rows"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "no rows"),
        ({"x": np.zeros((3, 2)), "y": np.float32(1)}, "'y' cannot be read"),
        ({"x": np.zeros((3, 2)), "y": np.array(["a", None, 3], object)}, "'y' cannot be read"),
        ({"x": np.zeros((3, 2), order="F"), "y": np.zeros(3)}, "'x' cannot be read"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, arrays, says):
    with pytest.raises(InvalidError, match=says) as caught:
        NpzRows(saved(tmp_path, **arrays), ["x", "y"])
    assert caught.value.field == "calibration"


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    file = saved(tmp_path, x=np.zeros((100, 20)))
    with zipfile.ZipFile(file) as archive:
        head = archive.read("x.npy")[:200]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", head)
    with pytest.raises(InvalidError, match="damaged or cut short"):
        list(NpzRows(file, ["x"]).batches(10))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InvalidError):
        NpzRows(file, ["x"])


@pytest.fixture
def doubled(tmp_path):
    """`y = 2 x`, and rows whose values are normal but for one."""
    onnx_models.double(tmp_path / "model.onnx", width=4)
    x = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32)
    x[7, 1] = 500
    return onnx.load(tmp_path / "model.onnx"), saved(tmp_path, x=x), x


def test_extremes_are_those_of_all_rows(doubled):
    model, file, x = doubled
    found = onnx_ranges.extremes(onnx_ranges.watch(model, file, ("x", "y", "factor"), 1, 5000))
    assert found["x"] == pytest.approx((x.min(), 500))
    assert found["y"] == pytest.approx((2 * x.min(), 1000))


def test_a_percentile_cuts_what_is_far_out(doubled):
    model, file, x = doubled
    seen = onnx_ranges.watch(model, file, ("x",), 1, 5000)
    low, high = onnx_ranges.clipped(seen, "percentile", 99.9)["x"]
    assert high < 10
    assert low == pytest.approx(np.quantile(x, 0.0005), abs=0.5)
    assert onnx_ranges.clipped(seen, "percentile", 100.0)["x"][1] == pytest.approx(500)
    assert onnx_ranges.clipped(seen, "minmax", 99.9)["x"][1] == pytest.approx(500)


def test_entropy_keeps_the_crowd_and_gives_up_what_is_alone(doubled):
    model, file, x = doubled
    narrow = np.clip(x, -20, 20)
    np.savez(file, x=narrow)
    low, high = onnx_ranges.clipped(onnx_ranges.watch(model, file, ("x",), 1, 5000), "entropy", 0)[
        "x"
    ]
    assert 3 < high < 12
    assert low == pytest.approx(float(narrow.min()))


def test_a_run_takes_only_as_many_rows_as_fit(doubled, monkeypatch):
    model, file, _ = doubled
    monkeypatch.setattr(onnx_ranges, "_MEMORY", 100)
    seen = onnx_ranges.watch(model, file, ("x", "y"), 1)
    assert seen.size == 100 // 16  # of `y`: four floats a row


def test_rows_that_the_model_refuses_are_named(doubled, tmp_path):
    model, _, _ = doubled
    file = saved(tmp_path, x=np.zeros((3, 7), np.float32))
    with pytest.raises(InvalidError, match="refuses the calibration rows"):
        onnx_ranges.watch(model, file, ("y",), 1)


def test_nodes_are_put_in_order_and_graphs_inside_are_seen(tmp_path):
    file = onnx_models.counting(tmp_path / "model.onnx", steps=2)
    model = onnx.load(file)
    model.graph.node.insert(0, helper.make_node("Identity", ["y"], ["z"]))
    model.graph.output.append(onnx_models.info("z", Datatype.FP32, (None, 3)))
    sort_nodes(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Loop", "Identity"]
    assert read_model(tmp_path).graph.node[0].op_type == "Loop"
