"""A folder that transformers 4 wrote is imported by transformers 5 and says what it said there."""

import json

import numpy as np
import pytest

import environments
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load
from modelworks.plugins.opening import open_model

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

OLD = ("transformers==4.57.6", "torch==2.13.0", "numpy==2.3.5", "safetensors")


def test_texts_are_judged_as_before(tmp_path):
    folder = environments.made("transformers 4", OLD, "huggingface_old.py")
    work = tmp_path / "work"
    work.mkdir()
    candidate = bring_in(folder / "model", ImportOptions(), work)
    engine = load("engines", "onnxruntime")()
    session = open_model(engine, candidate.folder, EngineOptions(signature=candidate.signature))
    texts = json.loads((folder / "texts.json").read_text())
    given = np.array([[text.encode()] for text in texts], object)
    (found,) = session.infer({"text": given})
    session.close()
    np.testing.assert_allclose(found, np.load(folder / "expected.npy"), atol=1e-5)
    assert candidate.signature.classes == ("bad", "good")
