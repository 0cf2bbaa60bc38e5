"""A long piece of work on a thread that leaves the loop its turns.

Python's threads hand over every 5 ms, and later where the other one asks too late; a loop that
answers requests should not wait so long.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import Final

_WORK_S: Final = 0.0005
_REST_S: Final = 0.0002


class Breath:
    """Call it between small steps: it sleeps for a moment whenever half a millisecond is used."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = perf_counter()

    def __call__(self) -> None:
        """Sleep, where it is time to."""
        if perf_counter() - self._since > _WORK_S:
            sleep(_REST_S)
            self._since = perf_counter()


@contextmanager
def uncollected() -> Iterator[None]:
    """Make something large that has no cycles, without the garbage collector.

    It would walk through all that was made so far, again and again, in steps of 2 to 5 ms that
    nobody can interrupt. What is there at the end it never walks through; it is given back all the
    same when nobody holds it any more. One thread of a process at a time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
