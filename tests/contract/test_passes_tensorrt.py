"""The plan for TensorRT: the contract, what it writes, and what it knows that TensorRT refuses."""

import json

import numpy as np
import pytest
from onnx import helper

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype
from modelworks.testing import pass_models
from modelworks.testing.passes import PassCase, PassContract
from pass_graphs import foreign, graph

pytestmark = pytest.mark.contract


def rounded(folder, zero, bias=None):
    """`x` rounded and back again."""
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "to"),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y" if bias is None else "d"], "from"),
    ]
    more = {}
    if bias is not None:
        nodes += [node("DequantizeLinear", ["b", "scale"], ["f"]), node("Add", ["d", "f"], ["y"])]
        more["b"] = np.array(bias)
    return graph(folder, nodes, scale=np.float32(0.1), zero=zero, **more)


class TestTensorRtPlan(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("tensorrt")
        return PassCase(
            name="tensorrt_plan",
            good=pass_models.attention(folder / "attention"),
            inputs=pass_models.token_rows,
            tolerance=0.0,
            others={
                "precision": {"precision": "fp16"},
                "rows": {"rows": 8},
                "shortest": {"shortest": 4},
                "longest": {"longest": 16},
                "workspace_mib": {"workspace_mib": 64},
            },
            unfit=foreign(folder / "foreign"),
            broken={"an operator it does not have": foreign(folder / "again")},
            modules=("modelworks.ext.passes.tensorrt_plan",),
        )

    def test_the_graph_stays_and_the_plan_says_what_is_not_proved(self, case, applied):
        into, result = applied
        plan = json.loads((into / "plan.json").read_text())
        assert plan["not_proved"] == ["execution", "answers", "speed"]
        assert "not run" in result.notes[0]
        assert not case.step.facts.verified

    def test_every_free_axis_has_a_range_in_every_command(self, applied):
        plan = json.loads((applied[0] / "plan.json").read_text())
        assert plan["profiles"]["input_ids"] == {"min": [1, 1], "opt": [8, 64], "max": [32, 128]}
        assert "--maxShapes=input_ids:32x128,attention_mask:32x128" in plan["trtexec"]
        words = plan["polygraphy_convert"]
        place = words.index("--trt-opt-shapes")
        assert words[place + 1 : place + 3] == ["input_ids:[8,64]", "attention_mask:[8,64]"]
        [trt, options], *others = plan["onnxruntime_providers"]
        assert trt == "TensorrtExecutionProvider"
        assert options["trt_profile_min_shapes"] == "input_ids:1x1,attention_mask:1x1"
        assert [name for name, _ in others] == ["CUDAExecutionProvider", "CPUExecutionProvider"]

    @pytest.mark.parametrize(
        ("zero", "bias", "words"),
        [
            (np.uint8(128), None, "asymmetric"),
            (np.int8(3), None, "asymmetric"),
            (np.int8(0), np.ones(2, np.int32), "32 bits"),
        ],
    )
    def test_int8_that_its_parser_refuses_is_told_before(self, case, tmp_path, zero, bias, words):
        source = rounded(tmp_path / "source", zero, bias)
        assert words in case.step.fits(case.job(tmp_path / "look", source))
        with pytest.raises(UnsupportedError, match=words):
            case.apply(tmp_path / "into", source)

    def test_symmetric_int8_is_taken(self, case, tmp_path):
        source = rounded(tmp_path / "source", np.int8(0))
        assert case.step.fits(case.job(tmp_path / "look", source)) == ""

    def test_datatypes_that_it_lacks_are_named(self, case, tmp_path):
        node = helper.make_node("Add", ["x", "x"], ["y"])
        source = graph(tmp_path / "source", [node], kind=Datatype.FP64)
        assert "'x' is FP64" in case.step.fits(case.job(tmp_path / "look", source))
