"""Static int8: the contract on a small CNN, and what it says of attention."""

from dataclasses import replace

import pytest

from modelworks.core.optimizing.passes import PassJob
from modelworks.plugins.load import load
from modelworks.testing import pass_models
from modelworks.testing.passes import PassCase, PassContract

pytestmark = pytest.mark.contract


class TestInt8Static(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("static")
        return PassCase(
            name="int8_static",
            good=pass_models.cnn(folder / "cnn", channels=16),
            inputs=pass_models.image_rows,
            tolerance=0.1,
            others={
                "method": {"method": "entropy"},
                "percentile": {"method": "percentile", "percentile": 95.0},
                "per_channel": {"per_channel": False},
                "operators": {"operators": "weighted"},
                "first": {"first": 1},
                "rows": {"rows": 5},
                "skip": {"skip": ("GlobalAveragePool",)},
                "symmetric": {"symmetric": True},
                "reduce": {"reduce": True},
            },
            unfit=pass_models.attention(folder / "attention"),
            broken={},
            modules=pass_models.MODULES,
        )

    def test_attention_in_one_operator_is_seen_too(self, case, tmp_path):
        joined, given = tmp_path / "joined", pass_models.bert(tmp_path / "bert")
        joined.mkdir()
        step = load("passes", "transformer_fusions")()
        step.apply(PassJob(given.folder, "onnx", joined, given.signature, {"approximate": False}))
        whys = [
            case.step.fits(case.job(tmp_path / "into", replace(given, folder=folder)))
            for folder in (given.folder, joined)
        ]
        assert "adds up to 1e+04" in whys[0]
        assert "nncf_int8" in whys[1]

    def test_what_is_in_eight_bits_is_left_alone(self, case, applied, tmp_path):
        again = replace(case.good, folder=applied[0])
        assert "already" in case.step.fits(case.job(tmp_path, again))

    def test_first_convolutions_stay_in_float(self, case, applied, tmp_path):
        result = case.apply(tmp_path, settings={"first": 2})
        assert set(applied[1].operators) - set(result.operators) == {"first", "depth"}
