"""Threads of engines leave the machine to others: not bound to cores, and silent between calls."""

import os
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import environments
from modelworks.core.seams import EngineOptions
from modelworks.plugins import load as plugins
from modelworks.testing import onnx_models

pytestmark = pytest.mark.contract
THREADS = 2


def threads():
    """Of this process: number -> cores that it may run on."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            found[int(task.name)] = os.sched_getaffinity(int(task.name))
        except ProcessLookupError:  # it ended in between
            continue
    return found


def started_by(act):
    """The cores of each thread that `act` starts, and that is still there when it has ended."""
    before = threads()
    kept = act()  # whoever drops it ends its threads
    new = [cores for number, cores in threads().items() if number not in before]
    del kept
    return new


def load(engine, path):
    options = EngineOptions(threads=THREADS)
    return plugins.load("engines", engine)().load(path, options)


def called(session):
    """Called once, so that its threads are there."""
    (spec,) = session.signature.inputs
    session.infer({spec.name: np.ones((16, spec.shape[1]), np.float32)})
    return session


@pytest.fixture(scope="module")
def ir():
    return environments.made_here("openvino_files.py") / "heavy.xml"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return onnx_models.heavy(tmp_path_factory.mktemp("heavy") / "heavy.onnx", layers=2)


def test_openvino_is_told_to_bind_no_thread(ir):
    session = load("openvino", ir)
    compiled = session._request.get_compiled_model()
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
    assert int(compiled.get_property("INFERENCE_NUM_THREADS")) == THREADS
    session.close()


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_threads_run_where_the_system_likes(request, engine):
    everywhere = os.sched_getaffinity(0)
    path = request.getfixturevalue({"openvino": "ir", "onnxruntime": "model"}[engine])
    started = started_by(lambda: called(load(engine, path)))
    assert [cores for cores in started if cores != everywhere] == []
    assert os.sched_getaffinity(0) == everywhere  # and this one as before
    if engine == "onnxruntime":
        assert len(started) >= THREADS - 1


def burnt(infer):
    """CPU seconds of this process for calls with a pause after each."""
    infer()
    began = time.process_time()
    for _ in range(30):
        infer()
        time.sleep(0.005)
    return time.process_time() - began


def test_threads_do_not_spin_between_calls(model):
    """As ONNX Runtime's own do: they look for work all the time that nobody calls."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = THREADS
    own = ort.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    ours = load("onnxruntime", model)
    rows = {"x": np.ones((16, 512), np.float32)}
    spinning = burnt(lambda: own.run(None, rows))
    silent = burnt(lambda: ours.infer(rows))
    assert silent < 0.6 * spinning
    ours.close()
