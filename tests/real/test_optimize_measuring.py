"""Forms asked and timed in processes of their own; texts made into what the model inside takes."""

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import Goal, Measurement
from modelworks.core.stepped import Stepped, write_stepped
from modelworks.core.steps import InputSteps, Tokenize
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize import arrays
from modelworks.optimize.asking import answers
from modelworks.optimize.data import Asked, prepared
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.timing import Scales, timed
from modelworks.testing import onnx_models

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),), (TensorSpec("y", Datatype.FP32, (None, 3)),)
)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    onnx_models.double(folder / "model.onnx")
    return Form(Recipe(), folder, "onnx", SIGNATURE)


@pytest.fixture
def rows(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    arrays.save(tmp_path / "rows.npz", {"x": x})
    return Rows(tmp_path / "rows.npz", 50)


def other(form, name, value):
    recipe = Recipe(run=Execution("onnxruntime", ((name, value),)))
    return Form(recipe, form.folder, form.format, form.signature)


def test_a_form_is_asked_for_every_row_in_its_place(tmp_path, source, rows):
    file = answers(source, rows, tmp_path)
    x = arrays.load(rows.inputs)["x"]
    np.testing.assert_array_equal(arrays.load(file)["y"], 2 * x)
    assert not list(tmp_path.glob(".child-*"))


def test_a_form_with_very_many_operators_in_float_is_asked_too(tmp_path, source, rows):
    keep = tuple(f"/encoder/layer.{n}/attention/MatMul_output_0" for n in range(10_000))
    recipe = Recipe((RecipeStep("int8_static", {}, keep),))
    long = Form(recipe, source.folder, source.format, source.signature)
    assert answers(long, rows, tmp_path).stat().st_size > 0


def test_who_takes_too_long_or_does_not_load_is_told_by_a_sentence(tmp_path, source, rows):
    with pytest.raises(RefusedError, match=r"longer than the 0\.05 s that were left for it"):
        answers(source, rows, tmp_path, seconds=0.05)
    with pytest.raises(InvalidError, match="no option 'nonsense'"):
        answers(other(source, "nonsense", "1"), rows, tmp_path)
    assert not list(tmp_path.glob(".child-*"))


def test_forms_are_timed_beside_the_source_form_and_weighed_once(tmp_path, source, rows):
    forms = [other(source, "optimization", "disabled"), other(source, "nonsense", "1")]
    scales = Scales()
    found = timed(source, forms, rows, Goal(), tmp_path, seconds=0.6, scales=scales)
    plain, broken = found.forms
    assert isinstance(plain, Measurement)
    assert "no option 'nonsense'" in broken
    for form in (found.source, plain):
        assert [one.rows for one in form.times] == [1, 16]
        for one in form.times:
            # Under a limit of CPU time the kernel would tell it in ticks, mostly nought.
            assert 0 < one.cpu_us[0] <= one.cpu_us[1] <= one.cpu_us[2]
            assert one.low <= one.ratio <= one.high
            assert one.p99_us >= one.wall_us[1] > 0
        assert form.load_s > 0
        assert form.size_bytes == (source.folder / "model.onnx").stat().st_size
    assert found.source.times[0].ratio == 1
    assert len(scales.weights) == 3
    before = dict(scales.weights)
    timed(source, [], rows, Goal(batches=(1,)), tmp_path, seconds=0.1, scales=scales)
    assert scales.weights == before


def test_texts_become_what_the_model_inside_takes_once(tmp_path):
    words = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "a", "b"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    folder = tmp_path / "artifact"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    out = TensorSpec("y", Datatype.FP32, (None, 2))
    inside = tuple(TensorSpec(name, Datatype.INT64, (None, None)) for name in ("ids", "mask"))
    step = Tokenize(ids="ids", mask="mask", types="", max_rows=40)
    text = TensorSpec("text", Datatype.BYTES, (None, 1), allow_nan=False)
    outer = Signature((text,), (out,), steps=(InputSteps("text", tokenize=step),))
    write_stepped(folder, Stepped(outer, Signature(inside, (out,))))
    lines = ["text", *(" ".join(["a", "b"] * (1 + row % 3)) + f" w{row}" for row in range(200))]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    found = prepared(outer, Asked(evaluation=tmp_path / "rows.csv"), folder, tmp_path)
    made = arrays.load(found.evaluation.inputs, inside)
    assert made["ids"].shape == (found.evaluation.count, 7)  # filled up over all calls
    lengths = made["mask"].sum(axis=1)
    assert set(lengths.tolist()) == {3, 5, 7}
    assert (made["ids"][made["mask"] == 0] == 0).all()
    assert found.calibration.count + found.evaluation.count == 200
    drawn = prepared(outer, Asked(), folder, tmp_path)
    assert drawn.evaluation.made_up
    assert arrays.load(drawn.evaluation.inputs, inside)["ids"].shape[0] == drawn.evaluation.count
