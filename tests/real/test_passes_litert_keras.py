"""Keras to ONNX to LiteRT and OpenVINO: networks of Keras, with what it says itself of the rows."""

import sys

import numpy as np
import pytest

import environments
from litert_graphs import session
from modelworks.core.imports import ImportOptions
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load

# Without a cache the environment comes from the index first: 600 MB.
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's"),
]


@pytest.mark.parametrize("form", ["mlp.keras", "mlp_saved"])
def test_a_network_of_keras_says_in_both_what_keras_said(tmp_path, form):
    """A file of Keras, and a SavedModel as TensorFlow has it."""
    files = environments.made("TensorFlow 2.21", environments.TENSORFLOW, "keras_files.py")
    (tmp_path / "work").mkdir()
    found = bring_in(
        files / form,
        ImportOptions(),
        tmp_path / "work",
        environments=environments.kept(),
    )
    known = np.load(files / "mlp.npz")
    inputs = {
        spec.name: array
        for spec, array in zip(
            found.signature.inputs, (known[n] for n in known if n.startswith("in_")), strict=True
        )
    }
    wanted = [known[name] for name in known if name.startswith("out_")]
    one = {key: array[:1] for key, array in inputs.items()}
    for end in ("litert", "openvino"):
        (tmp_path / end).mkdir()
        step = load("passes", end)()
        settings = settled(step.facts, {})
        job = PassJob(found.folder, "onnx", tmp_path / end, found.signature, settings)
        assert step.fits(job) == ""
        step.apply(job)
        loaded = session(end, job.into, found.signature)
        for told, answer in zip(wanted, loaded.infer(inputs), strict=True):
            np.testing.assert_allclose(answer, told, atol=1e-5, rtol=1e-4)
        for whole, single in zip(loaded.infer(inputs), loaded.infer(one), strict=True):
            np.testing.assert_allclose(single, whole[:1], atol=1e-5)
