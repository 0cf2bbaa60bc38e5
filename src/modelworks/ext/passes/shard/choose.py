"""Where a row of steps is cut: the slowest stage as fast as can be, then the cuts that cost least.

Pure: it knows costs and places, and nothing of graphs.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from modelworks.core.errors import UnsupportedError

SLACK: Final = 0.15
"""So much larger than it need be the largest stage may become for cheaper cuts."""

_MOST: Final = 240  # places that are looked at: of more, the cheapest of each stretch


def choose(
    costs: Sequence[float], places: Mapping[int, float], stages: int, slack: float = SLACK
) -> tuple[int, ...]:
    """The places of the cuts, ascending.

    Args:
        costs: of each step, 0 or more; in any unit.
        places: where cuts may be: place p lies before step p -> what is against it.
        stages: 2 or more.
        slack: of the largest stage's cost.

    Returns:
        `stages - 1` places. No cut of them leaves a smaller largest stage, but for the slack; of
        those the one with the least against it.

    Raises:
        UnsupportedError: there are not so many places.
    """
    wanted = stages - 1
    if len(places) < wanted:
        raise UnsupportedError(
            f"the graph can be cut in {len(places)} places, and {stages} stages are {wanted} cuts"
        )
    total = [0.0, *accumulate(costs)]
    kept = _thinned(total, places, wanted)
    ends = [*kept, len(costs)]
    largest = min(_table(total, ends, dict.fromkeys(kept, 0.0), stages, float("inf")))[1]
    bound = largest * (1 + slack) if largest else float("inf")
    return min(_table(total, ends, places, stages, bound))[2]


_Found = tuple[float, float, tuple[int, ...]]  # against the cuts, largest stage, the cuts


def _table(
    total: Sequence[float],
    ends: Sequence[int],
    places: Mapping[int, float],
    stages: int,
    bound: float,
) -> list[_Found]:
    """The best ways to cut everything into so many stages, none dearer than `bound`."""
    best: dict[int, _Found] = {0: (0.0, 0.0, ())}
    for number in range(stages):
        last = number == stages - 1
        after: dict[int, _Found] = {}
        for end in ends[-1:] if last else ends[:-1]:
            found = [
                (
                    against + (0.0 if last else places[end]),
                    max(largest, total[end] - total[start]),
                    cuts if last else (*cuts, end),
                )
                for start, (against, largest, cuts) in best.items()
                if start < end and total[end] - total[start] <= bound
            ]
            if found:
                after[end] = min(found)
        best = after
    return list(best.values())


def _thinned(total: Sequence[float], places: Mapping[int, float], wanted: int) -> list[int]:
    """Not so many places: of each stretch of equal cost the one with the least against it."""
    most = max(_MOST, wanted)
    if len(places) <= most:
        return sorted(places)
    whole = total[-1] or 1.0
    kept: dict[int, int] = {}
    for place in sorted(places):
        stretch = int(most * total[place] / whole)
        held = kept.get(stretch)
        if held is None or places[place] < places[held]:
            kept[stretch] = place
    if len(kept) < wanted:  # all the cost lies in a few steps
        return sorted(places, key=lambda place: (places[place], place))[:most]
    return sorted(kept.values())
