"""The source model as a function from input tensors to output tensors."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.feature_selection import SelectorMixin

from modelworks.core.tensor import Datatype, Layout, Role, Tensors
from modelworks.ext.importers.sklearn.columns import MATRIX, Columns

Method = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing that an estimator says of rows.

    Attributes:
        name: for the signature.
        role: what it means.
        call: table -> array, rows first.
    """

    name: str
    role: Role
    call: Method


class Source:
    """A fitted estimator and the table that it takes.

    Args:
        estimator: fitted.
        columns: what it takes.

    Attributes:
        narrow: it takes float32 only. Some compiled estimators refuse any precision but that of
            the data they were fitted on.
    """

    def __init__(self, estimator: Any, columns: Columns) -> None:
        self.estimator = estimator
        self.narrow = False
        self._columns = columns

    def table(self, inputs: Tensors) -> Any:
        """Input tensors as what the estimator was fitted on: list, matrix or data frame."""
        columns = self._columns.columns
        if self._columns.layout is Layout.MATRIX:
            matrix = inputs[MATRIX]
            if columns[0].datatype is Datatype.BYTES:
                matrix = _texts(matrix)
            elif self.narrow:
                matrix = matrix.astype(np.float32)
            if not self._columns.named:
                return matrix
            return pd.DataFrame(matrix, columns=[c.name for c in columns])
        parts = {}
        rows = max(len(array) for array in inputs.values())
        for column in columns:
            given = inputs.get(column.name)  # what the pipeline drops is not asked for
            values = np.zeros(rows) if given is None else np.asarray(given)[:, 0]
            text = column.datatype is Datatype.BYTES and given is not None
            parts[column.name] = _texts(values) if text else values
        if self._columns.text:
            return list(parts[columns[0].name])
        if self._columns.named:
            return pd.DataFrame({k: pd.Series(v, dtype=v.dtype) for k, v in parts.items()})
        if len({values.dtype for values in parts.values()}) == 1:
            return np.stack(list(parts.values()), axis=1)
        table = np.empty((len(next(iter(parts.values()))), len(parts)), dtype=object)
        for i, values in enumerate(parts.values()):
            table[:, i] = values
        return table

    def ask(self, answers: dict[str, Method], inputs: Tensors) -> dict[str, Any]:
        """Output tensors by name."""
        table = self.table(inputs)
        with quiet():
            return {name: method(table) for name, method in answers.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings and without worker processes, which the sandbox would refuse."""
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        joblib.parallel_config(backend="threading", n_jobs=1),
    ):
        warnings.simplefilter("ignore")
        yield


def answers(estimator: Any) -> list[list[Answer]]:
    """What the estimator can say, in the order of skl2onnx's outputs; several candidates a place.

    Which candidate an output of the converter is, its shape and values decide: a converter calls
    `probabilities` what may be a decision function.
    """
    with quiet():
        if isinstance(estimator, SelectorMixin):  # which may call itself a classifier
            return [[_transform(estimator)]]
        scored = is_classifier(estimator) or is_outlier_detector(estimator)
        if scored or is_clusterer(estimator) or hasattr(estimator, "predict_proba"):
            return [[_label(estimator)], _scores(estimator)]
        if is_regressor(estimator) or not hasattr(estimator, "transform"):
            return _numbers(estimator)
        return [[_transform(estimator)]]


def _numbers(estimator: Any) -> list[list[Answer]]:
    if hasattr(estimator, "predict"):
        return [[_of("score", Role.SCORE, lambda x: column(estimator.predict(x)))]]
    if hasattr(estimator, "kneighbors"):
        return [
            [_of("neighbors", Role.TENSOR, lambda x: estimator.kneighbors(x)[1])],
            [_of("distances", Role.SCORE, lambda x: estimator.kneighbors(x)[0])],
        ]
    return []


def by_target(estimator: Any, targets: int) -> list[list[Answer]]:
    """Probabilities of each target of a classifier of several."""

    def one(place: int) -> Answer:
        return _of(
            f"probabilities_{place}",
            Role.PROBABILITIES if targets == 1 else Role.SCORE,
            lambda x: estimator.predict_proba(x)[place],
        )

    return [[one(place)] for place in range(targets)]


def _of(name: str, role: Role, call: Method) -> Answer:
    return Answer(name, role, lambda x: plain(call(x)))


def _label(estimator: Any) -> Answer:
    return _of("label", Role.LABEL, estimator.predict)


def _transform(estimator: Any) -> Answer:
    return _of("output", Role.TENSOR, lambda x: column(plain(estimator.transform(x))))


def _scores(estimator: Any) -> list[Answer]:
    found = []
    if hasattr(estimator, "predict_proba"):
        found.append(_of("probabilities", Role.PROBABILITIES, estimator.predict_proba))
    if hasattr(estimator, "decision_function"):
        decide = estimator.decision_function
        found += [
            _of("score", Role.SCORE, decide),
            _of("score", Role.SCORE, lambda x: column(decide(x))),
            _of("score", Role.SCORE, lambda x: _both(decide(x))),
        ]
    if hasattr(estimator, "score_samples") and not hasattr(estimator, "predict_proba"):
        found.append(_of("score", Role.SCORE, lambda x: column(estimator.score_samples(x))))
    if hasattr(estimator, "transform"):
        found.append(_of("distances", Role.SCORE, estimator.transform))
    return found


def _both(values: Any) -> Any:
    """A binary decision function as one score a class."""
    return np.stack([-values, values], axis=1) if np.ndim(values) == 1 else values


def column(values: Any) -> Any:
    """One number a row as a matrix of one column."""
    return values[:, None] if np.ndim(values) == 1 else values


def plain(values: Any) -> Any:
    """Arrays only: sparse matrices, frames and lists of arrays (one a target) become dense."""
    if hasattr(values, "toarray"):
        return values.toarray()
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, list) and values and np.ndim(values[0]) == 2:
        if len({v.shape for v in values}) == 1:
            return np.stack(values, axis=1)
        return np.concatenate(values, axis=1)
    array = np.asarray(values)
    if array.dtype.kind in "OUS":
        return _encoded(array)
    return array


def _texts(array: Any) -> Any:
    flat = np.empty(array.size, dtype=object)
    flat[:] = [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()]
    return flat.reshape(array.shape)


def _encoded(array: Any) -> Any:
    """Texts as the bytes of a BYTES tensor; numbers in an object array as numbers."""
    items = array.ravel().tolist()
    if items and all(isinstance(v, int | float | bool) for v in items):
        return array.astype(np.float64)
    flat = np.empty(array.size, dtype=object)
    flat[:] = [v if isinstance(v, bytes) else str(v).encode() for v in items]
    return flat.reshape(array.shape)
