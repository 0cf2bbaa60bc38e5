"""Rows that belong together: by the value of a column, or of two columns at once."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation.columns import name_of

FEWEST: Final = 30
"""A slice of fewer rows is named and not measured."""
MOST_VALUES: Final = 10
"""A numeric column with more values is cut at its quartiles."""
MOST_SLICES: Final = 500
CROSS: Final = "*"


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Some of the rows.

    Attributes:
        keys: (column, value) that all of them have.
        rows: indices.
    """

    keys: tuple[tuple[str, str], ...]
    rows: Any

    @property
    def name(self) -> str:
        """`region=eu`, `region=eu, sex=f`."""
        return ", ".join(f"{column}={value}" for column, value in self.keys)


def cut(columns: Mapping[str, Any], by: Sequence[str]) -> list[Slice]:
    """Every slice, the largest first of each `by`.

    Args:
        columns: by name.
        by: a column each, or two joined by `*`.

    Raises:
        InvalidError: a column that is not there, more than two joined, too many slices.
    """
    found: list[Slice] = []
    for given in dict.fromkeys(by):
        names = [name.strip() for name in given.split(CROSS)]
        if len(names) > 2 or len(set(names)) != len(names):
            raise InvalidError(f"slice: '{given}': one column, or two different", field="slice")
        labelled = [_labels(columns, name) for name in names]
        joined, place = np.unique(np.stack(labelled, axis=1), axis=0, return_inverse=True)
        order = np.argsort(place.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(place.ravel(), minlength=len(joined)))
        if len(found) + len(joined) > MOST_SLICES:
            raise InvalidError(
                f"slice: '{given}' makes more than {MOST_SLICES} slices: choose columns of "
                "fewer values",
                field="slice",
            )
        parts = [
            Slice(tuple(zip(names, map(str, values), strict=True)), rows)
            for values, rows in zip(joined, np.split(order, ends[:-1]), strict=True)
        ]
        found += sorted(parts, key=lambda part: -len(part.rows))
    return found


def _labels(columns: Mapping[str, Any], name: str) -> Any:
    """A text a row."""
    if name not in columns:
        has = ", ".join(list(columns)[:10])
        raise InvalidError(f"slice: no column '{name}' (there are {has})", field="slice")
    column = np.asarray(columns[name])
    if column.ndim != 1:
        raise InvalidError(f"slice: '{name}' has lists, no values", field="slice")
    if column.dtype.kind in "fiu" and len(np.unique(column[~_gaps(column)])) > MOST_VALUES:
        return _quartiles(column)
    return np.array([_text(value) for value in column.tolist()])


def _quartiles(column: Any) -> Any:
    gaps = _gaps(column)
    edges = np.unique(np.quantile(column[~gaps], [0.25, 0.5, 0.75]))
    ends = [f"{edge:.4g}" for edge in edges]
    names = [f"<= {ends[0]}"]
    names += [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
    names += [f"> {ends[-1]}"]
    found = np.array([*names, "missing"])
    place = np.searchsorted(edges, column, side="left")
    place[gaps] = len(names)
    return found[place]


def _gaps(column: Any) -> Any:
    return np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "missing"
    return name_of(value)
