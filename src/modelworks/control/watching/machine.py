"""The duty that looks at the machine and at our processes."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from modelworks.client.endpoints import listed
from modelworks.control.watching.duty import Done
from modelworks.core.home import Home
from modelworks.core.series import Series
from modelworks.monitor.series.names import MINUTE
from modelworks.monitor.system import gpu, host, processes


class System:
    """The machine, our processes on it, its accelerators.

    Args:
        home: whose processes, and on whose disk.
        machine: empty = the only one; otherwise a label of every series.
        clock: seconds that never jump.
    """

    every_s = float(MINUTE)
    deadline_s = 30.0

    def __init__(
        self, home: Home, machine: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._home = home
        self._labels = {"machine": machine} if machine else {}
        self._clock = clock
        self._before: tuple[float, host.HostLook, dict[str, processes.Use]] | None = None
        self.name = f"system {machine}".strip()[:40]

    def run(self, now: float, state: Mapping[str, Any]) -> Done:  # noqa: ARG002 - see `Duty`
        """See `Duty`. What a machine counts is not kept: it may have begun anew meanwhile."""
        end = float(int(now) // MINUTE * MINUTE)
        at, seen = self._clock(), host.look(self._home.root)
        ours = processes.look(_roots(self._home))
        then, older, used = self._before or (at, None, {})
        found = self._series(end, "", "", host.use(older, seen, at - then).values)
        cpu = {part: use.cpu_s for part, use in used.items()}
        for part, values in processes.told(cpu, ours, at - then).items():
            found += self._series(end, "process", part, values)
        for index, values in gpu.look().items():
            found += self._series(end, "gpu", index, values)
        self._before = (at, seen, ours)
        return Done(found)

    def _series(self, end: float, label: str, of: str, values: Mapping[str, float]) -> list[Series]:
        labels = self._labels | ({label: of} if label else {})
        return [Series(name, labels, (end,), (value,)) for name, value in values.items()]


def _roots(home: Home) -> list[int]:
    """Processes that began others of ours: `up`, servers, this one."""
    roots = [endpoint.pid for endpoint in listed(home)]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # nothing is up
        roots.append(int(json.loads((home.run / "up.lock").read_text())["pid"]))
    return [*dict.fromkeys([*roots, os.getpid()])]
