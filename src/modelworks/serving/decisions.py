"""What learn mode sees in a window, and what it decides from it: values."""

from dataclasses import dataclass
from enum import StrEnum

from modelworks.serving.forecast import Setting


class Step(StrEnum):
    """What a decision does."""

    START = "start"  # from what was measured at load
    TRY = "try"  # less work is expected
    EASE = "ease"  # as much work, answered sooner
    KEEP = "keep"  # the trial was what it promised
    BACK = "back"  # it was not
    HURRY = "hurry"  # the goal is missed
    IMPOSSIBLE = "impossible"  # and no setting is expected to meet it
    MET = "met"  # it is met again
    REST = "rest"  # hardly anybody asks


@dataclass(frozen=True, slots=True)
class Seen:
    """One window of one worker.

    Attributes:
        seconds: how long it was.
        requests: answered.
        rows: of them.
        refused: requests for which there was no room or no time.
        p99_ms: of those answered.
        work_us: engine time a row.
        calls: (rows, how many, their nanoseconds).
    """

    seconds: float
    requests: int
    rows: int = 0
    refused: int = 0
    p99_ms: float = 0.0
    work_us: float = 0.0
    calls: tuple[tuple[int, int, int], ...] = ()

    @property
    def rate(self) -> float:
        """Rows a second that came, those refused as large as those answered."""
        each = self.rows / max(1, self.requests)
        return (self.requests + self.refused) * each / self.seconds


@dataclass(frozen=True, slots=True)
class Decision:
    """What was done and why.

    Attributes:
        step: its kind.
        setting: in force from now on.
        before: in force until now.
        reason: in words, with the numbers it rests on.
        seen: the window it rests on; None at the start.
    """

    step: Step
    setting: Setting
    before: Setting
    reason: str
    seen: Seen | None = None


def mean_of(windows: tuple[Seen, ...]) -> Seen:
    """Several windows as one; the p99 is the mean of theirs, by rows."""
    rows = sum(one.rows for one in windows)
    return Seen(
        seconds=sum(one.seconds for one in windows),
        requests=sum(one.requests for one in windows),
        rows=rows,
        refused=sum(one.refused for one in windows),
        p99_ms=sum(one.p99_ms * one.rows for one in windows) / max(1, rows),
        work_us=sum(one.work_us * one.rows for one in windows) / max(1, rows),
    )


def compared(base: Seen, after: Seen) -> str:
    """In words, what a change has changed."""
    return (
        f"before: p99 {base.p99_ms:.3g} ms, {base.work_us:.4g} us of engine a row; "
        f"after: {after.p99_ms:.3g} ms, {after.work_us:.4g} us"
    )
