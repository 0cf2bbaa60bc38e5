"""A LightGBM model as the library itself runs it; nothing is converted."""

import warnings
from typing import Any

import lightgbm

from modelworks.core.scans import Scan
from modelworks.core.tensor import Datatype
from modelworks.ext.importers import boosters
from modelworks.ext.importers.boosters import Boosted

_PROBABLE = ("binary", "multiclass", "multiclassova")


def describe(model: Any, scan: Scan | None = None) -> Boosted:
    """A booster, or the wrapper around one."""
    wrapper = model if isinstance(model, lightgbm.LGBMModel) else None
    booster = model.booster_ if wrapper is not None else model
    head = booster.model_to_string().partition("\nTree=")[0]
    said = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    objective = said.get("objective", "").partition(" ")[0]
    names = tuple(booster.feature_name())
    own = names != tuple(f"Column_{i}" for i in range(len(names)))
    return Boosted(
        library="lightgbm",
        width=int(booster.num_feature()),
        names=names if own else (),
        classes=_classes(wrapper, objective, int(said.get("num_class", "1"))),
        real=Datatype.FP64,
        values=lambda rows: _values(wrapper or booster, rows),
        scan=scan,
        versions={"lightgbm": lightgbm.__version__},
    )


def _classes(wrapper: Any, objective: str, count: int) -> tuple[Any, ...]:
    """Labels where the model gives probabilities."""
    if objective not in _PROBABLE:
        return ()
    return boosters.labels(wrapper, count)


def _values(model: Any, rows: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no feature names": they are given by position
        probable = getattr(model, "predict_proba", None)
        return probable(rows) if probable is not None else model.predict(rows)
