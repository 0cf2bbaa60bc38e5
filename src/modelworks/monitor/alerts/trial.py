"""Tests of rules: written series go in, and what came out is held against what was expected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from modelworks.core.alerts import Alert, AlertState
from modelworks.monitor.alerts.acting import calls_for
from modelworks.monitor.alerts.kept import CallState
from modelworks.monitor.alerts.match import Silence, matches
from modelworks.monitor.alerts.ruleset import HeldByRule, Ruleset
from modelworks.monitor.alerts.step import SECOND
from modelworks.monitor.alerts.told import Group, Message, Telling
from modelworks.monitor.alerts.written import WrittenSource, source_of
from modelworks.protocol.manifest.alerts.fields import spelt_duration
from modelworks.protocol.manifest.alerts.routing import AlertRoutingSpec
from modelworks.protocol.manifest.alerts.tests import (
    AlertTest,
    Expectation,
    ExpectedAlert,
    ExpectedMessage,
)

_TICKS: Final = 100_000


@dataclass(slots=True)
class _Course:
    """What one test has come to.

    Attributes:
        held: of the rules.
        groups: what was told.
        messages: since the expectation before.
        actions: since the expectation before.
    """

    held: HeldByRule = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)


class Trial:
    """Runs tests.

    Args:
        rules: that are tested; each test begins anew with them.
        routing: who would be told; None = nobody.
    """

    def __init__(self, rules: Ruleset, routing: AlertRoutingSpec | None) -> None:
        self._rules = rules
        self._telling = Telling(routing) if routing is not None else None

    def run(self, test: AlertTest, folder: Path) -> list[str]:
        """One test; what is otherwise than expected, a line each; empty = nothing.

        Args:
            test: as written.
            folder: where its file lies: recordings lie beside it.

        Raises:
            InvalidError: series that are none.
            NotFoundError: a recording that is not there.
        """
        source = source_of(test, folder)
        course, at = _Course(), 0
        lines: list[str] = []
        for expected in test.expect:
            while at <= expected.at:
                if at > _TICKS * test.every:
                    return [*lines, f"more than {_TICKS:,} evaluations: choose a longer every"]
                self._tick(test, source, course, at)
                at += test.every
            lines += _compared(expected, course)
            course.messages, course.actions = [], []
        return lines

    def _tick(self, test: AlertTest, source: WrittenSource, course: _Course, at: int) -> None:
        now = (test.start + at) * SECOND
        evaluated = self._rules.evaluate(source, course.held, now)
        course.held = _acknowledged(test, evaluated.held, at, now)
        if self._telling is None:
            silences: Sequence[Silence] = ()
            quiet: dict[str, str] = {}
        else:
            silences = _silences(test)
            held = [one for found in course.held.values() for one in found.values()]
            quiet = self._telling.quiet(held, silences, now)
            plan = self._telling.plan(held, course.groups, silences, now)
            course.groups = {**plan.groups, **{m.after.id: m.after for m in plan.messages}}
            course.messages += [one for one in plan.messages if not one.notifier]
        rules = {rule.name: rule for rule in self._rules.rules}
        for call in calls_for(evaluated.events, rules, quiet, now):
            if call.state is CallState.DUE:
                course.actions.append(call.action)


def _silences(test: AlertTest) -> list[Silence]:
    return [
        Silence(
            str(number),
            one.match,
            (test.start + one.since) * SECOND,
            (test.start + one.until) * SECOND,
        )
        for number, one in enumerate(test.silences)
    ]


def _acknowledged(test: AlertTest, held: HeldByRule, at: int, now: int) -> HeldByRule:
    said = [one.match for one in test.acknowledge if at - test.every < one.at <= at]
    if not said:
        return held
    return {
        rule: {
            key: replace(one, acknowledged_by="test", acknowledged_ns=now)
            if one.alert.state is AlertState.FIRING and any(matches(m, one.alert) for m in said)
            else one
            for key, one in found.items()
        }
        for rule, found in held.items()
    }


def _compared(expected: Expectation, course: _Course) -> Iterator[str]:
    when = spelt_duration(expected.at)
    if expected.alerts is not None:
        yield from _told(f"at {when}, alerts", *_alerts(expected, expected.alerts, course))
    if expected.messages is not None:
        wanted = [_expected_message(one) for one in expected.messages]
        found = [_message(one) for one in course.messages]
        yield from _told(f"until {when}, messages", wanted, found)
    if expected.actions is not None:
        yield from _told(f"until {when}, actions", expected.actions, course.actions)


def _told(what: str, wanted: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    if wanted == found:
        return
    yield f"{what}:"
    rest = list(found)
    for line in wanted:
        if line in rest:
            rest.remove(line)
            yield f"    {line}"
        else:
            yield f"  - {line}"
    yield from (f"  + {line}" for line in rest)
    if not wanted:
        yield "  - nothing"


def _alerts(
    expected: Expectation, wanted: Sequence[ExpectedAlert], course: _Course
) -> tuple[list[str], list[str]]:
    """What was wanted and what was found, as lines that are the same where they agree."""
    ended = any(one.state is AlertState.RESOLVED for one in wanted)
    found = [
        one.alert
        for held in course.held.values()
        for one in held.values()
        if (not expected.rules or one.alert.rule in expected.rules)
        and (ended or one.alert.state is not AlertState.RESOLVED)
    ]
    lines, left = [], []
    for one in wanted:
        same = next((alert for alert in found if _is(one, alert)), None)
        if same is not None:
            found.remove(same)
            lines.append(_alert(same))
            left.append(_alert(same))
        else:
            lines.append(_expected_alert(one))
    return sorted(lines), sorted([*left, *map(_alert, found)])


def _is(one: ExpectedAlert, alert: Alert) -> bool:
    return (
        alert.rule == one.rule
        and dict(alert.labels) == one.labels
        and alert.state is one.state
        and one.severity in {None, alert.severity}
        and one.summary in {None, alert.summary}
    )


def _alert(alert: Alert) -> str:
    words = f"{alert.state.value} {alert.rule}{_labels(alert.labels)}"
    return f"{words} {alert.severity.value}: {alert.summary}"


def _expected_alert(one: ExpectedAlert) -> str:
    severity = one.severity.value if one.severity is not None else "any severity"
    summary = "any summary" if one.summary is None else one.summary
    return f"{one.state.value} {one.rule}{_labels(one.labels)} {severity}: {summary}"


def _labels(labels: Mapping[str, str]) -> str:
    found = sorted(labels.items())
    return "{" + ", ".join(f'{name}="{value}"' for name, value in found) + "}"


def _message(message: Message) -> str:
    content = message.content
    firing = sorted(alert.rule for alert in content.firing)
    resolved = sorted(alert.rule for alert in content.resolved)
    return _says(message.group.receiver, firing, resolved)


def _expected_message(one: ExpectedMessage) -> str:
    return _says(one.receiver, sorted(one.firing), sorted(one.resolved))


def _says(receiver: str, firing: Sequence[str], resolved: Sequence[str]) -> str:
    words = [f"firing {' '.join(firing)}"] if firing else []
    words += [f"resolved {' '.join(resolved)}"] if resolved else []
    return f"to {receiver}: {', '.join(words)}"
