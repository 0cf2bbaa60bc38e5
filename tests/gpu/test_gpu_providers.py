"""What only a GPU can show. `make test-gpu` runs this; nothing else does.

With MODELWORKS_TEST_DEVICE=cpu the same tests run on the processor: a rehearsal of the tests.
"""

import os

import numpy as np
import onnxruntime as ort
import pytest

from modelworks.core.errors import UnavailableError, UnsupportedError
from modelworks.core.instances import parsed
from modelworks.core.seams import EngineOptions
from modelworks.core.served import ServedModel
from modelworks.ext.engines import gpus
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.serving.loading import load_model
from modelworks.testing import pass_models

pytestmark = pytest.mark.gpu
DEVICE = os.environ.get("MODELWORKS_TEST_DEVICE", "cuda:0")
REHEARSAL = DEVICE == "cpu"
MODELS = [
    (pass_models.mlp, pass_models.matrix_rows),
    (pass_models.cnn, pass_models.image_rows),
    (pass_models.bert, pass_models.token_rows),
]
MIB = 1 << 20


def only_there(what):
    if REHEARSAL:
        pytest.skip(f"a rehearsal: {what}")


def opened(folder, *extra):
    where = () if REHEARSAL else (("device", DEVICE),)
    return OnnxRuntimeEngine().load(folder, EngineOptions(extra=(*where, *extra)))


def answers(folder, inputs, *extra):
    session = opened(folder, *extra)
    found = [np.array(one) for one in session.infer(inputs)]
    session.close()
    return found


def on_processor(folder, inputs):
    session = OnnxRuntimeEngine().load(folder, EngineOptions())
    found = session.infer(inputs)
    session.close()
    return found


def near(left, right, tolerance):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("make", "rows"), MODELS)
def test_cuda_gives_what_the_processor_gives(tmp_path, make, rows):
    """Float32 stays float32: TF32 would be a thousand times further off."""
    folder = make(tmp_path / "m").folder
    for count in (1, 7, 64):
        near(answers(folder, rows(count)), on_processor(folder, rows(count)), 1e-4)


@pytest.mark.parametrize(("make", "rows"), MODELS)
def test_tensorrt_gives_what_the_processor_gives(tmp_path, make, rows):
    only_there("TensorRT")
    if "TensorrtExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this onnxruntime-gpu has no TensorRT")
    folder = make(tmp_path / "m").folder
    found = answers(folder, rows(8), ("provider", "tensorrt"))
    near(found, on_processor(folder, rows(8)), 1e-3)


def test_torch_on_the_device_agrees(tmp_path):
    torch = pytest.importorskip("torch")
    if not REHEARSAL and not torch.cuda.is_available():
        pytest.skip("this torch was built without CUDA")
    folder = pass_models.mlp(tmp_path / "m").folder
    inputs = pass_models.matrix_rows(32)
    x = torch.tensor(inputs["x"], device=DEVICE)
    weights = torch.tensor(np.eye(x.shape[1], dtype=np.float32), device=DEVICE)
    same = (x @ weights).cpu().numpy()  # the device computes at all
    np.testing.assert_allclose(same, inputs["x"], rtol=1e-3)
    near(answers(folder, {"x": same}), on_processor(folder, {"x": same}), 1e-3)


def test_the_memory_comes_back(tmp_path):
    only_there("memory of the device")
    folder = pass_models.mlp(tmp_path / "m", widths=(4096, 4096)).folder
    number = gpus.number_of(DEVICE, "cuda")
    opened(folder).close()  # CUDA's context stays with the process
    before = gpus.found()[number].free
    session = opened(folder)
    session.infer(pass_models.matrix_rows(8))
    held = gpus.found()[number].free
    session.close()
    assert before - held > 32 * MIB
    assert before - gpus.found()[number].free < 32 * MIB


def test_a_model_without_room_is_refused_before_it_is_loaded(tmp_path):
    only_there("memory of the device")
    folder = pass_models.mlp(tmp_path / "m").folder
    with pytest.raises(UnavailableError, match="MiB free"):
        opened(folder, ("gpu_memory_mib", "9000000"))


def test_a_device_too_many_is_refused_with_those_that_are_there(tmp_path):
    folder = pass_models.mlp(tmp_path / "m").folder
    with pytest.raises(UnsupportedError):
        OnnxRuntimeEngine().load(folder, EngineOptions(extra=(("device", "cuda:15"),)))


def test_two_copies_on_the_device_answer_side_by_side(tmp_path):
    folder = pass_models.mlp(tmp_path / "m").folder
    line = ServedModel("m", "1.0.0", str(folder), digest="", instances=parsed(f"{DEVICE}*2,cpu"))
    session = load_model(line, threads=1).session
    assert session.lanes == 3
    inputs = pass_models.matrix_rows(5)
    for _ in range(6):
        near(session.infer(inputs), on_processor(folder, inputs), 1e-4)
    session.close()
