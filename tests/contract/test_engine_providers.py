"""Where ONNX Runtime computes: an accelerator that is not there is refused, and never replaced.

No GPU has run this: what is tested is the refusals, and what ONNX Runtime is handed.
"""

import json

import numpy as np
import onnxruntime as ort
import pytest

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.seams import EngineOptions
from modelworks.ext.engines import providers
from modelworks.plugins import load as plugins
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.contract
WORDS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


def load(path, provider):
    options = EngineOptions(extra=(("provider", provider),))
    return plugins.load("engines", "onnxruntime")().load(path, options)


@pytest.fixture
def built_for_gpus(monkeypatch):
    """As the build for GPUs says it, wherever it is installed; this one still has none of it."""
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: [*WORDS.values(), "CPUExecutionProvider"]
    )


@pytest.fixture
def model(tmp_path):
    return models.double(tmp_path / "model.onnx")


def test_the_processor_is_where_it_computes_unless_more_is_said(model):
    assert providers.chain("cpu", model.parent) == ["CPUExecutionProvider"]
    [found] = load(model, "cpu").infer({"x": np.ones((1, 3), np.float32)})
    np.testing.assert_array_equal(found, [[2, 2, 2]])


@pytest.mark.parametrize("provider", WORDS)
def test_a_build_without_it_is_told_with_the_cure(model, provider):
    if WORDS[provider] in ort.get_available_providers():
        pytest.skip("this onnxruntime is built for GPUs: nothing is refused")
    with pytest.raises(UnsupportedError) as caught:
        load(model, provider)
    told = caught.value.message
    assert told.startswith(f"provider={provider}: this onnxruntime has ")
    assert "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu==" in told
    assert "never both" in told
    assert "overwrite each other" not in told


def test_both_builds_in_one_environment_are_told(model, monkeypatch):
    monkeypatch.setattr(providers, "version", lambda name: "1.31.1")
    with pytest.raises(UnsupportedError, match="overwrite each other"):
        load(model, "cuda")


@pytest.mark.parametrize("provider", WORDS)
def test_a_device_that_is_not_there_is_never_replaced_by_the_processor(
    model, built_for_gpus, provider
):
    """ONNX Runtime alone would compute on the processor and say nothing."""
    with pytest.raises(UnsupportedError, match="could not start it: no such device"):
        load(model, provider)


def test_a_word_that_is_none(model):
    with pytest.raises(InvalidError, match="'rocm' is none of cpu, cuda, tensorrt") as caught:
        load(model, "rocm")
    assert caught.value.field == "provider"


def test_what_one_cannot_do_the_next_one_takes(model, built_for_gpus):
    chain = providers.chain("tensorrt", model.parent)
    assert [name for name, _ in chain] == [*reversed(WORDS.values()), "CPUExecutionProvider"]
    assert dict(chain)["CUDAExecutionProvider"] == {"use_tf32": "0"}  # float32 stays float32
    assert [name for name, _ in providers.chain("cuda", model.parent)] == [
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]


def write_plan(folder, options):
    rows = [[WORDS["tensorrt"], options], ["CPUExecutionProvider", {}]]
    (folder / "plan.json").write_text(json.dumps({"onnxruntime_providers": rows}))


def test_a_plan_beside_the_model_says_for_which_shapes(model, built_for_gpus):
    shapes = {f"trt_profile_{side}_shapes": "x:1x3" for side in ("min", "opt", "max")}
    given = {"trt_fp16_enable": True, "trt_max_workspace_size": 1 << 20, **shapes}
    elsewhere = {"trt_engine_cache_path": "/etc", "trt_engine_cache_enable": True}
    write_plan(model.parent, given | elsewhere)
    told = dict(providers.chain("tensorrt", model.parent))[WORDS["tensorrt"]]
    assert told == {"trt_fp16_enable": "True", "trt_max_workspace_size": "1048576", **shapes}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"onnxruntime_providers": [1]}', "[" * 100_000, " " * (1 << 21)]
)
def test_a_plan_that_is_none_is_told_in_one_line(model, built_for_gpus, text):
    (model.parent / "plan.json").write_text(text)
    with pytest.raises(InvalidError, match=r"plan\.json") as caught:
        providers.chain("tensorrt", model.parent)
    assert len(caught.value.message) < 200
    assert "\n" not in caught.value.message


def test_a_plan_with_values_of_another_type_is_told(model, built_for_gpus):
    write_plan(model.parent, {"trt_max_workspace_size": "much"})
    with pytest.raises(InvalidError, match="int is wanted"):
        providers.chain("tensorrt", model.parent)


def test_a_plan_of_the_pass_is_read(tmp_path, built_for_gpus):
    """What `tensorrt_plan` writes is what the engine takes."""
    from modelworks.testing import pass_models
    from modelworks.testing.passes import PassCase

    source = pass_models.mlp(tmp_path / "mlp")
    case = PassCase("tensorrt_plan", source, pass_models.matrix_rows, 0.0, {}, None, {})
    case.apply(tmp_path / "into")
    told = dict(providers.chain("tensorrt", tmp_path / "into"))[WORDS["tensorrt"]]
    assert told["trt_profile_max_shapes"] == "x:32x64"
    assert told["trt_fp16_enable"] == "False"
