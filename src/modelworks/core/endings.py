"""Where a text that is still being made ends: stop strings, which may come in two pieces."""

from collections.abc import Sequence


class Ending:
    """Of one text; gives on what cannot be the beginning of a stop string.

    Args:
        stops: strings that end the text; they are no part of it.

    Attributes:
        over: one of them came.
    """

    __slots__ = ("_held", "_longest", "_stops", "over")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=1)
        self._held = ""
        self.over = False

    def feed(self, text: str) -> str:
        """What is sure by now, with this further piece."""
        if not self._stops:
            return text
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.over = True
            sure, self._held = self._held[: min(found)], ""
            return sure
        cut = len(self._held)
        for size in range(min(self._longest - 1, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                cut = len(self._held) - size
                break
        sure, self._held = self._held[:cut], self._held[cut:]
        return sure

    def rest(self) -> str:
        """What was kept back, when no more comes."""
        held, self._held = self._held, ""
        return held
