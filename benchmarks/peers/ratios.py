"""Ours against each peer: medians of the rounds' own ratios, and whether they say anything.

A verdict needs more than one round, an interquartile range that does not hold 1, and a distance
from 1 that is larger than that of our own server against itself in the same run (the A/A pair).
"""

import statistics
from dataclasses import dataclass

OURS, AGAIN = "modelworks", "modelworks again"
FASTER, SLOWER, NONE = "ours faster", "theirs faster", "no verdict"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours divided by theirs: lower quartile, median, upper quartile over the rounds."""

    low: float
    middle: float
    high: float
    rounds: int

    @property
    def noise(self):
        """How far from 1 the quartiles reach."""
        return max(abs(self.low - 1), abs(self.high - 1))


def quartiles(values):
    """Lower quartile, median, upper quartile; of one value: that value."""
    if len(values) == 1:
        return (values[0],) * 3
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def spread(values):
    """The interquartile range in percent of the median; 0 where the median is 0."""
    low, middle, high = quartiles(values)
    return (high - low) / middle * 100 if middle else 0.0


def ratio(section, peer, wire, connections, figure="requests_s"):
    """Ours to theirs at one point, over the rounds that both have; None where there is none."""
    ours = values(section, OURS, wire, connections, figure)
    theirs = values(section, peer, wire, connections, figure)
    pairs = [left / right for left, right in zip(ours, theirs, strict=False) if right]
    return Ratio(*quartiles(pairs), len(pairs)) if pairs else None


def values(section, server, wire, connections, figure):
    """One point's figures, one a round; empty where there are none."""
    points = section["servers"].get(server, {}).get("points", {})
    return points.get(wire, {}).get(str(connections), {}).get(figure, [])


def verdict(found, noise):
    """What a ratio of rates says, given the noise of the A/A pair at the same point."""
    if found is None or found.rounds < 2 or noise is None:
        return NONE
    if found.low <= 1 <= found.high or abs(found.middle - 1) <= noise.noise:
        return NONE
    return FASTER if found.middle > 1 else SLOWER
