"""Forms that agree operator by operator and differ as they are served: the engine's own doing.

An engine joins operators and rounds otherwise where nobody looks at what is between them. So values
are looked at one alone, the first that differs is found by halving, and from there the way goes up
to a value all of whose sources agree.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from modelworks.core.errors import UnsupportedError
from modelworks.core.seams import View
from modelworks.evaluation.diverging.deciding import Measured, origin
from modelworks.evaluation.diverging.found import Parting
from modelworks.evaluation.diverging.pairing import own
from modelworks.optimize.diverging.looking import Looking, Numbers, Side

_WHY: Final = (
    "the engine's own optimization makes it: operator by operator it agrees (ONNX Runtime's "
    "setting `optimization=disabled` leaves it out)"
)
_NOT_LOOKED: Final = "what the engine joins cannot be looked into"
_UNSEEN: Final = "they part only where nobody looks between the operators"


def fused(looking: Looking, sides: Sequence[Side], rows: Numbers, found: Parting) -> Parting:
    """Follow what an engine makes of a form.

    Args:
        looking: with the rows.
        sides: as they are served.
        rows: that are followed.
        found: so far: the outputs differ, and no value inside does.
    """
    for side in sides:
        if not side.served:
            continue
        try:
            place = _Alone(looking, side.view, rows, found.tolerance).first()
        except UnsupportedError:
            return replace(found, notes=(*found.notes, _NOT_LOOKED))
        if place is not None:
            return replace(found, first=replace(origin(place, {}, found.tolerance), why=_WHY))
    return replace(found, notes=(*found.notes, _UNSEEN))


class _Alone:
    """One form as it is served beside itself operator by operator, value after value."""

    def __init__(self, looking: Looking, view: View, rows: Numbers, tolerance: float) -> None:
        self._looking, self._rows, self._tolerance = looking, rows, tolerance
        self._sides = (Side(view, served=False), Side(view, served=True))
        self._every = own(view.inside)
        self._ends = [i for i, p in enumerate(self._every) if p.first in view.inside.outputs]
        self._places = {pair.second: place for place, pair in enumerate(self._every)}
        self._known: dict[int, Measured] = {}

    def first(self) -> Measured | None:
        """The first value that differs; None = none does, or none where it is looked at."""
        place = next((end for end in self._ends if self._differs(end)), None)
        if place is None:
            return None
        low, high = 0, place
        while low < high:
            middle = (low + high) // 2
            if self._differs(middle):
                high = middle
            else:
                low = middle + 1
        place = high
        while True:
            parents = [self._places[name] for name in self._every[place].parents]
            above = next((one for one in parents if self._differs(one)), None)
            if above is None:
                return self._known[place]
            place = above

    def _differs(self, place: int) -> bool:
        if place not in self._known:
            pair = self._every[place]
            meter = self._looking.measured([pair], self._sides, self._rows)[0]
            self._known[place] = Measured(pair, meter, 0.0 if meter.misfit else meter.apart())
        return self._known[place].apart > self._tolerance
