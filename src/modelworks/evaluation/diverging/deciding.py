"""From distances of values to the place where the forms part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelworks.evaluation.diverging.found import Origin, Seen
from modelworks.evaluation.diverging.meters import Meter
from modelworks.evaluation.diverging.pairing import Pair
from modelworks.evaluation.diverging.words import guess

_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Decided:
    """What the distances say.

    Attributes:
        origins: where a difference begins that reaches an output, in the graph's order.
        adds: operators that add most, the largest first.
        harmless: values that differ without a difference at the outputs.
    """

    origins: tuple[Origin, ...]
    adds: tuple[Seen, ...]
    harmless: int


def decide(
    pairs: Sequence[Pair], meters: Sequence[Meter], outputs: Sequence[str], tolerance: float
) -> Decided:
    """Find where a difference begins.

    Args:
        pairs: of the two forms.
        meters: one a pair.
        outputs: names of the first form's.
        tolerance: from which on values differ.
    """
    known = nearest(pairs, meters)
    differs = {name for name, one in known.items() if one.apart > tolerance}
    reaches = _reaching(known, differs, frozenset(outputs))
    begins = [
        name
        for name in known
        if name in differs and not differs.intersection(_parents(known[name]))
    ]
    found = [name for name in begins if name in reaches]
    origins = tuple(origin(known[name], known, tolerance) for name in found[:_MOST])
    return Decided(origins, _adding(known, reaches), len(begins) - len(found))


@dataclass(frozen=True, slots=True)
class Measured:
    """A pair, and how far apart it is.

    Attributes:
        pair: of values.
        meter: of both.
        apart: their distance; 0 = they cannot be compared.
    """

    pair: Pair
    meter: Meter
    apart: float


def nearest(pairs: Sequence[Pair], meters: Sequence[Meter]) -> dict[str, Measured]:
    """Value of the second form -> the pair of it that is nearest, in the pairs' order."""
    found: dict[str, Measured] = {}
    for pair, meter in zip(pairs, meters, strict=True):
        one = Measured(pair, meter, 0.0 if meter.misfit else meter.apart())
        other = found.get(pair.second)
        if other is None or (not meter.misfit and (other.meter.misfit or one.apart < other.apart)):
            found.pop(pair.second, None)
            found[pair.second] = one
    return found


def _parents(one: Measured) -> tuple[str, ...]:
    return one.pair.parents


def _reaching(
    known: Mapping[str, Measured], differs: set[str], outputs: frozenset[str]
) -> set[str]:
    """Values whose difference goes on, from value to value, to an output."""
    found = {name for name in differs if known[name].pair.first in outputs}
    edge = list(found)
    while edge:
        for parent in known[edge.pop()].pair.parents:
            if parent in differs and parent not in found:
                found.add(parent)
                edge.append(parent)
    return found


def _adding(known: Mapping[str, Measured], reaches: set[str]) -> tuple[Seen, ...]:
    """How much farther apart a value is than everything that it is computed from."""
    added = []
    for name in reaches:
        one = known[name]
        before = max((known[parent].apart for parent in one.pair.parents), default=0.0)
        if one.apart > before:
            added.append(Seen(_told(one.pair), one.apart - before, one.pair.stage))
    return tuple(sorted(added, key=lambda one: (-one.apart, one.name))[:_MOST])


def _told(pair: Pair) -> str:
    return pair.first if pair.operator is None else f"{pair.operator.title} '{pair.first}'"


def origin(one: Measured, known: Mapping[str, Measured], tolerance: float) -> Origin:
    """All that is told of a value at which the forms part.

    Args:
        one: the value.
        known: the others, by their names in the second form.
        tolerance: from which on values differ.
    """
    pair, meter = one.pair, one.meter
    before = [known[name] for name in pair.parents if name in known]
    operator = pair.operator or pair.other
    made = next((name for name in operator.outputs if name), "")
    return Origin(
        value=pair.first,
        stage=pair.stage,
        kind=operator.kind,
        operator=operator.name or made,
        other=pair.other.title,
        apart=one.apart,
        inputs=tuple(Seen(two.pair.first, two.apart, two.pair.stage) for two in before),
        rows=meter.beyond(tolerance),
        first_range=_range(meter, 0),
        second_range=_range(meter, 1),
        worst=(_finite(meter.worst[1]), _finite(meter.worst[2])),
        why=guess(pair, meter, [(two.pair, two.meter) for two in before], tolerance),
    )


def _range(meter: Meter, side: int) -> tuple[float, float]:
    if meter.low[side] > meter.high[side]:
        return (0.0, 0.0)
    return (meter.low[side], meter.high[side])


def _finite(value: float) -> float:
    """As JSON knows it: what is endless is cut to the largest number."""
    return float(np.nan_to_num(value, nan=0.0))
