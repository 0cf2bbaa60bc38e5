"""Duties that keep what is kept in order: series, records, feedback."""

from collections.abc import Callable, Mapping
from typing import Any

from modelworks.control.records.service import Records
from modelworks.control.watching.duty import Done
from modelworks.monitor.series.names import DAY, HOUR
from modelworks.monitor.series.service import SeriesStore


class Settling:
    """Makes the hours and days of what fell silent, and deletes windows that are too old.

    Args:
        series: of the tenant.
    """

    name = "series"
    every_s = float(HOUR)
    deadline_s = 300.0

    def __init__(self, series: SeriesStore) -> None:
        self._series = series

    def run(self, now: float, state: Mapping[str, Any]) -> Done:  # noqa: ARG002 - see `Duty`
        """See `Duty`."""
        self._series.settle(now)
        self._series.expire(now)
        return Done()


class Compaction:
    """Moves what loggers wrote, and feedback that came in, into their stores.

    Args:
        records: of the tenant.
    """

    name = "compaction"
    every_s = 30.0
    deadline_s = 300.0

    def __init__(self, records: Callable[[], Records]) -> None:
        self._records = records

    def run(self, now: float, state: Mapping[str, Any]) -> Done:  # noqa: ARG002 - see `Duty`
        """See `Duty`. A compaction that is killed is taken up by the next one."""
        done = self._records().compact()
        lost = f"{done.damaged} bytes of segments could not be read" if done.damaged else ""
        return Done(said=lost)


class Retention:
    """Deletes records and feedback that are older than their policy keeps them.

    Args:
        records: of the tenant.
        days: `retention_days` of the models that are served now.
    """

    name = "retention"
    every_s = float(DAY) / 4
    deadline_s = 1800.0

    def __init__(
        self, records: Callable[[], Records], days: Callable[[], Mapping[str, int]]
    ) -> None:
        self._records = records
        self._days = days

    def run(self, now: float, state: Mapping[str, Any]) -> Done:  # noqa: ARG002 - see `Duty`
        """See `Duty`."""
        self._records().expire(self._days())
        return Done()
