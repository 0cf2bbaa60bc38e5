"""Keras to ONNX to LiteRT: networks that Keras wrote, with what Keras itself says of the rows."""

import sys

import numpy as np
import pytest

import environments
from litert_graphs import session
from modelworks.core.imports import ImportOptions
from modelworks.core.optimizing.passes import PassJob
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load

# Without a cache the environment comes from the index first: 600 MB.
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's"),
]


def test_a_network_of_keras_says_in_litert_what_keras_said(tmp_path):
    files = environments.made("TensorFlow 2.21", environments.TENSORFLOW, "keras_files.py")
    for folder in ("work", "into"):
        (tmp_path / folder).mkdir()
    found = bring_in(
        files / "mlp.keras",
        ImportOptions(),
        tmp_path / "work",
        environments=environments.kept(),
    )
    job = PassJob(found.folder, "onnx", tmp_path / "into", found.signature)
    step = load("passes", "litert")()
    assert step.fits(job) == ""
    step.apply(job)
    known = np.load(files / "mlp.npz")
    inputs = {spec.name: known[f"in_{spec.name}"] for spec in found.signature.inputs}
    loaded = session("litert", job.into, found.signature)
    for spec, answer in zip(found.signature.outputs, loaded.infer(inputs), strict=True):
        np.testing.assert_allclose(answer, known[f"out_{spec.name}"], atol=1e-5, rtol=1e-4)
    one = {key: array[:1] for key, array in inputs.items()}
    for whole, single in zip(loaded.infer(inputs), loaded.infer(one), strict=True):
        np.testing.assert_allclose(single, whole[:1], atol=1e-5)
