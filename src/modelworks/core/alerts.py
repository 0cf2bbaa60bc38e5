"""What a rule found, and what people and machines are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"  # in the morning
    WARNING = "warning"  # today
    CRITICAL = "critical"  # now


class AlertState(StrEnum):
    """Of one alert."""

    PENDING = "pending"  # true, but not yet for long enough
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule that is true of one set of labels.

    Attributes:
        rule: its name.
        labels: what it is about; with the rule's name they identify it.
        state: of it.
        severity: as its rule says, or its escalation.
        value: that the rule saw last.
        summary: one sentence, with the numbers.
        since_ns: UTC, when it began to be true.
        fired_ns: UTC, when it fired; 0 = it has not.
        ended_ns: UTC, when it ended; 0 = it has not.
        annotations: on-call notes and whatever else the rule brings.
        runbook: a URL.
    """

    rule: str
    labels: Mapping[str, str]
    state: AlertState
    severity: Severity
    value: float
    summary: str
    since_ns: int
    fired_ns: int = 0
    ended_ns: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    runbook: str = ""

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Identifies it."""
        return self.rule, tuple(sorted(self.labels.items()))


@dataclass(frozen=True, slots=True)
class Notification:
    """What one message says: alerts that belong together.

    Attributes:
        key: of the group; the same for every message about it, so that a receiver can replace one.
        group: labels that all of them share.
        alerts: firing and resolved ones, the gravest first.
        repeated: it was told before, and nothing is new.
        url: where more can be seen; empty = nowhere.
    """

    key: str
    group: Mapping[str, str]
    alerts: tuple[Alert, ...]
    repeated: bool = False
    url: str = ""

    @property
    def firing(self) -> tuple[Alert, ...]:
        """Those that fire."""
        return tuple(alert for alert in self.alerts if alert.state is AlertState.FIRING)

    @property
    def resolved(self) -> tuple[Alert, ...]:
        """Those that ended."""
        return tuple(alert for alert in self.alerts if alert.state is AlertState.RESOLVED)

    @property
    def severity(self) -> Severity:
        """The gravest of those that fire; `info` where none does."""
        order = list(Severity)
        return max((alert.severity for alert in self.firing), key=order.index, default=order[0])
