"""Which form of a version is meant: by its name, or by what it is to be best at. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from modelworks.core.errors import NotFoundError, UnsupportedError
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import SOURCE, BatchTime, Measurement, Objective, Variant
from modelworks.core.optimizing.wanted import GOALS
from modelworks.core.served import ENGINES

_UNITS = {
    Objective.P99: "the p99 of a call of {few}",
    Objective.THROUGHPUT: "the rows a second of calls of {many}",
    Objective.SIZE: "the bytes of the artifact",
    Objective.MEMORY: "the memory it takes",
    Objective.ENERGY: "the energy a row",
    Objective.COST: "the CPU time of calls of {many}",
}


@dataclass(frozen=True, slots=True)
class Picked:
    """A form.

    Attributes:
        variant: None = the version as it was imported.
        why: one sentence.
    """

    variant: Variant | None
    why: str


def pick(
    variants: Sequence[Variant],
    want: str,
    hardware: str | None,
    missing: Callable[[str], str],
) -> Picked:
    """The form of a version that is meant.

    What a variant gains is its own figure beside the source form's of the same run: figures of
    different runs, maybe of different days, are not held against each other.

    Args:
        variants: of one version.
        want: `source`, a goal (`core.optimizing.wanted.GOALS`), or a variant's name.
        hardware: kind of the machine that it is to run on; None = it is not known.
        missing: why an engine cannot run there; empty = it can.

    Raises:
        NotFoundError: no variant of that name.
        UnsupportedError: it was measured on other hardware, or its engine is not there.
    """
    if want == SOURCE:
        return Picked(None, "the version as it was imported")
    if want not in GOALS:
        return _named(variants, want, hardware, missing)
    if not variants:
        return Picked(None, "the version has no variants: modelworks optimize makes them")
    reasons = [_misfit(one, hardware, missing) for one in variants]
    fitting = [one for one, reason in zip(variants, reasons, strict=True) if not reason]
    if not fitting:
        return Picked(None, f"no variant fits: {next(filter(None, reasons))}")
    objective = GOALS[want]
    gains = [(gain(one, objective), one) for one in fitting]
    better = [(found, one) for found, one in gains if found is not None and found > 1.0]
    if not better:
        return Picked(None, f"no variant that fits betters {told(fitting[0], objective)}")
    ratio, best = min(better, key=lambda item: (-item[0], item[1].artifact.size, item[1].name))
    return Picked(best, f"it betters {told(best, objective)} {ratio:.2f} times")


def gain(variant: Variant, objective: Objective) -> float | None:
    """How many times better than the source form of the same run; None = it was not measured."""
    own, source = variant.measurement, variant.source
    match objective:
        case Objective.P99:
            return _ratio(_few(source), _few(own), lambda one: one.p99_us)
        case Objective.THROUGHPUT:
            return _ratio(_many(source), _many(own), lambda one: one.wall_us[1])
        case Objective.COST:
            many = _many(own)
            return many.ratio if many is not None else None
        case Objective.SIZE:
            return _over(source.size_bytes, own.size_bytes)
        case Objective.MEMORY:
            return _over(source.memory_bytes, own.memory_bytes)
        case Objective.ENERGY:
            return _over(source.energy_j, own.energy_j)


def told(variant: Variant, objective: Objective) -> str:
    """What is compared, in words."""
    times = variant.measurement.times
    rows = [f"{one.rows} row{'s' * (one.rows != 1)}" for one in times] or ["no rows"]
    return _UNITS[objective].format(few=rows[0], many=rows[-1])


def _named(
    variants: Sequence[Variant],
    want: str,
    hardware: str | None,
    missing: Callable[[str], str],
) -> Picked:
    found = next((one for one in variants if one.name == want), None)
    if found is None:
        known = ", ".join(one.name for one in variants) or "none"
        goals = ", ".join(GOALS)
        raise NotFoundError(
            f"no variant '{want}'; there are: {known}. What asks for the best one: {goals}",
            field="variant",
        )
    if reason := _misfit(found, hardware, missing):
        raise UnsupportedError(reason, field="variant")
    return Picked(found, "it was asked for by name")


def _misfit(variant: Variant, hardware: str | None, missing: Callable[[str], str]) -> str:
    """Why a variant is nothing for that hardware."""
    made_for = variant.measurement.hardware.kind
    if hardware is not None and made_for != hardware:
        return f"variant '{variant.name}' was measured on '{made_for}', and this is '{hardware}'"
    reason = next(filter(None, map(missing, engines(variant.recipe))), "")
    return f"variant '{variant.name}': {reason}" if reason else ""


def engines(recipe: Recipe) -> Iterator[str]:
    """What runs a form; of one in parts what runs each."""
    if not recipe.parts:
        yield recipe.run.engine
    for part in recipe.parts:
        yield from engines(part)


def run_of(variant: Variant) -> Execution:
    """How a variant is run: one in parts by the engine of its format, which knows how each is."""
    if variant.recipe.parts:
        return Execution(ENGINES.get(variant.artifact.format, variant.recipe.run.engine))
    return variant.recipe.run


def _few(measurement: Measurement) -> BatchTime | None:
    return min(measurement.times, key=lambda one: one.rows, default=None)


def _many(measurement: Measurement) -> BatchTime | None:
    return max(measurement.times, key=lambda one: one.rows, default=None)


def _ratio(
    source: BatchTime | None, own: BatchTime | None, read: Callable[[BatchTime], float]
) -> float | None:
    if source is None or own is None or source.rows != own.rows:
        return None
    return _over(read(source), read(own))


def _over(source: float | None, own: float | None) -> float | None:
    return source / own if source and own and own > 0 else None
