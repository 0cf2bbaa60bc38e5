"""An XGBoost model as the library itself runs it; nothing is converted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from modelworks.core.errors import InvalidError
from modelworks.core.scans import Scan
from modelworks.core.tensor import Datatype
from modelworks.ext.importers import boosters
from modelworks.ext.importers.boosters import Boosted
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.xgboost import trees

_WRAPPERS = {
    "classifier": xgboost.XGBClassifier,
    "regressor": xgboost.XGBRegressor,
    "ranker": xgboost.XGBRanker,
}


def describe(model: Any, scan: Scan | None = None) -> Boosted:
    """A booster, or the wrapper around one."""
    wrapper = model if isinstance(model, xgboost.XGBModel) else None
    booster = model.get_booster() if wrapper is not None else model
    objective, count = _objective(booster)
    return Boosted(
        library="xgboost",
        width=int(booster.num_features()),
        names=tuple(booster.feature_names or ()),
        classes=_classes(wrapper, objective, count),
        real=Datatype.FP32,  # XGBoost itself rounds what it is given
        values=lambda rows: _values(wrapper, booster, objective, rows),
        scan=scan,
        versions={"xgboost": xgboost.__version__},
    )


def from_file(path: Path, suffix: str) -> Any:
    """The booster in a JSON or UBJSON file, or the wrapper that it was written by.

    The library chooses its parser by the name, so it is given bytes, which it looks into.

    Raises:
        InvalidError: damaged, or of a version that is not read.
    """
    booster = xgboost.Booster()
    data = path.read_bytes()
    if suffix == "json":
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidError(
                f"{path.name}: truncated or damaged JSON ({reason(error)})", field="file"
            ) from error
        trees.check(document)
    try:
        booster.load_model(bytearray(data))
        kind = json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type")
        wrapper = _WRAPPERS[kind]() if kind in _WRAPPERS else None
        if wrapper is not None:
            wrapper.load_model(bytearray(data))
    except (xgboost.core.XGBoostError, ValueError, TypeError, AttributeError) as error:
        raise InvalidError(
            f"{path.name}: XGBoost {xgboost.__version__} cannot read it ({first(error)})",
            field="file",
        ) from error
    return wrapper if wrapper is not None else booster


def first(error: Exception) -> str:
    """XGBoost's messages carry a stack trace; the cause is in the first lines."""
    text = str(error).split("Stack trace", 1)[0]
    return reason(type(error)(text.rpartition("] ")[2]) if text.strip() else error)


def _objective(booster: Any) -> tuple[str, int]:
    learner = json.loads(booster.save_config())["learner"]
    count = int(learner.get("learner_model_param", {}).get("num_class", "0"))
    return str(learner.get("learner_train_param", {}).get("objective", "")), count


def _classes(wrapper: Any, objective: str, count: int) -> tuple[Any, ...]:
    """Labels where the model gives probabilities."""
    if not (objective == "binary:logistic" or objective.startswith("multi:")):
        return ()
    return boosters.labels(wrapper, count)


def _values(wrapper: Any, booster: Any, objective: str, rows: Any) -> Any:
    """Probabilities or scores, by the road that a user of the library would take."""
    if wrapper is not None:
        if hasattr(wrapper, "predict_proba") and objective != "binary:logitraw":
            return wrapper.predict_proba(rows, validate_features=False)
        raw = objective == "binary:logitraw"  # it has no probabilities, and would be rounded
        return wrapper.predict(rows, output_margin=raw, validate_features=False)
    matrix = xgboost.DMatrix(rows, feature_types=booster.feature_types, enable_categorical=True)
    softmax = objective == "multi:softmax"  # it would give labels only
    values = booster.predict(matrix, output_margin=softmax, validate_features=False)
    if softmax:
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    return values
