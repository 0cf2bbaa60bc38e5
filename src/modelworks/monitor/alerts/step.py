"""How alerts go on: from what was known and what is found now to what is known, and what happened.

A pure function of its arguments: a restart in between changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from modelworks.core.alerts import Alert, AlertState
from modelworks.monitor.alerts.findings import Finding
from modelworks.monitor.alerts.template import filled
from modelworks.protocol.manifest.alerts.rules import Rule

SECOND: Final = 1_000_000_000
RESOLVED_KEPT: Final = 86_400 * SECOND
"""How long an alert that ended is shown, and may still be told."""
UNSEEN: Final = 3600 * SECOND
"""After such a time without evaluation `for` begins anew: nobody knows what was meanwhile."""

AlertKey = tuple[str, tuple[tuple[str, str], ...]]


class Happened(StrEnum):
    """To an alert."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    DROPPED = "dropped"  # it was pending, and is not true any more


@dataclass(frozen=True, slots=True)
class Held:
    """What is remembered of an alert.

    Attributes:
        alert: as it is.
        seen_ns: when its rule was evaluated last.
        quiet_ns: since when it is not true and fires on nevertheless; 0 = it is true.
        acknowledged_by: who looks after it; empty = nobody said so.
        acknowledged_ns: when they said so.
        comment: of theirs.
    """

    alert: Alert
    seen_ns: int
    quiet_ns: int = 0
    acknowledged_by: str = ""
    acknowledged_ns: int = 0
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to an alert."""

    what: Happened
    alert: Alert


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one rule's evaluation came to.

    Attributes:
        held: by key; what is not there is forgotten.
        events: in a stable order.
    """

    held: Mapping[AlertKey, Held]
    events: Sequence[Event]


def step(
    rule: Rule,
    said: str,
    common: Mapping[str, str],
    findings: Iterable[Finding],
    held: Mapping[AlertKey, Held],
    now: int,
) -> Stepped:
    """Take one rule further.

    Args:
        rule: as written.
        said: its summary, where it has none of its own.
        common: labels of all rules of its document.
        findings: of now, those of `missing: fire` among them.
        held: of this rule.
        now: UTC nanoseconds.
    """
    after: dict[AlertKey, Held] = {}
    events: list[Event] = []
    known: set[AlertKey] = set()
    added = {**common, **rule.labels}
    for finding in findings:
        if not finding.active and not finding.holds and not held:
            continue  # nearly all of them, nearly always
        labels = {**finding.labels, **added}
        key = rule.name, tuple(sorted(labels.items()))
        before = held.get(key)
        known.add(key)
        fires = before is not None and before.alert.state is AlertState.FIRING
        if finding.holds if fires else finding.active:
            after[key] = _true(rule, said, labels, finding, before, events, now)
        elif before is not None:
            _keep(after, key, _untrue(rule, before, events, now, finding.value))
    for key, before in held.items():
        if key not in known:
            _keep(after, key, _unknown(rule, before, events, now))
    return Stepped(after, events)


def ended(held: Mapping[AlertKey, Held], now: int) -> Stepped:
    """What becomes of the alerts of a rule that is there no more."""
    after: dict[AlertKey, Held] = {}
    events: list[Event] = []
    for key, before in held.items():
        _keep(after, key, _over(before, events, now))
    return Stepped(after, events)


def _keep(after: dict[AlertKey, Held], key: AlertKey, held: Held | None) -> None:
    if held is not None:
        after[key] = held


def _true(
    rule: Rule,
    said: str,
    labels: Mapping[str, str],
    finding: Finding,
    before: Held | None,
    events: list[Event],
    now: int,
) -> Held:
    words: dict[str, str | float] = {
        **labels,
        **finding.words,
        "value": finding.value,
        "rule": rule.name,
        "severity": rule.severity.value,
    }
    went_on = before is not None and (
        before.alert.state is AlertState.FIRING
        or (before.alert.state is AlertState.PENDING and now - before.seen_ns <= UNSEEN)
    )
    since = before.alert.since_ns if before is not None and went_on else now
    fired = before.alert.fired_ns if before is not None and went_on else 0
    fires = went_on and before is not None and before.alert.state is AlertState.FIRING
    firing = fires or now - since >= rule.for_ * SECOND
    alert = Alert(
        rule=rule.name,
        labels=labels,
        state=AlertState.FIRING if firing else AlertState.PENDING,
        severity=rule.severity,
        value=finding.value,
        summary=filled(rule.summary or said, words),
        since_ns=since,
        fired_ns=fired if fires else (now if firing else 0),
        annotations={name: filled(text, words) for name, text in rule.annotations.items()},
        runbook=rule.runbook,
    )
    if firing and not fires:
        events.append(Event(Happened.FIRING, alert))
    elif not went_on:
        events.append(Event(Happened.PENDING, alert))
    if before is None or not went_on:
        return Held(alert, now)
    return replace(before, alert=alert, seen_ns=now, quiet_ns=0)


def _untrue(
    rule: Rule, before: Held, events: list[Event], now: int, value: float | None = None
) -> Held | None:
    """It is known not to be true."""
    if before.alert.state is AlertState.FIRING:
        quiet = before.quiet_ns or now
        if now - quiet < rule.keep_firing_for * SECOND:
            alert = before.alert if value is None else replace(before.alert, value=value)
            return replace(before, alert=alert, quiet_ns=quiet, seen_ns=now)
    return _over(before, events, now)


def _unknown(rule: Rule, before: Held, events: list[Event], now: int) -> Held | None:
    """Nothing is known of it."""
    if rule.missing == "keep" and before.alert.state is not AlertState.RESOLVED:
        return replace(before, seen_ns=now)
    return _untrue(rule, before, events, now)


def _over(before: Held, events: list[Event], now: int) -> Held | None:
    state = before.alert.state
    if state is AlertState.PENDING:
        events.append(Event(Happened.DROPPED, before.alert))
        return None
    if state is AlertState.RESOLVED:
        return before if now - before.alert.ended_ns < RESOLVED_KEPT else None
    alert = replace(before.alert, state=AlertState.RESOLVED, ended_ns=now)
    events.append(Event(Happened.RESOLVED, alert))
    return replace(before, alert=alert, seen_ns=now, quiet_ns=0)
