"""Honest files of the same kinds, some of which look like trouble."""

import gzip
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    ensemble,
    feature_extraction,
    feature_selection,
    impute,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

from corpus.kinds import Benign
from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Datatype, TensorSpec

PICKLES, SAFE, TORCH = "Pickle and joblib", "Formats of data", "PyTorch"
_ROWS = np.random.default_rng(7).normal(size=(120, 4))
_LABELS = (_ROWS[:, 0] > 0).astype(int)
_TEXTS = ["os system eval", "import subprocess", "__reduce__ exec", "posix open builtins"] * 6
_INPUT = (TensorSpec("x", Datatype.FP32, (None, 3)),)


def _logistic() -> Any:
    return linear_model.LogisticRegression().fit(_ROWS, _LABELS)


def _pickled(model: Callable[[], Any], protocol: int = 4) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(pickle.dumps(model(), protocol))


def _joblib(model: Callable[[], Any], compress: Any = 0) -> Callable[[Path], None]:
    return lambda path: joblib.dump(model(), path, compress=compress)


def _by(library: str, model: Callable[[], Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import importlib

        path.write_bytes(importlib.import_module(library).dumps(model()))

    return write


def _columns() -> Any:
    frame = pd.DataFrame(
        {"os.system": _ROWS[:, 0], "__import__": _ROWS[:, 1], "eval": ["exec", "open"] * 60}
    )
    chosen = compose.make_column_transformer(
        (preprocessing.StandardScaler(), ["os.system", "__import__"]),
        (preprocessing.OneHotEncoder(), ["eval"]),
    )
    return pipeline.make_pipeline(chosen, linear_model.LogisticRegression()).fit(frame, _LABELS)


def _frame_columns() -> Any:
    frame = pd.DataFrame(_ROWS, columns=pd.RangeIndex(4))
    frame.columns = ["a", "b", "c", "d"]
    chosen = compose.ColumnTransformer([("n", preprocessing.StandardScaler(), ["a", "b"])])
    return pipeline.make_pipeline(chosen, linear_model.Ridge()).fit(frame, _ROWS[:, 0])


def _words() -> Any:
    steps = feature_extraction.text.TfidfVectorizer(), linear_model.LogisticRegression()
    return pipeline.make_pipeline(*steps).fit(_TEXTS, [0, 1] * 12)


def _search() -> Any:
    grid = {"max_depth": [1, 2], "criterion": ["gini", "entropy"]}
    chosen = tree.DecisionTreeClassifier(random_state=np.random.RandomState(3))
    return model_selection.GridSearchCV(chosen, grid, scoring="f1", cv=2).fit(_ROWS, _LABELS)


def _voting() -> Any:
    parts = [("a", _logistic()), ("b", tree.DecisionTreeClassifier(max_depth=2))]
    return ensemble.VotingClassifier(parts, voting="soft").fit(_ROWS, _LABELS)


def _calibrated() -> Any:
    return calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2).fit(_ROWS, _LABELS)


def _fit(estimator: Any) -> Callable[[], Any]:
    return lambda: estimator.fit(_ROWS, _LABELS)


def _selected() -> Any:
    steps = (
        impute.SimpleImputer(),
        feature_selection.SelectKBest(feature_selection.f_classif, k=2),
        decomposition.PCA(2),
        linear_model.LogisticRegression(),
    )
    return pipeline.make_pipeline(*steps).fit(_ROWS, _LABELS)


def _of(title: str, holds: str, write: Callable[[Path], None], form: str, **more: Any) -> Benign:
    suffix = more.pop("suffix", ".joblib" if form.endswith("joblib") else ".pkl")
    group = more.pop("group", PICKLES)

    def make(folder: Path) -> Path:
        path = folder / f"{title}{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(path)
        return path

    return Benign(title, group, holds, make, form, **more)


def pickles() -> tuple[Benign, ...]:
    """Pickles of every protocol and packing."""
    found = [
        _of(f"protocol-{number}", f"a logistic regression, protocol {number}",
            _pickled(_logistic, number), "sklearn-pickle")
        for number in range(pickle.HIGHEST_PROTOCOL + 1)
    ]  # fmt: skip
    found += [
        _of(f"joblib-{title}", f"a random forest, {title}",
            _joblib(_fit(ensemble.RandomForestClassifier(8, max_depth=3)), compress),
            "sklearn-joblib")
        for title, compress in (
            ("plain", 0), ("zlib", 3), ("gzip", ("gzip", 3)), ("bz2", ("bz2", 3)),
            ("xz", ("xz", 3)), ("lzma", ("lzma", 3)),
        )
    ]  # fmt: skip
    forest = ensemble.HistGradientBoostingClassifier(max_iter=5)
    found += [
        _of("gzip-pickle", "a plain pickle in gzip",
            lambda path: path.write_bytes(gzip.compress(pickle.dumps(_logistic()))),
            "sklearn-joblib"),
        _of("no-suffix", "a pickle without a suffix", _pickled(_logistic), "sklearn-pickle",
            suffix=""),
        _of("space and ünicode", "a name with a space", _pickled(_logistic), "sklearn-pickle"),
        _of("by-cloudpickle", "an estimator written by cloudpickle",
            _by("cloudpickle", _logistic), "sklearn-pickle", needs="cloudpickle"),
        _of("words-of-gadgets", "texts that name os.system and eval", _pickled(_words),
            "sklearn-pickle"),
        _of("columns-of-gadgets", "columns named os.system and __import__", _pickled(_columns),
            "sklearn-pickle"),
        _of("frame", "columns of a data frame", _joblib(_frame_columns), "sklearn-joblib"),
        _of("search", "a parameter search that keeps its generator and its table",
            _pickled(_search), "sklearn-pickle"),
        _of("voting", "a vote", _pickled(_voting), "sklearn-pickle"),
        _of("calibrated", "a calibrated classifier", _pickled(_calibrated), "sklearn-pickle"),
        _of("selected", "a pipeline with a score function", _pickled(_selected),
            "sklearn-pickle"),
        _of("histograms", "gradient boosting with a compiled loss", _joblib(_fit(forest)),
            "sklearn-joblib"),
        _of("neighbours", "a tree of neighbours",
            _joblib(_fit(neighbors.KNeighborsClassifier(algorithm="kd_tree"))),
            "sklearn-joblib"),
        _of("perceptron", "a neural network that keeps its generator",
            _pickled(_fit(neural_network.MLPClassifier((4,), max_iter=20))), "sklearn-pickle"),
        _of("bayes", "naive Bayes", _pickled(_fit(naive_bayes.GaussianNB())), "sklearn-pickle"),
        _of("clusters", "a clustering", _pickled(_fit(cluster.KMeans(3, n_init=1))),
            "sklearn-pickle"),
        _of("ridge", "a ridge regression", _pickled(_fit(linear_model.Ridge())),
            "sklearn-pickle"),
        _of("xgboost-pickle", "an XGBoost classifier", _pickled(_xgboost), "xgboost-pickle",
            needs="xgboost"),
        _of("lightgbm-joblib", "a LightGBM classifier", _joblib(_lightgbm, 3),
            "lightgbm-joblib", needs="lightgbm"),
    ]  # fmt: skip
    return tuple(found)


def _xgboost() -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=4, max_depth=2).fit(_ROWS, _LABELS)


