"""ONNX models in a process of their own against the engine contract; and what is their own."""

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype
from modelworks.ext.engines.isolated import IsolatedEngine
from modelworks.plugins import load as plugins
from modelworks.sandbox.vigil import resident
from modelworks.testing import onnx_models as models
from modelworks.testing.engines import EngineCase, EngineContract
from modelworks.testing.loaders import gone

pytestmark = pytest.mark.contract
ONNX = (("engine", "onnxruntime"), ("format", "onnx"))


class Apart:
    """The engine, told what to run; its formats are those of the engine in the process."""

    name = "isolated"
    formats = ("onnx",)

    def load(self, path, options):
        engine = plugins.load("engines", "isolated")()
        return engine.load(path, replace(options, extra=(*ONNX, *options.extra)))


class TestIsolated(EngineContract):
    @pytest.fixture
    def case(self, tmp_path, heavy):
        model = models.double(tmp_path / "model.onnx")
        whole = model.read_bytes()
        broken = {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "foreign": b"PK\x03\x04 this is a zip file and no model" * 10,
        }
        files = {}
        for what, data in broken.items():
            files[what] = tmp_path / f"{what}.onnx"
            files[what].write_bytes(data)
        files["missing"] = tmp_path / "nowhere.onnx"
        return EngineCase(
            engine=Apart(),
            model=model,
            inputs=lambda rows: {
                "x": np.random.default_rng(rows).random((rows, 3), dtype=np.float32)
            },
            broken=files,
            weighty=heavy,
        )

    def test_close_gives_the_memory_back(self, case):
        """The memory is another process's: it is there, and goes with it."""
        session = case.engine.load(case.weighty, EngineOptions())
        [pid] = session.processes()
        assert resident(pid) > case.weighty.stat().st_size
        session.close()
        assert gone(pid)
        assert session.processes() == ()


def test_what_runs_apart_must_be_named_and_fit(tmp_path):
    model = models.double(tmp_path / "m.onnx")
    with pytest.raises(InvalidError, match="engine"):
        IsolatedEngine().load(model, EngineOptions())
    wrong = (("engine", "onnxruntime"), ("format", "tflite"))
    with pytest.raises(InvalidError, match="runs onnx, not tflite"):
        IsolatedEngine().load(model, EngineOptions(extra=wrong))
    more = (*ONNX, ("arena", "perhaps"))
    with pytest.raises(InvalidError, match="arena"):
        IsolatedEngine().load(model, EngineOptions(extra=more))


def test_text_and_whole_numbers_cross_over(tmp_path):
    kinds = [Datatype.BYTES, Datatype.BOOL, Datatype.INT64]
    session = Apart().load(models.echo(tmp_path / "echo.onnx", kinds), EngineOptions())
    given = {
        "in_BYTES": np.array([["é".encode(), b""]], object),
        "in_BOOL": np.array([[True, False]]),
        "in_INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    }
    for found, wanted in zip(session.infer(given), given.values(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    session.close()


def test_a_killed_process_is_noticed_and_replaced(tmp_path):
    session = Apart().load(models.double(tmp_path / "m.onnx"), EngineOptions())
    told, again = [], threading.Event()

    def changed(why):
        told.append(why)
        if not why:
            again.set()

    session.watch(changed)
    [first] = session.processes()
    os.kill(first, signal.SIGKILL)
    assert again.wait(30)
    assert "SIGKILL" in told[0]
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            [found] = session.infer({"x": np.ones((1, 3), np.float32)})
            break
        except UnavailableError:
            time.sleep(0.02)
    np.testing.assert_array_equal(found, np.full((1, 3), 2, np.float32))
    assert session.processes() != (first,)
    session.close()
