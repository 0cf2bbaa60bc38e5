"""Half precision and joined transformers: the contract of each, and numbers that are too large."""

import numpy as np
import onnx
import pytest

from modelworks.core.errors import UnsupportedError
from modelworks.ext.passes.onnx_shapes import heads
from modelworks.testing import pass_models, planted
from modelworks.testing.passes import PassCase, PassContract

pytestmark = pytest.mark.contract


class TestFp16(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("fp16")
        return PassCase(
            name="fp16",
            good=pass_models.mlp(folder / "mlp"),
            inputs=pass_models.matrix_rows,
            tolerance=5e-3,
            alone=5e-3,
            others={},
            asked={"size": {"size": False}},
            unfit=None,
            broken={
                "sums": planted.large_sums(folder / "sums").source,
                "weights": planted.overflows(folder / "weights").source,
            },
            modules=pass_models.MODULES,
            settings={"size": True},
        )

    def test_what_is_too_large_is_named(self, case, tmp_path):
        for what, name, given in (("sums", "h", {}), ("weights", "first", {"calibration": None})):
            with pytest.raises(UnsupportedError, match=f"'{name}' reaches .*use mixed_precision"):
                case.apply(tmp_path / what, case.broken[what], **given)

    def test_where_nothing_computes_in_half_precision_it_says_so(self, case, tmp_path):
        assert "size=true" in case.step.fits(case.job(tmp_path, settings={"size": False}))


class TestMixedPrecision(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("mixed")
        large = planted.large_sums(folder / "large")
        with np.load(large.rows) as held:
            rows = held["x"]
        return PassCase(
            name="mixed_precision",
            good=large.source,
            inputs=lambda count: {"x": rows[:count]},
            tolerance=5e-3,
            alone=5e-3,
            others={"margin": {"margin": 1000.0}},
            asked={"size": {"size": False}},
            unfit=None,
            broken={},
            modules=pass_models.MODULES,
            settings={"size": True},
        )

    def test_what_is_too_large_stays_in_float32(self, case, applied):
        result = applied[1]
        assert set(result.operators) == {"last"}
        assert any("first, second" in note for note in result.notes)


class TestTransformerFusions(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("fused")
        return PassCase(
            name="transformer_fusions",
            good=pass_models.bert(folder / "bert"),
            inputs=pass_models.token_rows,
            tolerance=1e-4,
            others={
                "approximate": {"approximate": True},
            },
            unfit=pass_models.mlp(folder / "mlp"),
            broken={"another form": pass_models.attention(folder / "attention")},
            modules=pass_models.MODULES,
        )

    def test_attention_is_one_operator(self, applied):
        graph = onnx.load(applied[0] / "model.onnx").graph
        kinds = [node.op_type for node in graph.node]
        assert kinds.count("Attention") == 1
        assert "Softmax" not in kinds

    def test_equal_weights_that_an_exporter_keeps_once_hide_no_head(self, tmp_path):
        """As in networks whose biases were never taught: one constant, read by `Identity`."""
        source = pass_models.bert(tmp_path / "bert")
        model = onnx.load(source.folder / "model.onnx")
        for node in [n for n in model.graph.node if n.op_type == "Add"]:
            name = node.input[0]
            if name.startswith("b_"):
                node.input[0] = f"again_{name}"
                same = onnx.helper.make_node("Identity", [name], [f"again_{name}"])
                model.graph.node.insert(0, same)
        assert heads(model) == (2, 16)
