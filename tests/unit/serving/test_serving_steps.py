"""Models with steps in the server's own machinery: opened whole, warmed, batched, embedded."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.outer import plan
from modelworks.core.served import Isolation, ServedModel
from modelworks.core.steps import StepsFile
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.plugins.load import load
from modelworks.serving.front import Front
from modelworks.serving.loading import load_model
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


def served(folder, model, items):
    steps = codec.decode(StepsFile, {"inputs": items}).inputs
    planned = plan(model, steps)
    load("steps", "graph")().compose(planned, model, folder, "onnx")
    return ServedModel("m", "1.0.0", str(folder), "", signature=planned.outer)


@pytest.fixture
def scaled(tmp_path):
    models.double(tmp_path / "model.onnx", width=2)
    spec = TensorSpec("x", Datatype.FP32, (None, 2), allow_nan=False)
    out = TensorSpec("y", Datatype.FP32, (None, 2))
    model = Signature((spec,), (out,), Layout.MATRIX, ("a", "b"))
    items = [
        {"name": "a", "validate": {"max": 10}, "scale": {"mean": 1, "std": 2}},
        {"name": "b", "impute": {"value": 7}},
    ]
    return served(tmp_path, model, items)


@pytest.fixture
def pictures(tmp_path):
    node = helper.make_node("ReduceMean", ["p"], ["y"], axes=[1, 2, 3], keepdims=0)
    shape = (None, 3, 4, 4)
    pixels = models.info("p", Datatype.FP32, shape)
    models.write(
        tmp_path / "model.onnx", [node], [pixels], [models.info("y", Datatype.FP32, (None,))]
    )
    model = Signature(
        (TensorSpec("p", Datatype.FP32, shape),), (TensorSpec("y", Datatype.FP32, (None,)),)
    )
    return served(tmp_path, model, [{"name": "image", "decode_image": {"height": 4, "width": 4}}])


def test_a_model_inside_a_program_keeps_the_rules(scaled):
    front = Front("m")
    try:
        assert front.apply(scaled) == ""
        live = front.live
        x = np.array([[5.0, np.nan]])
        found = front.call(live, {"x": x}, 1, 20.0)[0]
        assert found.tolist() == [[4.0, 14.0]]
        with pytest.raises(InvalidError, match="rule 'max'") as caught:
            front.call(live, {"x": np.array([[11.0, 1.0]])}, 1, 20.0)
        assert caught.value.field == "rows[0].a"
    finally:
        front.close()


def test_steps_in_the_graph_are_no_reason_to_run_apart(scaled):
    loaded = load_model(scaled, 1)
    assert not loaded.session.apart
    assert loaded.unbatched == ""
    loaded.session.close()


def test_what_reads_files_runs_apart_and_is_warmed_with_readable_ones(pictures):
    loaded = load_model(pictures, 1)
    assert loaded.session.apart
    assert not loaded.cost.inline(1)
    assert loaded.unbatched == ""
    loaded.session.close()
    loaded.session.close()


def test_without_a_registry_the_artifact_says_what_it_takes(scaled):
    loaded = load_model(replace(scaled, signature=None), 1)
    assert loaded.session.signature.features == ("a", "b")
    loaded.session.close()


def test_a_signature_that_the_steps_were_not_made_for_is_refused(scaled, tmp_path):
    other = replace(scaled.signature, features=("b", "a"))
    with pytest.raises(InvalidError, match="not the one"):
        load_model(replace(scaled, signature=other), 1)
    (tmp_path / "steps.json").unlink()
    with pytest.raises(InvalidError, match="the artifact has none"):
        load_model(scaled, 1)


def test_answers_as_long_as_their_neighbours_are_not_batched(tmp_path):
    node = helper.make_node("Identity", ["input_ids"], ["y"])
    shape = (None, None)
    ids, y = (models.info(n, Datatype.INT64, shape) for n in ("input_ids", "y"))
    models.write(tmp_path / "model.onnx", [node], [ids], [y])
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    model = Signature(
        (TensorSpec("input_ids", Datatype.INT64, shape),), (TensorSpec("y", Datatype.INT64, shape),)
    )
    loaded = load_model(served(tmp_path, model, [{"name": "t", "tokenize": {}}]), 1)
    assert "depends on the other rows" in loaded.unbatched
    loaded.session.close()


def test_a_process_of_its_own_takes_the_steps_along(scaled):
    """What the server sends is what callers send: nothing of the steps runs here."""
    rows = {"x": np.array([[3.0, np.nan], [5.0, 1.0]])}
    here = load_model(scaled, 1).session
    apart = load_model(replace(scaled, isolation=Isolation.PROCESS), 1).session
    try:
        assert apart.signature == here.signature
        for found, wanted in zip(apart.infer(rows), here.infer(rows), strict=True):
            np.testing.assert_array_equal(found, wanted)
        [process] = apart.processes()
        assert process
    finally:
        here.close()
        apart.close()
