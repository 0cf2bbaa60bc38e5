"""What a duty of the watch is, and what it leaves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from modelworks.core.series import Series
from modelworks.monitor.series.names import MINUTE

LATE_S: Final = 180
"""How long after its end a window of records is looked at: a logger closes its segment after ten
seconds, and what it closed is in the store a minute later, or two where a compaction is slow."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one run of a duty found; kept as a whole, or not at all.

    Attributes:
        series: windows to keep.
        resolution: of them, seconds.
        state: what the next run is given; JSON.
        said: something that whoever looks should know; empty = all is well.
    """

    series: Iterable[Series] = ()
    resolution: int = MINUTE
    state: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""


class Duty(Protocol):
    """Something that the watch does again and again.

    A run that was killed is repeated with the same state: whatever it does beside what it returns
    must bear that.
    """

    @property
    def name(self) -> str:
        """Identifies it, at most 40 characters."""
        ...

    @property
    def every_s(self) -> float:
        """Between two runs, which begin at whole multiples of it."""
        ...

    @property
    def deadline_s(self) -> float:
        """A run that takes longer is said to be late."""
        ...

    def run(self, now: float, state: Mapping[str, Any]) -> Done:
        """Do it once.

        Args:
            now: seconds since 1970, UTC.
            state: that the last run left; empty = it is the first one.
        """
        ...


@dataclass(frozen=True, slots=True)
class DutyState:
    """How a duty does.

    Attributes:
        name: of it.
        ran_ns: UTC, when its last run began; 0 = it never ran.
        took_ns: that run.
        failures: in a row.
        error: of the last run, or what it said; empty = all is well.
    """

    name: str
    ran_ns: int = 0
    took_ns: int = 0
    failures: int = 0
    error: str = ""
