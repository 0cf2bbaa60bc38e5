"""Native models on their way in: trust, walls, death in mid-import, their own environment."""

import os
from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.model import Verdict
from modelworks.core.native import read_native
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load as plugin
from modelworks.plugins.opening import open_model
from modelworks.sandbox import environments
from modelworks.sandbox.limits import Limits
from native_models import line_of, native

pytestmark = pytest.mark.real
TRUSTED = ImportOptions(trust=True, inputs=(TensorSpec("x", Datatype.FP32, (None, 3)),))
NATIVE = ImportOptions(trust=True, runtime=Runtime.NATIVE)


def folder(root, code, **files):
    root.mkdir(parents=True)
    (root / "model.py").write_text(code)
    for name, text in files.items():
        (root / name.replace("_", ".")).write_text(text)
    return root


def come(path, work, options=TRUSTED, **more):
    work.mkdir()
    return bring_in(path, options, work, actor="ann", **more)


def evidence(candidate, kind):
    return next(item for item in candidate.evidence if item.kind == kind)


def test_a_python_folder_comes_in_by_its_owners_word_and_is_served(tmp_path):
    path = native(tmp_path / "artifact") / "model"
    with pytest.raises(RefusedError, match="--trust"):
        come(path, tmp_path / "first", replace(TRUSTED, trust=False))
    found = come(path, tmp_path / "second", replace(TRUSTED, accept_difference=True))
    assert (found.format, found.engine, found.source_format) == (
        "native",
        "native",
        "python-folder",
    )
    assert evidence(found, "native").verdict is Verdict.ACCEPTED  # it says its own process id
    assert evidence(found, "trust").detail["by"] == "ann"
    assert evidence(found, "trust").detail["runtime"] == "native"
    assert evidence(found, "scan").verdict is Verdict.ACCEPTED


@pytest.fixture
def double(tmp_path):
    return folder(tmp_path / "double", "def predict(i):\n    return {'y': i['x'] * 2}\n")


def test_the_evidence_names_walls_start_and_memory(double, tmp_path):
    found = evidence(come(double, tmp_path / "work"), "native")
    assert found.verdict is Verdict.PASSED
    assert found.detail["rows"] == 4
    assert found.detail["resident_bytes"] > 1 << 20
    assert 0 < found.detail["start_seconds"] < 120
    walls = found.detail["isolation"]
    assert all(walls[name] for name in ("network", "files", "processes", "privileges"))


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("import os\ndef load():\n    os.abort()\n", CrashedError, "SIGABRT"),
        ("import sys\ndef load():\n    sys.exit(4)\n", ModelworksError, "4"),
        ("def load():\n    return bytearray(1 << 40)\n", RefusedError, "memory"),
        ("def load():\n    while True: pass\n", RefusedError, "longer than 5 s"),
        (
            "def load():\n    with open('big', 'wb') as f: f.write(bytes(64 << 20))\n",
            ModelworksError,
            "File too large",
        ),
    ],
)
def test_dying_in_mid_import_leaves_nothing(tmp_path, code, error, says):
    path = folder(tmp_path / "m", code + "def predict(i):\n    return {'y': i['x']}\n")
    wall = 5 if "longer" in says else 60  # a busy machine is slow to start Python
    limits = Limits(wall_seconds=wall, file_bytes=8 << 20)
    with pytest.raises(error, match=says):
        come(path, tmp_path / "work", limits=limits)
    assert not (tmp_path / "work" / "artifact" / "native.json").exists()


def test_a_mistake_in_the_folder_is_told_by_file_and_line(tmp_path):
    path = folder(tmp_path / "m", "import helper\ndef predict(i):\n    return helper.f(i)\n")
    (path / "helper.py").write_text("def f(i):\n    return i['missing']\n")
    with pytest.raises(ModelworksError, match=r"helper\.py, line 2: KeyError: 'missing'"):
        come(path, tmp_path / "work")


