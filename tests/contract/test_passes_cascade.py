"""Cascades: the contract, and the threshold that is found."""

from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.ext.passes.cascade import found_threshold
from modelworks.testing import pass_models
from modelworks.testing.passes import PassCase, PassContract, PassSource
from students import classified

pytestmark = [pytest.mark.contract, pytest.mark.real]
MODULES = ("onnx", "onnxruntime", "torch")


class TestCascade(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("cascade")
        good = classified(pass_models.mlp(folder / "good", widths=(256, 128)))
        few = folder / "few.npz"
        np.savez(few, **pass_models.matrix_rows(60))
        return PassCase(
            name="cascade",
            good=good,
            inputs=pass_models.matrix_rows,
            tolerance=1.5,
            settings={"small": "magnitude", "steps": 200, "agreement": 0.7},
            others={
                "small": {"small": "distil", "agreement": 0.5},
                "size": {"small": "distil", "size": "small", "agreement": 0.5},
                "steps": {"small": "distil", "steps": 201, "agreement": 0.5},
                "agreement": {"agreement": 1.0},
            },
            unfit=pass_models.cnn(folder / "no-classes"),
            broken={"few rows": PassSource(good.folder, "onnx", good.signature, few)},
            modules=MODULES,
        )


def test_a_pass_that_makes_no_form_of_onnx_is_refused(tmp_path):
    source = classified(pass_models.cnn(tmp_path / "cnn"))
    case = PassCase("cascade", source, None, 0, {}, None, {})
    with pytest.raises(InvalidError) as caught:
        case.apply(tmp_path / "into", settings={"small": "cascade"})
    assert caught.value.field == "small"


SURE = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
SAME = np.array([True, True, False, True, False])


@pytest.mark.parametrize(
    ("agreement", "threshold"), [(1.0, 0.75), (0.8, 0.55), (0.6, 0.5), (0.5, 0.5)]
)
def test_the_lowest_threshold_with_that_agreement_is_found(agreement, threshold):
    assert found_threshold(SURE, SAME, agreement) == pytest.approx(threshold)
    order = np.random.default_rng(0).permutation(5)
    assert found_threshold(SURE[order], SAME[order], agreement) == pytest.approx(threshold)


def test_rows_of_one_sureness_go_one_way():
    sure = np.array([0.9, 0.7, 0.7, 0.5])
    same = np.array([True, True, False, True])
    assert found_threshold(sure, same, 1.0) == pytest.approx(0.8)


def test_a_form_that_is_surely_wrong_has_no_threshold():
    assert found_threshold(SURE, ~SAME, 1.0) is None
    assert found_threshold(np.ones(4), np.array([True, False, True, True]), 1.0) is None


def test_steps_need_classes(tmp_path):
    source = classified(pass_models.cnn(tmp_path / "cnn"))
    case = PassCase("cascade", source, None, 0, {}, None, {})
    job = case.job(tmp_path / "into")
    assert case.step.fits(replace(job, signature=replace(source.signature, classes=()))) != ""
