"""What is remembered of alerts as JSON, and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from modelworks.core.alerts import Alert, AlertState, Severity
from modelworks.monitor.alerts.match import fingerprint
from modelworks.monitor.alerts.step import Held
from modelworks.monitor.alerts.told import Group


class CallState(StrEnum):
    """Of a call of an action."""

    DUE = "due"
    DONE = "done"
    FAILED = "failed"  # refused, or nobody answered as often as it was tried
    SKIPPED = "skipped"  # nobody was to be told


@dataclass(frozen=True, slots=True)
class Call:
    """One action, called once for each time that an alert fires.

    Attributes:
        id: the same whenever it is tried again: who is called can tell.
        action: its name.
        state: of the call.
        attempts: so far.
        next_ns: not before this.
        message: what came of it.
        alert: as it fired.
    """

    id: str
    action: str
    state: CallState
    attempts: int
    next_ns: int
    message: str
    alert: Alert


def call_of(alert: Alert, action: str, now: int, quiet: str = "") -> Call:
    """A call to come; `quiet` = why it is not made."""
    name = f"{fingerprint(alert)}-{alert.fired_ns}-{fingerprint(action)}"
    state = CallState.SKIPPED if quiet else CallState.DUE
    return Call(name, action, state, 0, now, quiet, alert)


def alert_to_json(alert: Alert) -> dict[str, Any]:
    """JSON has no infinity: the value is a text."""
    return {**asdict(alert), "value": repr(float(alert.value))}


def alert_from_json(data: Mapping[str, Any]) -> Alert:
    """As it was."""
    return Alert(
        **{
            **data,
            "state": AlertState(data["state"]),
            "severity": Severity(data["severity"]),
            "value": float(data["value"]),
        }
    )


def held_to_json(held: Held) -> dict[str, Any]:
    """All of it."""
    data = asdict(held)
    return {**data, "alert": alert_to_json(held.alert)}


def held_from_json(data: Mapping[str, Any]) -> Held:
    """As it was."""
    return Held(**{**data, "alert": alert_from_json(data["alert"])})


def group_to_json(group: Group) -> dict[str, Any]:
    """All of it."""
    return asdict(group)


def group_from_json(data: Mapping[str, Any]) -> Group:
    """As it was."""
    return Group(**{**data, "told": tuple(data["told"])})
