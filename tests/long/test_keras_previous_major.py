"""Files of Keras 2, in all three forms, say here what they said in TensorFlow 2.15."""

import sys

import numpy as np
import pytest

import environments
from modelworks.core.errors import RefusedError
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

KERAS_2 = ("tensorflow-cpu==2.15.1", "numpy==1.26.4", "protobuf==4.25.8")


@pytest.fixture(scope="module")
def files():
    if sys.version_info >= (3, 12):
        pytest.skip("TensorFlow 2.15 has no wheel for this Python: run the test with 3.11")
    return environments.made("TensorFlow 2.15", KERAS_2, "keras2_files.py")


@pytest.mark.parametrize("suffix", [".keras", ".h5", "_saved"])
@pytest.mark.parametrize("name", ["mlp", "recurrent", "operations"])
def test_a_file_of_keras_2_says_what_it_said_there(files, tmp_path, name, suffix):
    candidate = bring_in(
        files / f"{name}{suffix}", ImportOptions(), tmp_path, environments=environments.kept()
    )
    session = load("engines", "onnxruntime")().load(
        candidate.folder, EngineOptions(signature=candidate.signature)
    )
    known = np.load(files / f"{name}.npz")
    given = {spec.name: known[f"in_{i}"] for i, spec in enumerate(candidate.signature.inputs)}
    for i, answer in enumerate(session.infer(given)):
        np.testing.assert_allclose(answer, known[f"out_{i}"], atol=1e-5, rtol=1e-4)
    session.close()


def test_a_lambda_of_keras_2_is_refused(files, tmp_path):
    with pytest.raises(RefusedError, match="double"):
        bring_in(files / "lambda.h5", ImportOptions(), tmp_path, environments=environments.kept())
