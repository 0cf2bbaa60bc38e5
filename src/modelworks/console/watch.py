"""What the pages of the watch show: figures of a span of time, and what is wrong with them."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from modelworks.console.plots import plot
from modelworks.control.watching.board import Board, Line, Standing
from modelworks.control.watching.curves import charts
from modelworks.control.watching.ranking import ranking
from modelworks.control.watching.spans import seconds_of
from modelworks.core.alerts import AlertState, Severity
from modelworks.core.errors import NotFoundError
from modelworks.core.ids import now_ns
from modelworks.core.reference import model_name
from modelworks.core.series import SeriesSource

SPANS: Final = (
    ("1h", "hour"),
    ("6h", "6 hours"),
    ("1d", "day"),
    ("7d", "week"),
    ("30d", "30 days"),
)
STALE_S: Final = 300.0
"""The worker looks every minute: without a look for so long it does not run, or is stuck."""
_FRESH_S, _OLDEST_S = 10.0, 60.0
_LOOK: Final = "requests"
_MOST: Final = 500
_SEVERITIES: Final = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


class Watched(Protocol):
    """What is asked; behind the API's `/watch` and `/series`."""

    @property
    def series(self) -> SeriesSource:
        """What was measured."""
        ...

    def board(self, model: str, since: float, until: float) -> Board:
        """How models do."""
        ...


class Boards:
    """Boards of all models, each made once for all who look: with many models it costs seconds.

    A board is at most ten seconds old, or twenty times what it took to make, up to a minute.

    Args:
        watched: what is known.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._lock = threading.Lock()
        self._made: dict[str, tuple[float, float, Board]] = {}

    def of(self, since: str) -> Board:
        """That of a span of time.

        Args:
            since: how far back: `6h`.

        Raises:
            InvalidError: no length of time, or more than one answer holds.
        """
        length = seconds_of(since)
        with self._lock:
            for_s, began, board = self._made.get(since, (0.0, 0.0, None))
            if board is None or time.monotonic() - began > for_s:
                began, now = time.monotonic(), now_ns() / 1e9
                board = self._watched.board("", now - length, now)
                for_s = min(max(_FRESH_S, 20 * (time.monotonic() - began)), _OLDEST_S)
                kept = {k: v for k, v in self._made.items() if began - v[1] < _OLDEST_S}
                self._made = {**kept, since: (for_s, began, board)}
            return board


@dataclass(frozen=True, slots=True)
class Row:
    """A version at a glance, with what fires about it."""

    line: Line
    alerts: tuple[Standing, ...]

    @property
    def worst(self) -> Severity | None:
        """The gravest alert that fires."""
        firing = [one.severity for one in self.alerts if one.state is AlertState.FIRING]
        return min(firing, key=_SEVERITIES.index, default=None)


def overview(boards: Boards, since: str) -> dict[str, Any]:
    """Every model; those about which something fires first.

    Args:
        boards: of all models.
        since: how far back: `6h`.

    Raises:
        InvalidError: `since` is no length of time, or more than one answer holds.
    """
    now = now_ns() / 1e9
    board = boards.of(since)
    rows = [Row(line, _about(line, board.alerts)) for line in board.lines]
    firing = [one for one in board.alerts if one.state is AlertState.FIRING]
    return {
        "rows": sorted(rows, key=_gravest_first)[:_MOST],
        "more": max(0, len(rows) - _MOST),
        "models": len({line.model for line in board.lines}),
        "requests": sum(line.requests for line in board.lines),
        "errors": sum(line.errors for line in board.lines),
        "firing": len(firing),
        "quiet": sum(bool(one.quiet) for one in firing),
        **_common(board, since, now),
    }


def of_model(watched: Watched, name: str, since: str, *, registered: bool) -> dict[str, Any]:
    """One model: curves, what moved, its alerts.

    Args:
        watched: what is known.
        name: of the model.
        since: how far back.
        registered: the registry has it.

    Raises:
        InvalidError: no name, or no length of time.
        NotFoundError: neither registry nor watch knows it.
    """
    now = now_ns() / 1e9
    begin = now - seconds_of(since)
    board = watched.board(model_name(name), begin, now)
    if not (registered or board.lines):
        raise NotFoundError(f"there is no model '{name}', and none was seen in that time")
    return {
        "name": name,
        "registered": registered,
        "rows": [Row(line, _about(line, board.alerts)) for line in board.lines],
        "plots": [plot(chart) for chart in charts(watched.series, name, begin, now)],
        "moved": ranking(watched.series, name, begin, now),
        **_common(board, since, now),
    }


def stale(board: Board, now: float) -> str:
    """Why what is shown is old or missing; empty = it is not.

    Args:
        board: of the watch.
        now: seconds since 1970, UTC.
    """
    # Where machines share a database each has a duty of its own, named after it.
    looks = [
        duty.ran_ns / 1e9
        for duty in board.duties
        if duty.name.partition(" ")[0] == _LOOK and duty.ran_ns
    ]
    if not looks:
        return "Nobody watches: no worker has looked yet. It runs as part of: modelworks up"
    if now - max(looks) <= STALE_S:
        return ""
    minutes = int((now - max(looks)) // 60)
    return (
        f"The watch stands still: its last look was {minutes} minutes ago, and what is shown is as "
        "old. The worker runs as part of: modelworks up"
    )


def _common(board: Board, since: str, now: float) -> dict[str, Any]:
    return {
        "since": since,
        "spans": SPANS,
        "alerts": sorted(board.alerts, key=_told_first),
        "stale": stale(board, now),
        "troubles": [duty for duty in board.duties if duty.error],
        "duties": board.duties,
        "machine": [
            (k.removeprefix("host_").replace("_", " "), v) for k, v in board.machine.items()
        ],
    }


def _about(line: Line, alerts: Iterable[Standing]) -> tuple[Standing, ...]:
    """Alerts on a version's labels: a label that an alert has not speaks of all."""
    return tuple(
        one
        for one in alerts
        if one.labels.get("model") == line.model
        and one.labels.get("version", line.version) == line.version
        and one.labels.get("deployment", line.deployment) == line.deployment
    )


def _gravest_first(row: Row) -> tuple[int, str, str, str]:
    worst = len(_SEVERITIES) if row.worst is None else _SEVERITIES.index(row.worst)
    return worst, row.line.model, row.line.version, row.line.deployment


def _told_first(one: Standing) -> tuple[bool, bool, int, int]:
    pending = one.state is not AlertState.FIRING
    return pending, bool(one.quiet), _SEVERITIES.index(one.severity), -one.since_ns
