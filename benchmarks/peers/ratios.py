"""Ours against each peer: ratios of the rounds, and what may be said of them.

A verdict is `measure.compare`'s: at least five rounds, the interval of the median ratio on one side
of 1, and farther from 1 than our own server was from itself in the same run (the A/A pair).
"""

import numpy as np

from modelworks.measure.compare import Verdict, judge, ratio_of

LIKE = {"base64": "binary"}
"""Wires that ours has not, and which of ours they are compared with."""
OURS, AGAIN = "modelworks", "modelworks again"
FASTER, SLOWER, NONE = "ours faster", "theirs faster", "no verdict"


def quartiles(values):
    """Lower quartile, median, upper quartile."""
    return tuple(float(each) for each in np.percentile(values, [25, 50, 75]))


def spread(values):
    """The interquartile range in percent of the median; 0 where the median is 0."""
    low, middle, high = quartiles(values)
    return (high - low) / middle * 100 if middle else 0.0


def ratio(section, peer, wire, connections, figure="requests_s"):
    """Ours to theirs at one point, over the rounds that both have; None where there is none.

    The same wire on both sides; of `LIKE` the one that ours has for it.
    Of what is better when it is less (time), theirs to ours: above 1 is ours better in both.
    """
    ours = values(section, OURS, LIKE.get(wire, wire), connections, figure)
    theirs = values(section, peer, wire, connections, figure)
    if figure != "requests_s":
        ours, theirs = theirs, ours
    pairs = [(up, down) for up, down in zip(ours, theirs, strict=False) if down > 0]
    return ratio_of(*zip(*pairs, strict=True)) if pairs else None


def values(section, server, wire, connections, figure):
    """One point's figures, one a round; empty where there are none."""
    points = section["servers"].get(server, {}).get("points", {})
    return points.get(wire, {}).get(str(connections), {}).get(figure, [])


def verdict(found, noise):
    """What a ratio of rates says, given the ratio of the A/A pair at the same point."""
    if found is None or noise is None:
        return NONE
    words = {Verdict.MET: FASTER, Verdict.MISSED: SLOWER}
    return words.get(judge(found, 1.0, noise=noise.noise), NONE)
