"""Walks from a fitted estimator to the parts that see the raw columns."""

from collections.abc import Iterator
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import FeatureUnion, Pipeline

Indices = tuple[int, ...]
_WRAPPERS = (
    "best_estimator_",
    "estimators_",
    "estimator_",
    "regressor_",
    "calibrated_classifiers_",
    "estimator",
)
_DEPTH = 12
_MANY = 64


def first_seen(estimator: Any, columns: Indices, depth: int = 0) -> Iterator[tuple[Any, Indices]]:
    """(part, columns) for every part that is given raw columns, outermost first.

    Args:
        estimator: fitted.
        columns: numbers of the raw columns that it gets.
        depth: of the recursion, which is bounded.
    """
    if depth > _DEPTH or isinstance(estimator, str | None):
        return
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from first_seen(step, columns, depth + 1)
            if not keeps_columns(step):
                return
    elif isinstance(estimator, FeatureUnion):
        for _, part in estimator.transformer_list:
            yield from first_seen(part, columns, depth + 1)
    elif isinstance(estimator, ColumnTransformer):
        for name, part, _ in estimator.transformers_:
            taken = chosen(estimator, name)
            if all(i < len(columns) for i in taken):
                yield from first_seen(part, tuple(columns[i] for i in taken), depth + 1)
    else:
        yield estimator, columns
        yield from _wrapped(estimator, columns, depth)


def _wrapped(estimator: Any, columns: Indices, depth: int) -> Iterator[tuple[Any, Indices]]:
    """The same for what a meta-estimator holds, where that sees the same columns."""
    width = len(columns)
    if getattr(estimator, "n_features_in_", width) == width:
        for part in _inner(estimator):
            if getattr(part, "n_features_in_", None) == width:
                yield from first_seen(part, columns, depth + 1)


def every(estimator: Any, depth: int = 0) -> Iterator[Any]:
    """Every fitted part, the estimator itself first."""
    if depth > _DEPTH or not isinstance(estimator, BaseEstimator):
        return
    yield estimator
    parts: list[Any] = list(_inner(estimator))
    if isinstance(estimator, Pipeline):
        parts += [step for _, step in estimator.steps]
    elif isinstance(estimator, FeatureUnion):
        parts += [part for _, part in estimator.transformer_list]
    elif isinstance(estimator, ColumnTransformer):
        parts += [part for _, part, _ in estimator.transformers_]
    for part in parts:
        yield from every(part, depth + 1)


def chosen(transformer: ColumnTransformer, name: str) -> Indices:
    """The column numbers that a part of a column transformer gets."""
    known = getattr(transformer, "_transformer_to_input_indices", {})
    return tuple(int(i) for i in known.get(name, ()))


def is_text(estimator: Any) -> bool:
    """Whether it takes a list of texts instead of a table."""
    return isinstance(estimator, CountVectorizer | HashingVectorizer)


def unwrapped(estimator: Any) -> Any:
    """The estimator that answers: a search's best one, a frozen one's own.

    The search itself is only a way to find it.
    """
    for _ in range(_DEPTH):
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif type(estimator).__name__ == "FrozenEstimator":
            estimator = estimator.estimator
        else:
            break
    return estimator


def final(estimator: Any) -> Any:
    """The last step."""
    for _ in range(_DEPTH):
        estimator = unwrapped(estimator)
        if not isinstance(estimator, Pipeline):
            break
        estimator = estimator.steps[-1][1]
    return estimator


def keeps_columns(step: Any) -> bool:
    """Whether a step's output columns are its input columns, so that the next one sees them too."""
    if isinstance(step, str | None):
        return True
    name = type(step).__name__
    return (name == "SimpleImputer" and not getattr(step, "add_indicator", False)) or (
        name == "FunctionTransformer" and getattr(step, "func", None) is None
    )


def members(estimator: Any, attribute: str = "estimators_") -> list[Any]:
    """What an attribute holds, as a flat list: (name, estimator) pairs without their names."""
    value: Any = getattr(estimator, attribute, None)
    if isinstance(value, BaseEstimator):
        return [value]
    if hasattr(value, "ravel"):
        value = value.ravel().tolist()
    if not isinstance(value, list | tuple):
        return []
    return [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in value]


def _inner(estimator: Any) -> Iterator[Any]:
    for attribute in _WRAPPERS:
        for item in members(estimator, attribute)[:_MANY]:
            part = item if isinstance(item, BaseEstimator) else getattr(item, "estimator", None)
            if isinstance(part, BaseEstimator):
                yield part
