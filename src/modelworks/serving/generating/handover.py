"""Pieces on their way from an engine's threads to the loop: one waking for many of them."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns, sleep
from typing import Final, Protocol

from modelworks.core.generation import Piece

FULL: Final = 8192
_PAUSE_S: Final = 0.001
_TURN: Final = 128  # pieces: so many are handed on before others of the loop have their turn


class Taker(Protocol):
    """Whom pieces are for."""

    def take(self, pieces: list[Piece], came_ns: list[int]) -> None:
        """On the loop: these came, and when."""
        ...


class Handover:
    """Of one model. Engines tell it pieces; the loop takes what has come, all together.

    An engine that makes pieces faster than the loop takes them is slowed down: each piece beyond
    `FULL` costs it a millisecond. Clients never slow it: see `sending`.

    Args:
        loop: that the takers live on.
    """

    __slots__ = ("_came", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._came: deque[tuple[Taker, Piece, int]] = deque()
        self._woken = False

    def tell(self, taker: Taker, piece: Piece) -> None:
        """A piece came; from any thread but the loop's, returns at once or in a millisecond."""
        self._came.append((taker, piece, perf_counter_ns()))
        if len(self._came) > FULL:
            sleep(_PAUSE_S)
        if self._woken:  # `_take` has not begun yet, and will find this one too
            return
        self._woken = True
        with suppress(RuntimeError):  # the loop closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._woken = False
        came = self._came
        found: dict[Taker, tuple[list[Piece], list[int]]] = {}
        for _ in range(min(len(came), _TURN)):
            taker, piece, at = came.popleft()
            pieces, times = found.setdefault(taker, ([], []))
            pieces.append(piece)
            times.append(at)
        if came and not self._woken:
            self._woken = True
            again: Callable[[], None] = self._take
            self._loop.call_soon(again)
        for taker, (pieces, times) in found.items():
            taker.take(pieces, times)
