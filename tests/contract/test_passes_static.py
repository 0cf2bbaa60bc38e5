"""Static int8: the contract on a small CNN, and what it says of attention."""

import pytest

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
                "skip": {"skip": ("GlobalAveragePool",)},
                "symmetric": {"symmetric": True},
                "reduce": {"reduce": True},
            },
            unfit=pass_models.attention(folder / "attention"),
            broken={},
            modules=pass_models.MODULES,
        )
