"""A long piece of work on a thread that leaves the loop its turns.

Python's threads hand over every 5 ms, and later where the other one asks too late; a loop that
answers requests should not wait so long. Whoever makes a large thing calls a `Breath` between its
small steps: it sleeps for a moment whenever half a millisecond has been used. A
full garbage collection is a longer step than any of these: `serving.worker` says how a server keeps
it away.
"""

from time import perf_counter, sleep
from typing import Final

_WORK_S: Final = 0.0005
_REST_S: Final = 0.0002


class Breath:
    """Call it between steps."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = perf_counter()

    def __call__(self) -> None:
        """Sleep, where it is time to."""
        if perf_counter() - self._since > _WORK_S:
            sleep(_REST_S)
            self._since = perf_counter()
