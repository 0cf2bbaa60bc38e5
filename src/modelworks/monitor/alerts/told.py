"""Who is told of which alerts, and when: silences, inhibition, groups, repeats, escalation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from modelworks.core.alerts import Alert, AlertState, Notification, Severity
from modelworks.monitor.alerts.match import Silence, fingerprint, matches, seen_labels, silenced_by
from modelworks.monitor.alerts.routes import Flat, Router
from modelworks.monitor.alerts.step import SECOND, Held
from modelworks.protocol.manifest.alerts.routing import AlertRoutingSpec, Inhibition

LATEST_RETRY: Final = 300
_FIRST_RETRY: Final = 10
_ORDER: Final = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Group:
    """What one notifier of a receiver was told of one group.

    Attributes:
        id: of the route, the labels and the notifier.
        receiver: who is told.
        labels: that the alerts share.
        first_ns: when the group began.
        told_ns: when it was told last; 0 = never.
        told: fingerprints of the alerts that it knows to fire.
        failures: in a row.
        next_ns: not before this; 0 = at once.
        message: why it was not told; empty = it was.
    """

    id: str
    receiver: str
    labels: Mapping[str, str]
    first_ns: int
    told_ns: int = 0
    told: tuple[str, ...] = ()
    failures: int = 0
    next_ns: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell.

    Attributes:
        group: as it is.
        after: as it is once it was told.
        notifier: place among the receiver's.
        content: what is said.
    """

    group: Group
    after: Group
    notifier: int
    content: Notification


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now.

    Attributes:
        groups: all that are left, by id, as they are before anything is sent.
        messages: in a stable order.
    """

    groups: Mapping[str, Group]
    messages: Sequence[Message]


@dataclass(slots=True)
class _Members:
    """Of one group.

    Attributes:
        flat: its route.
        labels: in common.
        firing: fingerprint -> alert, and whether it may begin to be told.
        others: those that ended, or fire and are quiet.
    """

    flat: Flat
    labels: dict[str, str]
    firing: dict[str, tuple[Held, bool]] = field(default_factory=dict)
    others: dict[str, Held] = field(default_factory=dict)


def failed(group: Group, message: str, now: int, retry_after: int = 0) -> Group:
    """A group that was not told: later each time, five minutes at most."""
    wait = min(_FIRST_RETRY * 2 ** min(group.failures, 10), LATEST_RETRY)
    at = now + max(wait, min(retry_after, LATEST_RETRY)) * SECOND
    return replace(group, failures=group.failures + 1, next_ns=at, message=message)


class Telling:
    """Decides who is told.

    Args:
        spec: who there is, and who wants what.
    """

    def __init__(self, spec: AlertRoutingSpec) -> None:
        self._spec = spec
        self._router = Router(spec.route)
        self._notifiers = {one.name: max(1, len(one.notifiers)) for one in spec.receivers}

    def plan(
        self,
        held: Iterable[Held],
        groups: Mapping[str, Group],
        silences: Sequence[Silence],
        now: int,
    ) -> Plan:
        """What is to be told now.

        Args:
            held: every alert that fires or ended lately.
            groups: what was told, by id.
            silences: all that there are.
            now: UTC nanoseconds.
        """
        every = sorted(held, key=lambda one: one.alert.key)
        quiet = self.quiet(every, silences, now)
        left: dict[str, Group] = {}
        messages: list[Message] = []
        for members in self._grouped(every, quiet, now).values():
            for place in range(self._notifiers[members.flat.receiver]):
                group, message = self._one(members, place, groups, now)
                if group is not None:
                    left[group.id] = group
                if message is not None:
                    messages.append(message)
        return Plan(left, messages)

    def quiet(self, held: Iterable[Held], silences: Sequence[Silence], now: int) -> dict[str, str]:
        """Fingerprints of alerts that fire and are not told of, and why not."""
        firing = [one for one in held if one.alert.state is AlertState.FIRING]
        found: dict[str, str] = {}
        for one in firing:
            silence = silenced_by(one.alert, silences, now)
            if silence is not None:
                found[fingerprint(one.alert)] = f"silenced by {silence.id}"
        for number, inhibition in enumerate(self._spec.inhibit):
            for alert in _inhibited(inhibition, [one.alert for one in firing]):
                words = f"inhibited by rule {number + 1} of inhibit"
                found.setdefault(fingerprint(alert), words)
        return found

    def _grouped(
        self, held: Iterable[Held], quiet: Mapping[str, str], now: int
    ) -> dict[str, _Members]:
        found: dict[str, _Members] = {}
        for one in held:
            if one.alert.state is AlertState.PENDING:
                continue
            mark = fingerprint(one.alert)
            fires = one.alert.state is AlertState.FIRING and mark not in quiet
            for flat in self._router.of(one.alert):
                seen = seen_labels(one.alert)
                labels = {name: seen[name] for name in flat.group_by if name in seen}
                key = fingerprint_of(flat.path, labels)
                members = found.setdefault(key, _Members(flat, labels))
                if not fires:
                    members.others[mark] = one
                    continue
                waited = now - one.alert.fired_ns >= flat.after * SECOND
                begins = not flat.after or (waited and not one.acknowledged_by)
                members.firing[mark] = one, begins
        return found

    def _one(
        self, members: _Members, place: int, groups: Mapping[str, Group], now: int
    ) -> tuple[Group | None, Message | None]:
        """What one notifier is told."""
        flat = members.flat
        name = f"{fingerprint_of(flat.path, members.labels)}.{place}"
        group = groups.get(name) or Group(name, flat.receiver, members.labels, now)
        told = set(group.told)
        firing = {
            mark: held for mark, (held, begins) in members.firing.items() if begins or mark in told
        }
        ended = {
            mark: held
            for mark, held in members.others.items()
            if mark in told and held.alert.state is AlertState.RESOLVED
        }
        if not firing and not told:
            return None, None
        if now < _ready(group, flat):
            return group, None
        fresh = bool(firing.keys() - told) or bool(ended)
        again = (
            bool(firing)
            and now - group.told_ns >= flat.repeat * SECOND
            and not all(held.acknowledged_by for held in firing.values())
        )
        if not fresh and not again:
            return group, None
        quiet = (mark for mark in members.others if mark in told and mark not in ended)
        after = replace(
            group,
            told_ns=now,
            told=tuple(sorted({*firing, *quiet})),
            failures=0,
            next_ns=0,
            message="",
        )
        content = Notification(
            key=name.partition(".")[0],
            group=members.labels,
            alerts=tuple(_said(flat, [*firing.values()]) + _said(flat, [*ended.values()])),
            repeated=not fresh,
            url=self._spec.url,
        )
        return group, Message(group, after, place, content)


def fingerprint_of(path: str, labels: Mapping[str, str]) -> str:
    """Of a group."""
    return fingerprint((path, tuple(sorted(labels.items()))))


def _ready(group: Group, flat: Flat) -> int:
    """When it may be told."""
    if not group.told_ns:
        return max(group.first_ns + flat.wait * SECOND, group.next_ns)
    return max(group.told_ns + flat.interval * SECOND, group.next_ns)


def _said(flat: Flat, held: Sequence[Held]) -> list[Alert]:
    """The alerts, gravest first, as they are told on this route."""
    alerts = []
    for one in held:
        alert = one.alert
        if flat.severity is not None and alert.state is AlertState.FIRING:
            severity = max(alert.severity, flat.severity, key=_ORDER.index)
            alert = replace(alert, severity=severity)
        alerts.append(alert)
    return sorted(alerts, key=lambda alert: (-_ORDER.index(alert.severity), alert.key))


def _inhibited(inhibition: Inhibition, firing: Sequence[Alert]) -> Iterator[Alert]:
    """As Alertmanager does: two that are both source and target do not inhibit each other."""
    sources: dict[tuple[str, ...], list[tuple[Alert, bool]]] = {}
    equal = inhibition.equal
    for alert in firing:
        if matches(inhibition.source, alert):
            seen = seen_labels(alert)
            same = tuple(seen.get(name, "") for name in equal)
            sources.setdefault(same, []).append((alert, matches(inhibition.target, alert)))
    for alert in firing:
        if not matches(inhibition.target, alert):
            continue
        seen = seen_labels(alert)
        found = sources.get(tuple(seen.get(name, "") for name in equal), ())
        both = matches(inhibition.source, alert)
        if any(source is not alert and not (both and twofold) for source, twofold in found):
            yield alert
