"""Series over spans of time: what one answer does not hold, the last value, lengths as texts."""

import math
from collections.abc import Mapping
from itertools import pairwise

from modelworks.core.errors import InvalidError
from modelworks.core.series import Series, SeriesSource


def whole(
    source: SeriesSource,
    name: str,
    wanted: Mapping[str, str],
    since: float,
    until: float,
    halvings: int = 3,
) -> list[Series]:
    """Series over a time of which one answer may hold only a part.

    Raises:
        InvalidError: an eighth of it is more than one answer holds.
    """
    try:
        return list(source.select(name, wanted, since, until))
    except InvalidError:
        if not halvings:
            raise
    middle = (since + until) / 2
    found: dict[tuple[tuple[str, str], ...], Series] = {}
    for begin, end in ((since, middle), (middle, until)):
        for one in whole(source, name, wanted, begin, end, halvings - 1):
            key = tuple(sorted(one.labels.items()))
            old = found.get(key, Series(name, one.labels))
            times, values = (*old.times, *one.times), (*old.values, *one.values)
            found[key] = Series(name, one.labels, times, values)
    return list(found.values())


def seconds_of(text: str) -> float:
    """`90s`, `30m`, `6h`, `7d`, `2w` as seconds.

    Raises:
        InvalidError: no such length, or none that is kept.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * units[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 60 <= seconds <= 3650 * 86_400:
        raise InvalidError(
            f"'{text[:20]}' is no length of time: 30m, 6h, 7d (from a minute to ten years)",
            field="since",
        )
    return seconds


def known(one: Series) -> list[float]:
    """The values that there are."""
    return [value for value in one.values if not math.isnan(value)]


def last(one: Series) -> float | None:
    """The last value that there is; None = there is none."""
    values = known(one)
    return values[-1] if values else None


def width(one: Series) -> float:
    """Length of the windows of a series: the shortest step, or a minute."""
    return min((later - time for time, later in pairwise(one.times)), default=60.0)
