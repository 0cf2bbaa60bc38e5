"""A window as sketches: what is kept of an hour, and adds up to days and weeks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelworks.core.errors import CorruptError, InvalidError
from modelworks.monitor.drift import cells as cell
from modelworks.monitor.drift.cells import Form
from modelworks.monitor.drift.reference import Feature, Reference
from modelworks.stats import sketches
from modelworks.stats.sketches import Sketch


@dataclass(frozen=True, slots=True)
class Window:
    """Sketches of one span of time, or of so many rows.

    Attributes:
        rows: of it.
        sketches: by feature; those whose column was not there are missing.
    """

    rows: int
    sketches: Mapping[str, Sketch]

    def merged(self, other: "Window") -> "Window":
        """Both together."""
        found = dict(self.sketches)
        for name, sketch in other.sketches.items():
            found[name] = sketches.merge(found[name], sketch) if name in found else sketch
        return Window(self.rows + other.rows, found)

    def to_bytes(self) -> dict[str, bytes]:
        """By feature, some twenty to sixty bytes each."""
        return {name: sketches.encode(sketch) for name, sketch in self.sketches.items()}


EMPTY = Window(0, {})


def sketch(reference: Reference, columns: Mapping[str, Any]) -> Window:
    """The window of some data.

    Args:
        reference: whose cells are counted.
        columns: name -> values, rows in the first axis; others than the reference's are ignored.

    Raises:
        InvalidError: columns of different lengths.
    """
    rows = rows_of(columns)
    plain = reference.plain(columns).columns
    found = {}
    for feature in reference.features:
        if feature.name in plain:
            found[feature.name] = of_column(feature, plain[feature.name])[0]
    return Window(rows, found)


def of_column(feature: Feature, column: Any) -> tuple[Sketch, Any]:
    """(sketch of a column, its sorted finite numbers or None)."""
    if feature.cells.form is Form.CATEGORY:
        counts, missing, wrong = cell.count_categories(column)
        return cell.sketch_categories(feature.cells, counts, missing, wrong), None
    numbers, missing, wrong = cell.numbers_of(column)
    numbers = np.sort(numbers)
    moved = (feature.centre, feature.scale)
    found = cell.sketch_numbers(feature.cells, numbers, missing, wrong, moved)
    if len(numbers) and not (np.isfinite(numbers[0]) and np.isfinite(numbers[-1])):
        numbers = numbers[np.isfinite(numbers)]
    return found, numbers


def from_bytes(reference: Reference, data: Mapping[str, bytes], rows: int = 0) -> Window:
    """Read what `Window.to_bytes` gave.

    Args:
        reference: that it was counted against.
        data: by feature; what the reference does not have is ignored.
        rows: of it; 0 = as many as the first feature counted.

    Raises:
        CorruptError: no sketch, or one of other cells.
    """
    found = {}
    for feature in reference.features:
        if feature.name in data:
            one, end = sketches.decode(data[feature.name])
            if end != len(data[feature.name]) or len(one.counts) != len(feature.counts):
                raise CorruptError(
                    f"the sketch of '{feature.name}' was counted against another reference"
                )
            found[feature.name] = one
    counted = next((sum(one.counts) for one in found.values()), 0)
    return Window(rows or counted, found)


def merged(windows: Iterable[Window]) -> Window:
    """All of them together."""
    whole = EMPTY
    for window in windows:
        whole = whole.merged(window)
    return whole


def rows_of(columns: Mapping[str, Any]) -> int:
    """The number of rows.

    Raises:
        InvalidError: columns of different lengths, or none.
    """
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1:
        raise InvalidError("columns of one length are wanted", field="current")
    return counts.pop()
