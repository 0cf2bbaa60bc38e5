"""Files written by a framework's previous major or minor version are imported by today's.

Each old framework gets an environment of its own (kept in the user's cache folder by its contents);
there it trains, saves and predicts. Here the file goes through the ordinary import road, and the
converted model must say what the old framework said.
"""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Role
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DATA = """
import sys
import joblib
import numpy as np
from sklearn.datasets import load_breast_cancer
x, y = load_breast_cancer(return_X_y=True)
x = x.astype(np.float32)
folder = sys.argv[1]
"""

SAVE = """
np.save(folder + "/rows.npy", x[:100])
np.save(folder + "/expected.npy", model.predict_proba(x[:100]))
"""


@dataclass(frozen=True)
class Old:
    name: str
    wanted: tuple[str, ...]
    train: str
    file: str


OLD = (
    Old(
        "scikit-learn 1.8",
        ("scikit-learn==1.8.0", "joblib", "numpy==2.3.5"),
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n"
        "model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(x, y)\n"
        "joblib.dump(model, folder + '/model.joblib')\n",
        "model.joblib",
    ),
    Old(
        "xgboost 2.1",
        ("xgboost-cpu==2.1.4", "scikit-learn==1.5.2", "joblib", "numpy==2.2.6"),
        "from xgboost import XGBClassifier\n"
        "model = XGBClassifier(n_estimators=20).fit(x, y)\n"
        "model.get_booster().save_model(folder + '/model.json')\n",
        "model.json",
    ),
    Old(
        "lightgbm 3.3",
        ("lightgbm==3.3.5", "scikit-learn==1.5.2", "joblib", "numpy==1.26.4"),
        "from lightgbm import LGBMClassifier\n"
        "model = LGBMClassifier(n_estimators=20).fit(x, y)\n"
        "model.booster_.save_model(folder + '/model.txt')\n",
        "model.txt",
    ),
)


def environment(old: Old) -> Path:
    """The old framework's Python, made once."""
    key = hashlib.sha256(" ".join((sys.version, *old.wanted)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "modelworks-tests" / key
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", *old.wanted]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1]
            if os.environ.get("CI") == "true":
                pytest.fail(f"{old.name} cannot be installed: {last}")
            pytest.skip(f"{old.name} cannot be installed: {last}")
        (folder / "complete").touch()
    return python


@pytest.mark.parametrize("old", OLD, ids=lambda old: old.name)
def test_a_file_of_the_previous_version_says_what_it_said_there(old: Old, tmp_path: Path):
    script = tmp_path / "train.py"
    script.write_text(DATA + old.train + SAVE)
    subprocess.run(
        [environment(old), "-W", "ignore", script, tmp_path], check=True, capture_output=True
    )
    work = tmp_path / "work"
    work.mkdir()
    candidate = bring_in(tmp_path / old.file, ImportOptions(), work)
    session = load("engines", "onnxruntime")().load(
        candidate.folder, EngineOptions(signature=candidate.signature)
    )
    rows, expected = np.load(tmp_path / "rows.npy"), np.load(tmp_path / "expected.npy")
    only = candidate.signature.inputs[0]
    kind = np.float64 if only.datatype == "FP64" else np.float32
    answers = session.infer({only.name: rows.astype(kind)})
    spec = candidate.signature.output(Role.PROBABILITIES)
    assert spec is not None
    got = answers[candidate.signature.outputs.index(spec)]
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-4)
    session.close()
