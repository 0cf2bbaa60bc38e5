"""Which features of a model moved, the costliest first: what a person looks at after an alarm."""

from dataclasses import dataclass
from typing import Any, Final

from modelworks.control.watching.board import DISTANCE, HOURLY_S
from modelworks.control.watching.spans import last
from modelworks.core.series import SeriesSource

MOST: Final = 50
_SHARES: Final = ("missing", "out_of_range", "new_category", "wrong_type")
_SMALLEST: Final = 1e-9
"""An estimated loss below it is none."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One feature of a version, in the last window that was looked at.

    Attributes:
        version: of the model.
        feature: its name; `out.NAME` = of the predictions.
        until: end of the window, seconds since 1970, UTC.
        distance: from the reference (Jensen-Shannon, 0 to 1).
        loss: of quality that the shift is estimated to cost; None = it cannot be told.
        evidence: over hours to months: 0 and more is an alarm; None = not gathered yet.
        wrong: kind of what is wrong with its values -> share of them, where there is any.
    """

    version: str
    feature: str
    until: float
    distance: float
    loss: float | None = None
    evidence: float | None = None
    wrong: tuple[tuple[str, float], ...] = ()


def ranking(source: SeriesSource, model: str, since: float, until: float) -> tuple[Moved, ...]:
    """What moved, by estimated loss, then by distance; at most `MOST` features.

    Args:
        source: of the series.
        model: its name.
        since: seconds since 1970.
        until: the same.
    """
    back = min(since, until - HOURLY_S)
    own = {"model": model}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in source.select("drift", {**own, "method": DISTANCE}, back, until):
        value = last(one)
        if value is not None:
            key = one.labels.get("version", ""), one.labels.get("feature", "")
            rows[key] = {"distance": value, "until": one.times[-1], "wrong": ()}
    more = [("loss", "drift_loss", own), ("evidence", "drift", {**own, "method": "evidence"})]
    for name, of, wanted in more:
        for one in source.select(of, wanted, back, until):
            row = rows.get((one.labels.get("version", ""), one.labels.get("feature", "")))
            if row is not None:
                row[name] = last(one)
    for share in _SHARES:
        for one in source.select(share, own, back, until):
            row = rows.get((one.labels.get("version", ""), one.labels.get("feature", "")))
            value = last(one)
            if row is not None and value:
                row["wrong"] += ((share, value),)
    found = [Moved(*key, **row) for key, row in rows.items()]
    return tuple(sorted(found, key=_order)[:MOST])


def _order(one: Moved) -> tuple[float, float, str, str]:
    cost = one.loss if one.loss is not None and one.loss > _SMALLEST else 0.0
    return -cost, -one.distance, one.feature, one.version
