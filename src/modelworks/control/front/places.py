"""Where deployments answer, looked at on their targets once a second by threads of their own.

A target that is slow or away holds nobody up: what was seen of it last stands meanwhile.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.control.deploying.targets import elsewhere, kind_of, opened
from modelworks.core.deployment import Observed
from modelworks.core.desired import Desired
from modelworks.core.errors import ModelworksError

PERIOD_S: Final = 1.0
_ASKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a deployment.

    Attributes:
        observed: as it was seen last; None = it is not there, or was never seen.
        unseen: why it could not be looked at the last time; empty = it could.
    """

    observed: Observed | None
    unseen: str = ""


NEVER: Final = Sight(None, "nobody has looked yet")


class Places:
    """Looks at deployments; used by one thread.

    Args:
        folder: of all targets on this machine.
        machine: where we are, see `Desired.machine`.
        period_s: between two looks at one deployment.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        folder: Path,
        machine: str = "",
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._machine = machine
        self._period = period_s
        self._clock = clock
        self._askers = ThreadPoolExecutor(_ASKERS, thread_name_prefix="places")
        self._under_way: dict[str, Future[Sight]] = {}
        self._due: dict[str, float] = {}
        self._seen: dict[str, Sight] = {}

    def close(self) -> None:
        """Look no more; nobody waits for a target that does not answer."""
        self._askers.shutdown(wait=False, cancel_futures=True)

    def look(self, wanted: Sequence[Desired], wait_s: float = 0.0) -> dict[str, Sight]:
        """What is known of each by now; those that are due are looked at meanwhile.

        Args:
            wanted: all that is to be known.
            wait_s: that the looks which begin now are waited for.
        """
        for desired in wanted:
            name = desired.name
            self._take(name)
            if name not in self._under_way and self._clock() >= self._due.get(name, 0.0):
                self._due[name] = self._clock() + self._period
                self._under_way[name] = self._askers.submit(self._ask, desired)
        if wait_s:
            wait(self._under_way.values(), wait_s)
        found = {}
        for desired in wanted:
            self._take(desired.name)
            found[desired.name] = self._seen.get(desired.name, NEVER)
        for gone in self._seen.keys() - found.keys():
            del self._seen[gone]
        return found

    def _take(self, name: str) -> None:
        asked = self._under_way.get(name)
        if asked is None or not asked.done():
            return
        del self._under_way[name]
        now = asked.result()
        if now.unseen:
            now = Sight(self._seen.get(name, NEVER).observed, now.unseen)
        self._seen[name] = now

    def _ask(self, desired: Desired) -> Sight:
        try:
            kind = kind_of(desired.target)
            if why := elsewhere(kind, desired, self._machine):
                return Sight(None, why)
            with opened(kind, desired.settings, self._folder) as target:
                return Sight(target.observe(desired.name))
        except ModelworksError as error:
            return Sight(None, error.message)
        except Exception as error:  # noqa: BLE001 - a plug-in's fault is told, and ends no thread
            return Sight(None, str(error) or type(error).__name__)
