"""Columns as they come: checked, and as numbers, probabilities, classes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.intervals import Floats


def name_of(value: Any) -> str:
    """A class as text: 1, 1.0 and "1" are one."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def classes_of(*columns: Any) -> list[Any]:
    """What occurs in columns of classes, sorted: numbers by size, texts by letters."""
    seen: dict[str, Any] = {}
    for column in columns:
        for value in dict.fromkeys(np.asarray(column).tolist()):
            seen.setdefault(name_of(value), value)
    try:
        return sorted(seen.values())
    except TypeError:
        return [seen[name] for name in sorted(seen)]


def known(values: Any, field: str) -> Any:
    """A column without gaps.

    Raises:
        InvalidError: a value is missing, or there are no rows.
    """
    found = np.asarray(values)
    if not len(found):
        raise InvalidError(f"{field}: no rows", field=field)
    gaps = [i for i, v in enumerate(found.tolist()) if v is None or (_is_nan(v))]
    if gaps:
        raise InvalidError(
            f"{field}: row {gaps[0]} (and {len(gaps) - 1} more) has no value", field=field
        )
    return found


def indices(values: Any, names: Sequence[str], field: str) -> Any:
    """Class names as indices.

    Raises:
        InvalidError: a class that is not known.
    """
    places = {name: place for place, name in enumerate(names)}
    try:
        return np.array([places[name_of(v)] for v in np.asarray(values).tolist()], np.int64)
    except KeyError as error:
        listed = ", ".join(names[:10])
        raise InvalidError(f"{field}: {error} is no class (they are {listed})") from None


def numbers(values: Any, field: str) -> Floats:
    """A column of finite numbers.

    Raises:
        InvalidError: it is not.
    """
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InvalidError(f"{field}: numbers are wanted", field=field) from None
    if found.ndim != 1 or not np.isfinite(found).all():
        raise InvalidError(f"{field}: one finite number a row is wanted", field=field)
    return found


def probabilities(values: Any, rows: int, width: int = 0) -> Floats:
    """Scores from 0 to 1: [rows], or [rows, width].

    Raises:
        InvalidError: they are not.
    """
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InvalidError("score: numbers are wanted", field="score") from None
    shape = (rows, width) if width else (rows,)
    if found.shape != shape:
        raise InvalidError(
            f"score: {list(found.shape)} where {list(shape)} is wanted", field="score"
        )
    if not ((found >= -1e-9) & (found <= 1 + 1e-9)).all():  # NaN is in no bounds
        raise InvalidError("score: probabilities from 0 to 1 are wanted", field="score")
    return np.clip(found, 0.0, 1.0)


def mass(weights: Any, rows: int) -> Floats:
    """Weights, 1 each where there are none.

    Raises:
        InvalidError: below 0, or not finite.
    """
    if weights is None:
        return np.ones(rows)
    found = numbers(weights, "weight")
    if (found < 0).any():
        raise InvalidError("weight: below 0", field="weight")
    return found


def flags(values: Any, field: str) -> Any:
    """0 and 1 in [rows, labels].

    Raises:
        InvalidError: they are not.
    """
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InvalidError(f"{field}: 0 and 1 are wanted", field=field) from None
    if found.ndim != 2 or not np.isin(found, (0, 1)).all():
        raise InvalidError(f"{field}: 0 and 1 in [rows, labels] are wanted", field=field)
    return found.astype(np.int64)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
