"""The arena that onnxruntime's sessions share: no page is touched anew, and it is given back."""

import resource
import threading

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.testing.fresh import told

pytestmark = pytest.mark.contract
MB = 2**20
PAGE = resource.getpagesize()


def wide(path, megabytes):
    """y = the sum of `x`, repeated until it fills so many megabytes."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [megabytes * MB // 4])
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["wide"]),
        helper.make_node("Exp", ["wide"], ["raised"]),
        helper.make_node("ReduceSum", ["raised"], ["y"], keepdims=1),
    ]
    one = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph(nodes, "wide", one[:1], one[1:], [shape])
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


_CALLS = """
import json, os, resource, sys
from pathlib import Path
import numpy as np
from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.sandbox.vigil import resident

def faults(session, times):
    "Pages touched for the first time by so many calls."
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(times):
        session.infer({"x": np.zeros(1, np.float32)})
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

sessions = [OnnxRuntimeEngine().load(Path(path), EngineOptions()) for path in sys.argv[1:]]
"""
_ONE = """
before = resident(os.getpid())
faults(sessions[0], 2)
held = resident(os.getpid())
anew = faults(sessions[0], 5)
sessions[0].close()
print(json.dumps([before, held, anew, resident(os.getpid())]))
"""
_SHARED = """
faults(sessions[0], 2)
before = resident(os.getpid())
for session in sessions[1:]:
    faults(session, 2)
print(json.dumps([before, resident(os.getpid())]))
"""


def load(path, **extra):
    return OnnxRuntimeEngine().load(path, EngineOptions(extra=tuple(extra.items())))


def test_calls_touch_no_page_anew_and_the_memory_comes_back(tmp_path):
    before, held, anew, after = told(_CALLS + _ONE, wide(tmp_path / "wide.onnx", 48))
    assert held - before > 40 * MB  # it is kept from call to call
    assert anew < 48 * MB // PAGE
    assert after - before < 20 * MB


def test_models_share_what_one_of_them_needs_at_a_time(tmp_path):
    paths = [wide(tmp_path / f"{i}.onnx", 32) for i in range(4)]
    before, held = told(_CALLS + _SHARED, *paths)
    assert held - before < 32 * MB


def test_one_leaves_while_another_computes(tmp_path):
    """Shrinking takes nothing from a call that runs."""
    staying = load(wide(tmp_path / "staying.onnx", 8))
    wanted = 8 * MB / 4
    wrong = []
    over = threading.Event()

    def compute():
        while not over.is_set():
            [found] = staying.infer({"x": np.zeros(1, np.float32)})
            if not np.isclose(found[0], wanted):
                wrong.append(found[0])

    thread = threading.Thread(target=compute)
    thread.start()
    path = wide(tmp_path / "leaving.onnx", 4)
    for _ in range(20):
        leaving = load(path)
        leaving.infer({"x": np.zeros(1, np.float32)})
        leaving.close()
    over.set()
    thread.join()
    staying.close()
    assert not wrong


def test_a_session_may_have_its_own_or_none(tmp_path):
    path = wide(tmp_path / "small.onnx", 1)
    for arena in ("own", "off"):
        session = load(path, arena=arena)
        [found] = session.infer({"x": np.zeros(1, np.float32)})
        np.testing.assert_allclose(found, [MB / 4], rtol=1e-3)
        session.close()