def test_a_model_that_does_not_repeat_itself_needs_to_be_accepted(tmp_path):
    code = (
        "import numpy as np\n"
        "def predict(i):\n"
        "    return {'y': i['x'] + np.random.default_rng().random()}\n"
    )
    path = folder(tmp_path / "m", code)
    with pytest.raises(RefusedError, match="--accept-difference"):
        come(path, tmp_path / "first")
    found = come(path, tmp_path / "second", replace(TRUSTED, accept_difference=True))
    assert evidence(found, "native").verdict is Verdict.ACCEPTED


def test_a_trusted_model_whose_conversion_fails_says_the_cure(tmp_path):
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.neighbors import RadiusNeighborsClassifier

    rows, labels = load_iris(return_X_y=True)
    model = RadiusNeighborsClassifier(2.0, outlier_label=0).fit(rows, labels)
    joblib.dump(model, tmp_path / "near.joblib")
    with pytest.raises(ModelworksError, match="--trust --runtime native"):
        come(tmp_path / "near.joblib", tmp_path / "first", ImportOptions())
    untrusted = ImportOptions(runtime=Runtime.NATIVE)
    with pytest.raises(RefusedError, match="needs --trust"):
        come(tmp_path / "near.joblib", tmp_path / "second", untrusted)
    found = come(tmp_path / "near.joblib", tmp_path / "third", NATIVE)
    session = plugin("engines", "native")().load(found.folder, EngineOptions(trusted=True))
    try:
        label, probabilities = session.infer({"input": rows[:20]})
    finally:
        session.close()
    np.testing.assert_array_equal(label, model.predict(rows[:20]))
    np.testing.assert_array_equal(probabilities, model.predict_proba(rows[:20]))


def test_requirements_are_installed_in_an_environment_of_its_own(tmp_path):
    code = (
        "import numpy as np, tabulate\n"
        "def predict(i):\n"
        "    return {'y': i['x'], 'by': np.full(len(i['x']), tabulate.__version__)}\n"
    )
    lines = ("tabulate==0.9.0",)
    path = folder(tmp_path / "m", code, requirements_txt="\n".join(lines))
    root = tmp_path / "environments"
    try:
        python = environments.make(lines, root)
    except UnavailableError as error:
        reason = f"a package index is needed to install {lines[0]}: {error.message}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    found = come(path, tmp_path / "work", environments=root)
    assert read_native(found.folder).requirements == lines
    assert found.environment["tabulate"] == "0.9.0"
    options = EngineOptions(trusted=True, interpreter=str(python), extra=(("spare", "off"),))
    session = plugin("engines", "native")().load(found.folder, options)
    try:
        _, by = session.infer({"x": np.ones((1, 3), np.float32)})
    finally:
        session.close()
    assert by.tolist() == [b"0.9.0"]
    environments.remove(environments.name_of(lines), root)
    with pytest.raises(NotFoundError, match="gone"):
        plugin("engines", "native")().load(found.folder, options)


def test_lines_of_a_load_that_fails_at_the_second_start_are_told(tmp_path):
    artifact = native(tmp_path / "artifact")
    (artifact / "model" / "broken").touch()
    with pytest.raises(InvalidError, match=f"line {line_of('are gone')}: OSError"):
        plugin("engines", "native")().load(artifact, EngineOptions(trusted=True))


def test_steps_run_before_a_native_model_too(double, tmp_path):
    file = tmp_path / "steps.yaml"
    file.write_text(
        "inputs:\n  - {name: x, validate: {max: 9}, impute: {value: 7.0}, "
        "scale: {mean: 1.0, std: 2.0}}\n"
    )
    found = come(double, tmp_path / "work", replace(TRUSTED, steps=file))
    assert evidence(found, "steps").verdict is Verdict.PASSED
    options = EngineOptions(signature=found.signature, trusted=True)
    session = open_model(plugin("engines", "native")(), found.folder, options)
    try:
        (answer,) = session.infer({"x": np.array([[np.nan, 1, 3]])})
        assert answer.tolist() == [[6, 0, 2]]
    finally:
        session.close()
