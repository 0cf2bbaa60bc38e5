"""The contract suite of viewers on all that are shipped; forms of one network in three formats."""

import shutil

import numpy as np
import pytest

from diverging_graphs import branches, rows
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.plugins.load import load
from modelworks.testing.viewers import ViewerCase, ViewerContract

pytestmark = pytest.mark.contract


def case(folder, format_, engine, step=""):
    source = branches(folder / "source")
    into = source.folder
    if step:
        into = folder / "form"
        into.mkdir()
        made = load("passes", step)()
        job = PassJob(source.folder, "onnx", into, source.signature, settled(made.facts, {}))
        made.apply(job)
    damaged = folder / "damaged"
    shutil.copytree(into, damaged)
    for file in damaged.iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    inputs = rows(source, 7)
    left = np.tanh(inputs["x"] @ _weight(source, "wl"))
    return ViewerCase(format_, engine, into, source.signature, inputs, ("l2", left), damaged)


def _weight(source, name):
    from modelworks.ext.formats.onnx_model import read_model, weights_of

    return weights_of(read_model(source.folder))[name]


class TestOnnx(ViewerContract):
    @pytest.fixture
    def case(self, tmp_path):
        return case(tmp_path, "onnx", "onnxruntime")


class TestOpenVino(ViewerContract):
    @pytest.fixture
    def case(self, tmp_path):
        return case(tmp_path, "openvino-ir", "openvino", "openvino")


class TestLiteRt(ViewerContract):
    @pytest.fixture
    def case(self, tmp_path):
        return case(tmp_path, "tflite", "litert", "litert")
