"""How much better than the source form something is, and which forms no other one beats. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import BatchTime, Gate, Goal, Measurement, Objective

MOST: Final = 6
"""Forms of one run that are kept at most."""
_SAME: Final = 1.02  # closer than measuring repeats itself on a calm machine
_MEMORY: Final = 1.1  # the same of resident memory

_WORDS: Final = {
    Objective.SIZE: "smaller",
    Objective.MEMORY: "times less memory",
    Objective.ENERGY: "times less energy",
}


def ratios(found: Measurement, source: Measurement) -> dict[str, float]:
    """How many times better than the source form in everything that is measured.

    Returns:
        `rows 1`, `rows 16`..., `size`, `memory`, and `energy` where it was read -> ratio.
    """
    told = {f"rows {one.rows}": _ratio(one, found.threads)[0] for one in found.times}
    told["size"] = source.size_bytes / max(1, found.size_bytes)
    # Resident memory moves by whole arenas: a form that adds next to none is no miracle.
    least = 1 << 20
    told["memory"] = max(least, source.memory_bytes) / max(least, found.memory_bytes)
    if found.energy_j and source.energy_j:
        told["energy"] = source.energy_j / found.energy_j
    return told


def gain(objective: Objective, found: Measurement, source: Measurement) -> float:
    """How many times better than the source form at what is wanted; 0 = that was not measured."""
    told = ratios(found, source)
    if objective in {Objective.SIZE, Objective.MEMORY, Objective.ENERGY}:
        return told.get(objective.value, 0.0)
    return _timed(objective, found)[0]


def bounds(objective: Objective, found: Measurement, source: Measurement) -> tuple[float, float]:
    """The interval of `gain`, widened by how far the source form differed from itself."""
    if objective in {Objective.SIZE, Objective.MEMORY, Objective.ENERGY}:
        known = gain(objective, found, source)
        return known, known
    _, low, high = _timed(objective, found)
    return low / (1 + found.noise), high * (1 + found.noise)


def hopeless(goal: Goal, found: Measurement, source: Measurement) -> bool:
    """Whether even the upper end of what was measured is too little."""
    return bounds(goal.objective, found, source)[1] < goal.gain


def better(goal: Goal, found: Measurement, source: Measurement) -> Gate:
    """The gate that every form has to pass last: it must be worth it."""
    known = gain(goal.objective, found, source)
    low, _ = bounds(goal.objective, found, source)
    name = goal.objective.value
    if goal.objective is Objective.ENERGY and not known:
        return Gate(name, Verdict.FAILED, "no energy was counted for it or for the source form")
    if goal.objective in _WORDS:
        words = f"{known:.2f} {_WORDS[goal.objective]}"
    else:
        rows = min if goal.objective is Objective.P99 else max
        count = rows((one.rows for one in found.times), default=0)
        at = f"{count} row{'s' if count != 1 else ''}"
        words = f"{known:.2f} x at {at} (at least {low:.2f} x, noise {found.noise:.0%})"
    if known < goal.gain:
        return Gate(name, Verdict.FAILED, f"{words}; at least {goal.gain:.2f} x is wanted")
    if low <= 1.0:
        return Gate(name, Verdict.FAILED, f"{words}: it may as well be no faster")
    return Gate(name, Verdict.PASSED, words)


def front(
    objective: Objective, measured: Mapping[str, Measurement], source: Measurement
) -> dict[str, str]:
    """Which forms nothing beats, and what beats the others.

    Args:
        objective: that is asked for: its best form is always on the front.
        measured: by a name of the form's.
        source: the source form's.

    Returns:
        Name -> empty where it is on the front, else the name of one that is at least as good in
        everything and better in something.
    """
    ordered = sorted(measured, key=lambda name: -gain(objective, measured[name], source))
    told: dict[str, str] = {}
    for name in ordered:
        others = [one for one, beaten in told.items() if not beaten]
        above = (one for one in others if beats(measured[one], measured[name], source))
        told[name] = next(above, "")
    return told


def chosen(
    objective: Objective, measured: Mapping[str, Measurement], source: Measurement, most: int = MOST
) -> Sequence[str]:
    """Names of the front, the best at what is asked for first, at most so many."""
    told = front(objective, measured, source)
    return [name for name, beaten in told.items() if not beaten][:most]


def _timed(objective: Objective, found: Measurement) -> tuple[float, float, float]:
    """Ratio and its interval at the number of rows that the objective is about."""
    times = sorted(found.times, key=lambda one: one.rows)
    if not times:
        return 0.0, 0.0, 0.0
    return _ratio(times[0] if objective is Objective.P99 else times[-1], found.threads)


def _ratio(time: BatchTime, threads: int) -> tuple[float, float, float]:
    """Of one thread the CPU time's, which others do not disturb; of more what a caller sees."""
    if threads > 1 and time.wall_ratio[0] > 0:
        return time.wall_ratio
    return time.ratio, time.low, time.high


def beats(one: Measurement, other: Measurement, source: Measurement) -> bool:
    """Whether one is nowhere worse than another, beyond what repeats itself.

    Equal ones beat each other: the first of them, the better at what is asked for, stays.
    """
    mine = ratios(one, source)
    timely = max(_SAME, 1 + one.noise, 1 + other.noise)
    same = {"size": _SAME, "memory": _MEMORY}
    return all(
        mine.get(name, 0.0) * same.get(name, timely) >= value
        for name, value in ratios(other, source).items()
    )
