"""How models do, at a glance: figures of a span of time, from series."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modelworks.control.watching.duty import DutyState
from modelworks.control.watching.spans import known, last, whole, width
from modelworks.core.alerts import Alert, AlertState, Severity
from modelworks.core.series import Series, SeriesSource

DISTANCE: Final = "js"
"""The distance that is shown: between 0 and 1, whatever the feature."""
HOURLY_S: Final = 3 * 3600.0
"""How far back the last window of an hour is looked for: it comes minutes after its end."""


@dataclass(frozen=True, slots=True)
class Line:
    """One version of a model, where it runs.

    Attributes:
        model: name.
        version: of it.
        deployment: empty = it runs without one.
        requests: in the span, whatever their outcome.
        errors: of them, our faults.
        rejected: of them.
        invalid: of them, the callers' faults.
        rate: requests a second in the last window.
        p50_ms: of the last window with requests; None = there was none.
        p99_ms: the same.
        drifted: the feature that is farthest from the reference; empty = none is compared.
        drift: its distance (Jensen-Shannon, 0 to 1).
        loss: estimated loss of quality that the costliest feature's drift costs.
        quality: metric and kind -> last value, over all rows.
    """

    model: str
    version: str
    deployment: str = ""
    requests: float = 0.0
    errors: float = 0.0
    rejected: float = 0.0
    invalid: float = 0.0
    rate: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    drifted: str = ""
    drift: float | None = None
    loss: float | None = None
    quality: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert that fires or is pending, and whether anybody is told of it.

    Attributes:
        id: by which it is acknowledged.
        rule: its name.
        labels: what it is about.
        state: of it.
        severity: as its rule says, or its escalation.
        value: that the rule saw last.
        summary: one sentence, with the numbers.
        since_ns: UTC, when it began to be true.
        fired_ns: UTC, when it fired; 0 = it has not.
        runbook: a URL; empty = none.
        quiet: why nobody is told (a silence, a rule of inhibition); empty = they are.
        taken_by: who looks after it; empty = nobody said so.
    """

    id: str
    rule: str
    labels: Mapping[str, str]
    state: AlertState
    severity: Severity
    value: float
    summary: str
    since_ns: int
    fired_ns: int = 0
    runbook: str = ""
    quiet: str = ""
    taken_by: str = ""


def standing(alert: Alert, name: str, quiet: str = "", taken_by: str = "") -> Standing:
    """An alert as a board shows it.

    Args:
        alert: as it is known.
        name: by which it is acknowledged.
        quiet: see `Standing`.
        taken_by: see `Standing`.
    """
    return Standing(
        *(name, alert.rule, dict(alert.labels), alert.state, alert.severity),
        *(alert.value, alert.summary, alert.since_ns, alert.fired_ns, alert.runbook),
        *(quiet, taken_by),
    )


@dataclass(frozen=True, slots=True)
class Board:
    """What the watch knows.

    Attributes:
        since: seconds since 1970, UTC.
        until: the same.
        lines: a line a version.
        alerts: that fire or are pending.
        machine: name of a series -> last value, of the host.
        duties: of the watch.
    """

    since: float
    until: float
    lines: tuple[Line, ...]
    alerts: tuple[Standing, ...] = ()
    machine: Mapping[str, float] = field(default_factory=dict)
    duties: tuple[DutyState, ...] = ()


_HOST: Final = ("host_cpu_share", "host_memory_share", "host_disk_share", "host_load")
Key = tuple[str, str, str]


def board(
    source: SeriesSource,
    model: str,
    since: float,
    until: float,
    alerts: Iterable[Standing] = (),
    duties: Iterable[DutyState] = (),
) -> Board:
    """Gather it.

    Args:
        source: of the series.
        model: one, or a pattern; empty = all.
        since: seconds since 1970.
        until: the same.
        alerts: all that are known.
        duties: of the watch.
    """
    # Of all models the last windows only: a day of every feature is more than one answer holds.
    back = (
        min(since, until - HOURLY_S) if model and not set(model) & set("*?[") else until - HOURLY_S
    )
    lines = _lines(source, {"model": model or "?*"}, since, until, back)
    machine = {
        name: value
        for name in _HOST
        for told in source.select(name, {}, until - 600, until)
        if (value := last(told)) is not None and not told.labels.get("machine")
    }
    open_ = {AlertState.FIRING, AlertState.PENDING}
    shown = tuple(
        alert
        for alert in alerts
        if alert.state in open_ and (not model or alert.labels.get("model", model) == model)
    )
    return Board(since, until, lines, shown, machine, tuple(duties))


def _lines(
    source: SeriesSource, wanted: Mapping[str, str], since: float, until: float, back: float
) -> tuple[Line, ...]:
    found = _Rows()
    for name in ("requests", "errors", "rejected", "invalid"):
        for one in whole(source, name, wanted, since, until):
            found.add(one, name, sum(known(one)))
            if name == "requests" and known(one):
                found.add(one, "rate", known(one)[-1] / width(one))
    for name, of in (("p50_ms", "latency_p50_ms"), ("p99_ms", "latency_p99_ms")):
        for one in whole(source, of, wanted, since, until):
            found.raise_to(one, name, last(one))
    for one in source.select("drift", {**wanted, "method": DISTANCE}, back, until):
        if found.raise_to(one, "drift", last(one)):
            found.of(one)["drifted"] = one.labels.get("feature", "")
    for one in source.select("drift_loss", wanted, back, until):
        found.raise_to(one, "loss", last(one))
    _add_quality(found, source.select("quality", {**wanted, "slice": "[*]"}, back, until))
    return tuple(Line(*key, **values) for key, values in sorted(found.rows.items()))


class _Rows:
    """Figures by model, version and deployment."""

    def __init__(self) -> None:
        self.rows: dict[Key, dict[str, Any]] = {}

    def of(self, one: Series) -> dict[str, Any]:
        """The row that a series belongs to."""
        key = tuple(one.labels.get(name, "") for name in ("model", "version", "deployment"))
        return self.rows.setdefault((key[0], key[1], key[2]), {})

    def add(self, one: Series, name: str, value: float) -> None:
        """Add to a figure: several series may be one row's, as those of machines."""
        row = self.of(one)
        row[name] = row.get(name, 0.0) + value

    def raise_to(self, one: Series, name: str, value: float | None) -> bool:
        """Keep the largest; whether it is this one."""
        row = self.of(one)
        if value is None or (name in row and row[name] >= value):
            return False
        row[name] = value
        return True


def _add_quality(found: _Rows, told: Iterable[Series]) -> None:
    """The last value of each metric over all rows."""
    for one in told:
        value = last(one)
        if value is not None:
            name = f"{one.labels.get('metric', '')} {one.labels.get('kind', '')}".strip()
            found.of(one).setdefault("quality", {})[name] = value
