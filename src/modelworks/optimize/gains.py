"""What a form gains by the goal's objective, and whether that is more than noise."""

from dataclasses import dataclass

from modelworks.core.errors import InvalidError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Gate, Goal, Measurement, Objective

_OF_TIME = {Objective.P99, Objective.THROUGHPUT, Objective.COST}


@dataclass(frozen=True, slots=True)
class Gain:
    """How many times better than the source form.

    Attributes:
        ratio: above 1 = better.
        low: lower end of its interval; of sizes the ratio itself.
        high: upper end.
        told: of what, for people.
    """

    ratio: float
    low: float
    high: float
    told: str


def gain(measured: Measurement, source: Measurement, objective: Objective) -> Gain:
    """The ratio that the objective is about.

    Args:
        measured: of the form.
        source: of the source form, in the same run.
        objective: latency is that of the smallest call measured, throughput and cost those of the
            largest: CPU time of one thread, wall time of more.

    Raises:
        InvalidError: energy where nobody can read it.
    """
    if objective in _OF_TIME:
        one = measured.times[0 if objective is Objective.P99 else -1]
        rows = f"{one.rows} row{'s' * (one.rows > 1)} a call"
        if measured.threads == 1:
            return Gain(one.ratio, one.low, one.high, f"CPU time, {rows}")
        return Gain(*one.wall_ratio, f"wall time by {measured.threads} threads, {rows}")
    if objective is Objective.ENERGY:
        if not (measured.energy_j and source.energy_j):
            raise InvalidError(
                "energy: nobody can read it here: /sys/class/powercap is missing or not readable",
                field="objective",
            )
        ratio = source.energy_j / measured.energy_j
        return Gain(ratio, ratio, ratio, "joules a row")
    if objective is Objective.SIZE:
        ratio = source.size_bytes / max(1, measured.size_bytes)
        return Gain(ratio, ratio, ratio, "bytes of the artifact")
    ratio = max(1, source.memory_bytes) / max(1, measured.memory_bytes)
    return Gain(ratio, ratio, ratio, "resident memory")


def better(measured: Measurement, source: Measurement, goal: Goal) -> Gate:
    """The gate `gain`: the form has to be better by the goal's ratio, and by more than noise.

    Raises:
        InvalidError: see `gain`.
    """
    found = gain(measured, source, goal.objective)
    noise = measured.noise if goal.objective in _OF_TIME else 0.0
    text = f"{found.ratio:.2f} times better by {goal.objective} ({found.told})"
    if found.low < found.high:
        text += f", {found.low:.2f} to {found.high:.2f}"
    if found.ratio < goal.gain:
        verdict, text = Verdict.FAILED, f"{text}: less than {goal.gain:g}"
    elif found.low <= 1 or found.ratio <= 1 + noise:
        verdict = Verdict.FAILED
        text += f": within the noise of {noise:.0%}" if found.low > 1 else ": it may be none"
    else:
        verdict = Verdict.PASSED
    return Gate("gain", verdict, text, "", found.ratio, found.low, found.high, goal.gain)


def cost(measured: Measurement, goal: Goal) -> float:
    """Money for a million rows by one core, by the largest call measured.

    Raises:
        InvalidError: no price was given.
    """
    if goal.price <= 0:
        raise InvalidError("cost: give --price, that of this machine for an hour", field="price")
    one = measured.times[-1]
    core_hours = one.cpu_us[1] / 1e6 / 3600 * 1e6 / one.rows
    return goal.price * core_hours / max(1, measured.hardware.cores)
