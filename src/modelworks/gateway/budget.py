"""How many further tries a route can afford: what was asked earns them."""

from typing import Final

_MOST: Final = 256.0  # further tries that can be saved up
_FIRST: Final = 32.0  # that a route begins with: a server may die in its first second


class Budget:
    """Every request earns a share of a further try: with a fifth, five of them pay for one.

    Args:
        share: 0 to 1; 0 = no further try is ever made.
    """

    __slots__ = ("_earned", "saved")

    def __init__(self, share: float) -> None:
        self._earned = share
        self.saved = _FIRST if share else 0.0

    def earn(self) -> None:
        """A request was made."""
        saved = self.saved + self._earned
        self.saved = min(_MOST, saved)

    def spend(self) -> bool:
        """Pay for a further try; False where there is nothing to pay with."""
        if self.saved < 1.0:
            return False
        self.saved -= 1.0
        return True
