"""Writes model folders with MLflow itself, and what MLflow answers to the same rows.

Run by the tests in MLflow's own environment: `mlflow_folders.py FOLDER LIBRARIES`.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
FOLDER = Path(sys.argv[1])
sys.path.append(sys.argv[2])
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402 - after the path
import pandas as pd  # noqa: E402 - after the path
from mlflow import lightgbm as mlflow_lightgbm  # noqa: E402 - after the path
from mlflow import pyfunc  # noqa: E402 - after the path
from mlflow import sklearn as mlflow_sklearn  # noqa: E402 - after the path
from mlflow import xgboost as mlflow_xgboost  # noqa: E402 - after the path
from mlflow.models import Model, infer_signature  # noqa: E402 - after the path
from mlflow.types import ColSpec  # noqa: E402 - after the path
from mlflow.version import VERSION  # noqa: E402 - after the path
from sklearn.compose import make_column_transformer  # noqa: E402 - after the path
from sklearn.datasets import load_iris  # noqa: E402 - after the path
from sklearn.linear_model import LogisticRegression  # noqa: E402 - after the path
from sklearn.pipeline import make_pipeline  # noqa: E402 - after the path
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402 - after the path

NEW = int(VERSION.split(".", maxsplit=1)[0]) >= 3
PINS = [f"mlflow-skinny=={VERSION}", f"pandas=={pd.__version__}"]
ROWS, Y = load_iris(return_X_y=True, as_frame=True)
ROWS = ROWS.astype(np.float32).astype(np.float64)  # both sides then see the same numbers
HEAD = ROWS[::10]
SIGNATURE = infer_signature(ROWS, Y.to_numpy())


def said(name, rows):
    """What MLflow's own python_function answers."""
    answer = pyfunc.load_model(str(FOLDER / name)).predict(rows)
    np.save(FOLDER / f"{name}.npy", np.asarray(answer))


def sklearns():
    model = LogisticRegression(max_iter=500).fit(ROWS, Y)
    logged = {"signature": SIGNATURE, "pip_requirements": PINS}
    known = Model(run_id="0123456789abcdef0123456789abcdef")
    mlflow_sklearn.save_model(
        model, FOLDER / "sklearn", mlflow_model=known, input_example=HEAD, **logged
    )
    said("sklearn", HEAD)
    mlflow_sklearn.save_model(
        model, FOLDER / "pickled", serialization_format="cloudpickle", **logged
    )
    table = HEAD.rename(columns={"sepal length (cm)": "length"})[["length"]].assign(
        colour=["red", "blue", "green"] * 5
    )
    chosen = make_column_transformer((StandardScaler(), ["length"]), (OneHotEncoder(), ["colour"]))
    pipeline = make_pipeline(chosen, LogisticRegression()).fit(table, Y[::10])
    mlflow_sklearn.save_model(
        pipeline,
        FOLDER / "columns",
        signature=infer_signature(table, Y[::10].to_numpy()),
        input_example=table,
        pip_requirements=PINS,
        serialization_format="cloudpickle",
    )
    said("columns", table)
    table.to_csv(FOLDER / "columns.csv", index=False)


def trees():
    from lightgbm import LGBMRegressor
    from xgboost import XGBClassifier

    logged = {"signature": SIGNATURE, "pip_requirements": PINS}
    mlflow_xgboost.save_model(
        XGBClassifier(n_estimators=5).fit(ROWS, Y), FOLDER / "xgboost", **logged
    )
    said("xgboost", HEAD)
    model = LGBMRegressor(n_estimators=5, verbose=-1).fit(ROWS, Y)
    mlflow_lightgbm.save_model(model, FOLDER / "lightgbm", **logged)
    said("lightgbm", HEAD)
    mlflow_lightgbm.save_model(model.booster_, FOLDER / "booster", pip_requirements=PINS)


def networks():
    import torch
    from mlflow import onnx as mlflow_onnx
    from mlflow import pytorch as mlflow_pytorch
    from skl2onnx import to_onnx

    rows = ROWS.to_numpy(np.float32)
    model = LogisticRegression(max_iter=500).fit(rows, Y)
    converted = to_onnx(model, rows[:1], options={"zipmap": False})
    mlflow_onnx.save_model(converted, FOLDER / "onnx", pip_requirements=PINS)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    logged = {
        "signature": infer_signature(rows, net(torch.tensor(rows)).detach().numpy()),
        "pip_requirements": PINS,
    }
    pickled = {"serialization_format": "pickle"} if NEW else {}
    mlflow_pytorch.save_model(net, FOLDER / "pytorch", **pickled, **logged)
    with torch.no_grad():
        np.save(FOLDER / "pytorch.npy", net(torch.tensor(rows[::10])).numpy())
    if NEW:
        mlflow_pytorch.save_model(net, FOLDER / "exported", input_example=rows[:3], **logged)


class Priced(pyfunc.PythonModel):
    """Custom code with an artifact, a parameter, text and an optional column."""

    def load_context(self, context):
        self.factor = float(Path(context.artifacts["factor"]).read_text())

    def predict(self, context, model_input, params=None):
        scale = (params or {}).get("scale", 1)
        extra = model_input.get("extra", 0)
        return pd.DataFrame(
            {
                "price": model_input["size"] * self.factor * scale + model_input["rooms"] + extra,
                "town": model_input["town"].str.upper(),
            }
        )


SCRIPT = """
import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Sums(PythonModel):
    def predict(self, context, model_input, params=None):
        return np.asarray(model_input).sum(axis=1)


set_model(Sums())
"""


def customs():
    (FOLDER / "factor.txt").write_text("2.5")
    table = pd.DataFrame(
        {"size": [50.0, 80.5], "rooms": [2, 3], "town": ["ulm", "köln"], "extra": [1.0, 2.0]}
    )
    answer = pd.DataFrame({"price": [1.0], "town": ["A"]})
    signature = infer_signature(table, answer, params={"scale": 2.0})
    signature.inputs.inputs[3] = ColSpec("double", "extra", required=False)
    Priced.__module__ = "__main__"
    pyfunc.save_model(
        FOLDER / "custom",
        python_model=Priced(),
        artifacts={"factor": str(FOLDER / "factor.txt")},
        signature=signature,
        input_example=table,
        pip_requirements=PINS,
    )
    script = FOLDER / "sums.py"
    script.write_text(SCRIPT)
    pyfunc.save_model(
        FOLDER / "script", python_model=str(script), signature=SIGNATURE, pip_requirements=PINS
    )


sklearns()
trees()
networks()
customs()
