"""Which feedback counts for which line: pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Told:
    """One line of feedback.

    Attributes:
        id: of it.
        at_ns: when it became known.
        received_ns: when it came.
        prediction: id of the request, or "".
        key: business key, or "".
        item: of the request.
        truth: or None.
        outcomes: by name.
    """

    id: str
    at_ns: int
    received_ns: int
    prediction: str
    key: str
    item: int
    truth: Any
    outcomes: Mapping[str, Any]


def columns_of(
    told: Iterable[Told], columns: Mapping[str, Any], count: int, window_ns: int
) -> dict[str, Any]:
    """`truth`, `truth_at_ns` and `outcome.NAME` for lines of records.

    What comes again under an id counts once, as it came first. Of the rest the last by time wins,
    for the truth and for each outcome. A key reaches the predictions that were made at most
    `window_ns` before the feedback's time; an id reaches its prediction at any time.

    Args:
        told: the feedback, in any order.
        columns: `id`, `key`, `item`, `at_ns` of the lines.
        count: of lines.
        window_ns: for keys.
    """
    by_id, by_key = _lines(columns["id"], columns["item"]), _lines(columns["key"], columns["item"])
    times = columns["at_ns"]
    found: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    found["truth"], found["truth_at_ns"] = {}, {}
    for one in sorted(_once(told), key=lambda told: (told.at_ns, told.received_ns)):
        lines = by_id.get((one.prediction, one.item), ()) if one.prediction else ()
        if one.key and not one.prediction:
            near = by_key.get((one.key, one.item), ())
            lines = [line for line in near if 0 <= one.at_ns - int(times[line]) <= window_ns]
        for line in lines:
            if one.truth is not None:
                found["truth"][line] = one.truth
                found["truth_at_ns"][line] = one.at_ns
            for name, value in one.outcomes.items():
                found[f"outcome.{name}"][line] = float(value)
    made = {name: _column(values, count) for name, values in found.items()}
    made["truth_at_ns"] = np.zeros(count, np.int64)
    for line, at_ns in found["truth_at_ns"].items():
        made["truth_at_ns"][line] = at_ns
    return made


def _once(told: Iterable[Told]) -> Iterable[Told]:
    """Each id once, as it came first."""
    first: dict[str, Told] = {}
    for one in sorted(told, key=lambda told: told.received_ns):
        first.setdefault(one.id, one)
    return first.values()


def _lines(names: Sequence[str], items: Sequence[int]) -> Mapping[tuple[str, int], list[int]]:
    made: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for line, (name, item) in enumerate(zip(names, items, strict=True)):
        if name:
            made[name, int(item)].append(line)
    return dict(made)


def _column(values: Mapping[int, Any], count: int) -> Any:
    """Numbers as float64 with NaN where there is none, all else as objects with None."""
    kinds = {type(value) for value in values.values()}
    if values and kinds <= {int, float}:
        column: Any = np.full(count, np.nan)
    else:
        column = np.full(count, None, dtype=object)
    for line, value in values.items():
        column[line] = value
    return column
