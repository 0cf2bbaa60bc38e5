"""Into which cell a value falls: quantiles and categories of the reference, and what is neither."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.stats.sketches import Sketch, moments, smallest

Array = NDArray[np.float64]
BINS: Final = 10
MOST_DISTINCT: Final = 20
MOST_CATEGORIES: Final = 1000
_SHOWN: Final = 31
OTHERS: Final = "(others)"


class Form(StrEnum):
    """What a feature's values are."""

    NUMBER = "number"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one feature, in the order of a sketch's counts.

    Numbers: the bins, `below`, `above`, `missing`, `wrong`. Categories: the names, `(others)` where
    the reference has more than are shown, `new`, `missing`, `wrong`.

    Attributes:
        form: of the values.
        edges: of the bins: the least value, what divides the bins, the largest value.
        names: of the categories that have a cell each.
        others: of those that share one.
        discrete: numbers of so few distinct values that each has a bin.
    """

    form: Form
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    discrete: bool = False

    @property
    def regular(self) -> int:
        """How many cells hold what the reference holds."""
        if self.form is Form.NUMBER:
            return len(self.edges) - 1
        return len(self.names) + bool(self.others)

    @property
    def present(self) -> int:
        """How many cells hold values: without `missing` and `wrong`."""
        return self.regular + (2 if self.form is Form.NUMBER else 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each cell is called."""
        if self.form is Form.NUMBER:
            pairs = zip(self.edges[:-1], self.edges[1:], strict=True)
            bins = tuple(f"{low:.4g} to {high:.4g}" for low, high in pairs)
            return (*bins, "below", "above", "missing", "wrong")
        others = (OTHERS,) if self.others else ()
        return (*self.names, *others, "new", "missing", "wrong")


def number_cells(values: Array, bins: int = BINS) -> Cells:
    """Cells of finite values: quantiles, or a bin a value where there are few.

    Raises:
        ValueError: no value.
    """
    distinct = np.unique(values)
    low, high = float(distinct[0]), float(distinct[-1])
    few = len(distinct) <= MOST_DISTINCT
    if few:
        inner = (distinct[:-1] + distinct[1:]) / 2
    else:
        inner = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        inner = inner[(inner > low) & (inner <= high)]
    return Cells(Form.NUMBER, (low, *inner.tolist(), high), discrete=few)


def category_cells(counts: Mapping[str, int]) -> Cells:
    """Cells of categories: the most frequent have one each."""
    ordered = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_CATEGORIES]
    shown = ordered if len(ordered) <= _SHOWN + 1 else ordered[:_SHOWN]
    return Cells(Form.CATEGORY, names=tuple(shown), others=tuple(ordered[len(shown) :]))


def count_numbers(cells: Cells, values: Array, missing: int, wrong: int) -> list[int]:
    """Counts of sorted values; infinite ones are below or above all others."""
    edges = np.asarray(cells.edges)
    starts = np.searchsorted(values, edges[:-1], "left")
    end = int(np.searchsorted(values, edges[-1], "right"))
    bins = np.diff([*starts.tolist(), end]).tolist()
    return [*bins, int(starts[0]), len(values) - end, missing, wrong]


def places(cells: Cells, values: Array) -> NDArray[np.int64]:
    """The cell of each number, none of them missing."""
    found = np.searchsorted(np.asarray(cells.edges[1:-1]), values, "right").astype(np.int64)
    found[values < cells.edges[0]] = cells.regular
    found[values > cells.edges[-1]] = cells.regular + 1
    return found


def sketch_numbers(
    cells: Cells, values: Array, missing: int, wrong: int, moved: tuple[float, float]
) -> Sketch:
    """The sketch of sorted values.

    Args:
        cells: of the feature.
        values: sorted, without NaN.
        missing: how many were.
        wrong: how many were no number.
        moved: (centre, scale) of the reference.
    """
    counts = count_numbers(cells, values, missing, wrong)
    return Sketch(tuple(counts), *moments(values, *moved))


def sketch_categories(cells: Cells, counts: Mapping[str, int], missing: int, wrong: int) -> Sketch:
    """The sketch of categories that were counted."""
    left = dict(counts)
    found = [left.pop(name, 0) for name in cells.names]
    if cells.others:
        found.append(sum(left.pop(name, 0) for name in cells.others))
    return Sketch((*found, sum(left.values()), missing, wrong), named=smallest(left.items()))


def text_of(value: Any) -> str | None:
    """A value as the name of a category; None = it can be none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return None


def is_missing(value: Any) -> bool:
    """None or NaN."""
    return value is None or (isinstance(value, float | np.floating) and value != value)  # noqa: PLR0124 - NaN


def count_categories(column: Any) -> tuple[Counter[str], int, int]:
    """(counts by name, missing, wrong) of a column of any kind."""
    missing = wrong = 0
    found: Counter[str] = Counter()
    for value, count in _counted(column):
        if is_missing(value):
            missing += count
            continue
        name = text_of(value)
        if name is None:
            wrong += count
        else:
            found[name] += count
    return found, missing, wrong


def numbers_of(column: Any) -> tuple[Array, int, int]:
    """(numbers without NaN in their order, missing, wrong) of a column of any kind."""
    array = np.asarray(column)
    if array.dtype.kind in "biuf" and array.ndim == 1:
        values = array.astype(np.float64)
        gone = np.isnan(values)
        missing = int(gone.sum())
        return (values[~gone] if missing else values), missing, 0
    found, missing, wrong = [], 0, 0
    for value in column:
        number = number_of(value)
        if number is None:
            wrong += 1
        elif number != number:  # noqa: PLR0124 - NaN
            missing += 1
        else:
            found.append(number)
    return np.array(found, np.float64), missing, wrong


def number_of(value: Any) -> float | None:
    """A cell as a number: NaN = missing, None = it is none."""
    if is_missing(value):
        return float("nan")
    if not isinstance(value, str | int | float | np.number | np.bool_):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _counted(column: Any) -> Iterable[tuple[Any, int]]:
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        values, counts = np.unique(array, return_counts=True)
        return list(zip(values.tolist(), counts.tolist(), strict=True))
    try:
        return Counter(array.tolist()).items()
    except TypeError:  # lists and the like cannot be counted, and are no categories
        return [(value, 1) for value in column]