def _lightgbm() -> Any:
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(_ROWS, _LABELS)


def _skops(path: Path) -> None:
    import skops.io

    skops.io.dump(_columns(), path)


def _onnx(path: Path, *, outside: bool = False) -> None:
    import onnx
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 512], list(range(1536)))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 512])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if outside:
        path.mkdir()
        onnx.save(model, path / "model.onnx", save_as_external_data=True, location="weights.bin")
    else:
        onnx.save(model, path)


def data() -> tuple[Benign, ...]:
    """Formats that hold data only, and skops."""

    def booster(path: Path) -> None:
        _xgboost().save_model(path)

    def text(path: Path) -> None:
        _lightgbm().booster_.save_model(path)

    return (
        _of("skops", "a pipeline in a skops archive", _skops, "sklearn-skops", suffix=".skops",
            group=SAFE),
        _of("onnx", "an ONNX model", _onnx, "onnx", suffix=".onnx", group=SAFE),
        _of("onnx-folder", "an ONNX model with weights beside it",
            lambda path: _onnx(path, outside=True), "onnx", suffix="", group=SAFE),
        _of("xgboost-json", "an XGBoost model in JSON", booster, "xgboost-json", suffix=".json",
            group=SAFE, needs="xgboost"),
        _of("xgboost-ubj", "the same in UBJSON", booster, "xgboost-ubj", suffix=".ubj",
            group=SAFE, needs="xgboost"),
        _of("lightgbm-text", "a LightGBM model", text, "lightgbm-txt", suffix=".txt", group=SAFE,
            needs="lightgbm"),
    )  # fmt: skip


def _module() -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))


def _built(write: Callable[[Any, Path], None]) -> Callable[[Path], None]:
    """A file beside the factory that `ImportOptions.factory` names."""

    def make(path: Path) -> None:
        (path.parent / "factory.py").write_text(
            "import torch\n\n\ndef build():\n    return torch.nn.Sequential("
            "torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))\n"
        )
        write(_module(), path)

    return make


def torches() -> tuple[Benign, ...]:
    """PyTorch's files."""
    import torch
    from safetensors.torch import save_file

    weights = ImportOptions(inputs=_INPUT, factory="factory.py:build")

    def exported(path: Path) -> None:
        rows = torch.export.Dim("rows")
        program = torch.export.export(_module(), (torch.zeros(2, 3),), dynamic_shapes=({0: rows},))
        torch.export.save(program, path)

    return (
        _of("torch-weights", "a state dict", _built(lambda m, p: torch.save(m.state_dict(), p)),
            "torch-state-dict", suffix=".pt", group=TORCH, options=weights, needs="torch"),
        _of("torch-legacy", "a state dict in the old format",
            _built(lambda m, p: torch.save(m.state_dict(), p,
                                           _use_new_zipfile_serialization=False)),
            "torch-legacy", suffix=".pth", group=TORCH, options=weights, needs="torch"),
        _of("safetensors", "the same in safetensors",
            _built(lambda m, p: save_file(m.state_dict(), p)), "safetensors",
            suffix=".safetensors", group=TORCH, options=weights, needs="torch"),
        _of("torch-script", "TorchScript",
            lambda path: torch.jit.script(_module()).save(str(path)), "torch-script",
            suffix=".pt", group=TORCH, options=ImportOptions(inputs=_INPUT), needs="torch"),
        _of("torch-export", "an exported program", exported, "torch-export", suffix=".pt2",
            group=TORCH, needs="torch"),
    )  # fmt: skip
