"""Distillation: the contract on a net of few updates; what is learned stands in tests/real."""

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.testing import pass_models
from modelworks.testing.pass_cases import answers
from modelworks.testing.passes import PassCase, PassContract, PassSource
from students import forest, labelled, tolerant

pytestmark = [pytest.mark.contract, pytest.mark.real]
MODULES = ("onnx", "onnxruntime", "torch")


class TestDistil(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("distil")
        good = labelled(pass_models.cnn(folder / "good", channels=64))
        few = folder / "few.npz"
        np.savez(few, **pass_models.image_rows(5))
        return PassCase(
            name="distil",
            good=good,
            inputs=pass_models.image_rows,
            tolerance=2.0,  # of six updates nothing is learned
            settings={"steps": 6, "size": "tiny"},
            others={
                "size": {"size": "small"},
                "steps": {"steps": 7},
                "temperature": {"temperature": 1.0},
                "alpha": {"alpha": 0.1},
                "mixed": {"mixed": 0},
            },
            unfit=pass_models.attention(folder / "text"),
            broken={"few rows": PassSource(good.folder, "onnx", good.signature, few)},
            modules=MODULES,
        )


def test_a_model_that_is_no_larger_than_its_student_is_left_alone(tmp_path):
    case = PassCase("distil", pass_models.mlp(tmp_path / "mlp"), None, 0, {}, None, {})
    assert "KB" in case.step.fits(case.job(tmp_path / "into", settings={"size": "large"}))
    assert case.step.fits(case.job(tmp_path / "into", settings={"size": "tiny"})) == ""


def test_labels_and_probabilities_come_as_the_forest_gives_them(tmp_path):
    source = forest(tmp_path / "forest")
    case = PassCase("distil", source, None, 0, {}, None, {})
    result = case.apply(tmp_path / "into", settings={"steps": 400})
    assert result.figures["agreement"] > 0.85
    inputs = {"X": np.load(source.calibration)["X"][:50]}
    label, chances = answers("onnxruntime", tmp_path / "into", source.signature, inputs)
    assert label.dtype == object
    assert set(label.tolist()) <= {b"even", b"odd", b"none"}
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    best = np.array(source.signature.classes)[chances.argmax(axis=1)]
    assert [each.decode() for each in label] == best.tolist()


def test_rows_with_missing_values_are_the_mean_to_a_student_whose_teacher_takes_them(tmp_path):
    source = tolerant(tmp_path / "tolerant")
    case = PassCase("distil", source, None, 0, {}, None, {})
    result = case.apply(tmp_path / "into", settings={"steps": 30, "size": "tiny"})
    assert any("missing" in note for note in result.notes)
    inputs = {"X": np.full((2, 6), np.nan, np.float32)}
    [chances] = answers("onnxruntime", tmp_path / "into", source.signature, inputs)
    assert np.isfinite(chances).all()


def test_a_teacher_that_answers_with_nan_is_refused(tmp_path):
    source = pass_models.mlp(tmp_path / "mlp")
    rows = tmp_path / "endless.npz"
    np.savez(rows, x=np.full((48, 64), np.inf, np.float32))
    case = PassCase("distil", source, None, 0, {}, None, {})
    with pytest.raises(InvalidError, match="NaN") as caught:
        case.apply(tmp_path / "into", calibration=rows)
    assert caught.value.field == "calibration"
    assert list((tmp_path / "into").iterdir()) == []


def test_texts_have_no_student(tmp_path):
    source = pass_models.attention(tmp_path / "text")
    case = PassCase("distil", source, None, 0, {}, None, {})
    with pytest.raises(UnsupportedError, match="one size"):
        case.apply(tmp_path / "into")
