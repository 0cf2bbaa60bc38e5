"""What the control plane's own `/metrics` tells: servers, and the watch's newest numbers."""

import logging
import math
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from modelworks.control.endpoints import Watch
from modelworks.core.errors import ModelworksError
from modelworks.core.series import Series, SeriesSource
from modelworks.protocol.openmetrics import Family, Kind

_log = logging.getLogger(__name__)
SERIES: Final = {
    "drift": "Distance from the reference; feature `*` is all together.",
    "drift_loss": "Estimated loss of quality that the drift costs.",
    "missing": "Share of values that are missing.",
    "out_of_range": "Share of values outside of the reference's range.",
    "new_category": "Share of values that the reference does not have.",
    "wrong_type": "Share of values of another type.",
    "quality": "Of the answers: measured, estimated or inferred.",
    "business": "What feedback says that a prediction brought.",
}
"""Series that are told, by name; see `core.series`."""
_RECENT_S: Final = 2 * 3600.0  # older numbers are not those of now
_MOST: Final = 10_000  # lines a series: a scrape is not to grow without bound


class Told:
    """Makes the numbers, whenever they are asked for.

    Args:
        watch: asks the model servers of this machine.
        source: of series; None = nothing is watched.
        now: seconds since 1970.
    """

    def __init__(
        self,
        watch: Watch,
        source: SeriesSource | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._watch = watch
        self._source = source
        self._now = now
        self.started = now()

    def families(self) -> list[Family]:
        """All of them."""
        build = Family("modelworks_control_build", Kind.INFO, "Always 1; the labels say what runs.")
        build.add(1, {"version": version("modelworks"), "python": platform.python_version()})
        begun = Family(
            "modelworks_control_start_time_seconds", Kind.GAUGE, "Start of it, Unix time."
        )
        begun.add(self.started)
        processor = Family(
            "modelworks_control_cpu_seconds", Kind.COUNTER, "Time of processors that it took."
        )
        used = os.times()
        processor.add(used.user + used.system)
        return [build, begun, processor, *self._servers(), *self._series()]

    def _servers(self) -> list[Family]:
        up = Family("modelworks_server_up", Kind.GAUGE, "Whether a server here answers (1).")
        ready = Family("modelworks_server_ready", Kind.GAUGE, "Whether it predicts (1).")
        for state in self._watch.states():
            pairs = {"name": state.endpoint.name, "url": state.endpoint.url}
            up.add(int(state.answers), pairs)
            ready.add(int(state.ready), pairs)
        return [up, ready]

    def _series(self) -> list[Family]:
        families = []
        until = self._now()
        for name, text in SERIES.items():
            family = Family(f"modelworks_{name}", Kind.GAUGE, text)
            for series in self._select(name, until):
                values = [value for value in series.values if not math.isnan(value)]
                if values and len(family.groups) < _MOST:
                    family.add(float(values[-1]), dict(sorted(series.labels.items())))
            families.append(family)
        return families

    def _select(self, name: str, until: float) -> list[Series]:
        """The series of that name; none where they cannot be read: the others are told."""
        if self._source is None:
            return []
        try:
            return list(self._source.select(name, {}, until - _RECENT_S, until))
        except ModelworksError as error:
            _log.warning("%s is missing in /metrics: %s", name, error.message)
            return []
