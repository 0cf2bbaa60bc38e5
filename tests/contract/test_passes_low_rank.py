"""Low-rank factors: the contract, and what rank is kept of which layers."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.pass_cases import answers, distance
from modelworks.testing.passes import PassCase, PassContract, PassSource

pytestmark = pytest.mark.contract
WIDE = 96


def layers(folder, rank=24):
    """Rows of `rank` dimensions through a MatMul, and a Gemm of a turned matrix; both are wide."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    basis = numbers.normal(size=(rank, WIDE))
    square = numbers.normal(size=(2, WIDE, WIDE)) * WIDE**-0.5
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "product"),
        helper.make_node("Gemm", ["h", "v", "b"], ["y"], "layer", transB=1, alpha=0.5),
    ]
    constants = {
        "w": square[0].astype("f4"),
        "v": square[1].astype("f4"),
        "b": numbers.normal(size=WIDE).astype("f4"),
    }
    shape = (None, WIDE)
    ends = [onnx_models.info(name, Datatype.FP32, shape) for name in "xy"]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    rows = folder.with_name(f"{folder.name}-rows.npz")
    np.savez(rows, x=(numbers.normal(size=(200, rank)) @ basis).astype("f4"))
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, shape),), (TensorSpec("y", Datatype.FP32, shape),)
    )
    return PassSource(folder, "onnx", signature, calibration=rows)


def rows_of(source, count):
    return {"x": np.load(source.calibration)["x"][:count]}


class TestLowRank(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("low")
        good = layers(folder / "good")
        few = folder / "few.npz"
        np.savez(few, x=np.zeros((3, WIDE), "f4"))
        return PassCase(
            name="low_rank",
            good=good,
            inputs=lambda count: rows_of(good, count),
            tolerance=1e-3,
            others={"energy": {"energy": 0.6}, "left": {"left": 0.1}},
            unfit=pass_models.cnn(folder / "narrow"),
            broken={"few rows": PassSource(good.folder, "onnx", good.signature, few)},
        )

    def test_the_rank_is_that_of_the_rows(self, case, applied):
        into, result = applied
        assert result.operators == ("product", "layer")
        held = {one.name: one.dims for one in onnx.load(into / "model.onnx").graph.initializer}
        assert held["product_low_1"] == held["layer_low_1"] == [WIDE, 24]
        assert held["layer_low_2"] == [WIDE, 24]  # it is read the other way round
        assert result.figures["multiplications"] == pytest.approx(2 * 24 / WIDE)


def test_rows_without_a_lower_rank_leave_the_layers_alone(tmp_path):
    source = layers(tmp_path / "full", rank=WIDE)
    case = PassCase("low_rank", source, None, 0, {}, None, {})
    result = case.apply(tmp_path / "into", settings={"energy": 1.0})
    assert result.operators == ()
    assert result.figures["multiplications"] == 1
    before, after = (
        {t.name: numpy_helper.to_array(t) for t in onnx.load(d / "model.onnx").graph.initializer}
        for d in (source.folder, tmp_path / "into")
    )
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_more_energy_is_nearer(tmp_path):
    source = layers(tmp_path / "source", rank=60)
    case = PassCase("low_rank", source, None, 0, {}, None, {})
    inputs = rows_of(source, 16)
    wanted = answers("onnxruntime", source.folder, source.signature, inputs)
    apart = []
    for energy in (0.6, 0.9, 0.999):  # of a sum of squares
        case.apply(tmp_path / str(energy), settings={"energy": energy, "left": 1.0})
        got = answers("onnxruntime", tmp_path / str(energy), source.signature, inputs)
        apart.append(distance(wanted, got))
    assert apart[0] > apart[1] > apart[2]
    assert apart[1] < (1 - 0.9) ** 0.5 * 2  # both layers lose a tenth of the squares
    assert apart[2] < (1 - 0.999) ** 0.5 * 2


def test_rows_that_overflow_are_told_of(tmp_path):
    source = layers(tmp_path / "source")
    rows = tmp_path / "endless.npz"
    np.savez(rows, x=np.full((64, WIDE), np.nan, "f4"))
    case = PassCase("low_rank", source, None, 0, {}, None, {})
    with pytest.raises(InvalidError, match="finite") as caught:
        case.apply(tmp_path / "into", calibration=rows)
    assert caught.value.field == "calibration"
