"""ONNX to OpenVINO IR: the contract, and what is its own."""

import numpy as np
import pytest
from onnx import helper

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype
from modelworks.testing import pass_models
from modelworks.testing.pass_cases import answers, distance
from modelworks.testing.passes import PassCase, PassContract
from pass_graphs import foreign, graph

pytestmark = pytest.mark.contract


class TestOpenVino(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("openvino")
        return PassCase(
            name="openvino",
            good=pass_models.cnn(folder / "cnn"),
            inputs=pass_models.image_rows,
            tolerance=1e-5,
            others={"half": {"half": True}},
            unfit=foreign(folder / "foreign"),
            broken={"an operator it does not have": foreign(folder / "again")},
            modules=("modelworks.ext.passes.openvino",),
        )

    def test_weights_of_half_the_size_are_nearly_as_exact(self, case, tmp_path, applied):
        case.apply(tmp_path, settings={"half": True})
        sizes = [(f / "model.bin").stat().st_size for f in (tmp_path, applied[0])]
        assert sizes[0] < 0.7 * sizes[1]
        inputs = case.inputs(8)
        wanted = answers("openvino", applied[0], case.good.signature, inputs)
        assert distance(wanted, answers("openvino", tmp_path, case.good.signature, inputs)) < 2e-3

    def test_what_it_lacks_is_named(self, case, tmp_path):
        source = foreign(tmp_path / "source")
        with pytest.raises(UnsupportedError, match=r"Binarizer of ai\.onnx\.ml"):
            case.apply(tmp_path / "into", source)

    def test_float64_is_refused_for_it_would_be_float32(self, case, tmp_path):
        node = helper.make_node("Sub", ["x", "c"], ["y"])
        source = graph(tmp_path / "source", [node], kind=Datatype.FP64, c=np.full(2, 1e8))
        assert "float64" in case.step.fits(case.job(tmp_path / "look", source))
        with pytest.raises(UnsupportedError, match="float64"):
            case.apply(tmp_path / "into", source)

    def test_one_tensor_under_two_names_keeps_both(self, case, tmp_path):
        nodes = [
            helper.make_node("Relu", ["x"], ["a_long_name"]),
            helper.make_node("Identity", ["a_long_name"], ["b"]),
        ]
        source = graph(tmp_path / "source", nodes, ("a_long_name", "b"))
        case.apply(tmp_path / "into", source)
        rows = np.array([[-1, 2]], np.float32)
        found = answers("openvino", tmp_path / "into", source.signature, {"x": rows})
        assert [one.tolist() for one in found] == [[[0, 2]], [[0, 2]]]

    def test_that_wide_integers_wrap_is_said(self, case, tmp_path):
        nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
        source = graph(tmp_path / "source", nodes, kind=Datatype.INT64)
        result = case.apply(tmp_path / "into", source)
        assert any("x, y" in note and "wrap" in note for note in result.notes)
