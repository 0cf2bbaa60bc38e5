"""One tick: every rule is evaluated, what is known is kept, who is to be told is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from modelworks.core.alerts import AlertState
from modelworks.core.errors import InvalidError
from modelworks.core.series import SeriesSource
from modelworks.db.engine import TenantScope
from modelworks.monitor.alerts import acting, sending, store
from modelworks.monitor.alerts.acting import UseCase
from modelworks.monitor.alerts.match import Silence, fingerprint
from modelworks.monitor.alerts.ruleset import Evaluated, Ruleset
from modelworks.monitor.alerts.step import SECOND, Held
from modelworks.monitor.alerts.told import Group, Telling
from modelworks.protocol.manifest.alerts import AlertRouting, AlertRules
from modelworks.protocol.manifest.alerts.routing import AlertRoutingSpec

_DAY = 86_400 * SECOND
_SILENCES_KEPT = 7 * _DAY
_CALLS_KEPT = 90 * _DAY


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick came to.

    Attributes:
        rules: that were evaluated; 0 where another process is at it.
        pending: alerts.
        firing: alerts.
        told: messages that were taken.
        failed: messages that were not.
        called: actions that were tried.
    """

    rules: int = 0
    pending: int = 0
    firing: int = 0
    told: int = 0
    failed: int = 0
    called: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """Documents, ready to be used.

    Attributes:
        marks: of the documents that it was made of.
        rules: all of them.
        routing: None = nobody is told.
    """

    marks: Mapping[tuple[str, str], int]
    rules: Ruleset
    routing: AlertRoutingSpec | None


class Ticker:
    """Does it.

    Args:
        scope: the tenant's rows.
        use_cases: that actions may name.
        actor: who acts, as recorded.
        send: tells a notifier.
    """

    def __init__(
        self, scope: TenantScope, use_cases: Mapping[str, UseCase], actor: str, send: sending.Send
    ) -> None:
        self._scope = scope
        self._use_cases = use_cases
        self._actor = actor
        self._send = send

    def run(self, ready: Ready, source: SeriesSource, now: int) -> Ticked:
        """Everything, once.

        Args:
            ready: rules and routing.
            source: of the series.
            now: UTC nanoseconds.
        """
        with self._scope.read() as session:
            before = store.held(session)
            groups, silences = store.groups(session), store.silences(session)
        evaluated = ready.rules.evaluate(source, _by_rule(before), now)
        held = [one for found in evaluated.held.values() for one in found.values()]
        self._write(ready, before, held, evaluated, silences, now)
        told, failed = self._tell(ready.routing, held, groups, silences, now)
        called = self._act(ready.routing, now)
        return Ticked(
            rules=len(ready.rules.rules),
            pending=sum(one.alert.state is AlertState.PENDING for one in held),
            firing=sum(one.alert.state is AlertState.FIRING for one in held),
            told=told,
            failed=failed,
            called=called,
        )

    def _write(
        self,
        ready: Ready,
        before: Sequence[Held],
        after: Sequence[Held],
        evaluated: Evaluated,
        silences: Sequence[Silence],
        now: int,
    ) -> None:
        known = {fingerprint(one.alert): one for one in before}
        left = {fingerprint(one.alert): one for one in after}
        quiet: Mapping[str, str] = {}
        if ready.routing is not None:
            quiet = Telling(ready.routing).quiet(after, silences, now)
        rules = {rule.name: rule for rule in ready.rules.rules}
        with self._scope.write() as session:
            store.forget(session, sorted(known.keys() - left.keys()))
            for name, one in left.items():
                if known.get(name) != one:
                    store.put_held(session, one)
            for call in acting.calls_for(evaluated.events, rules, quiet, now):
                store.add_call(session, call)
            store.forget_silences(session, now - _SILENCES_KEPT)
            store.forget_calls(session, now - _CALLS_KEPT)

    def _tell(
        self,
        routing: AlertRoutingSpec | None,
        held: Sequence[Held],
        groups: Mapping[str, Group],
        silences: Sequence[Silence],
        now: int,
    ) -> tuple[int, int]:
        """Tell who is to be told; how many were, and were not."""
        if routing is None:
            return 0, 0
        plan = Telling(routing).plan(held, groups, silences, now)
        sent = sending.deliver(plan.messages, routing.receivers, now, self._send)
        left = {**plan.groups, **{one.id: one for one in sent}}
        with self._scope.write() as session:
            store.forget_groups(session, sorted(groups.keys() - left.keys()))
            for name, group in left.items():
                if groups.get(name) != group:
                    store.put_group(session, group)
        failed = sum(bool(one.message) for one in sent)
        return len(sent) - failed, failed

    def _act(self, routing: AlertRoutingSpec | None, now: int) -> int:
        actions = {one.name: one for one in routing.actions} if routing is not None else {}
        with self._scope.read() as session:
            due = store.calls(session, due=now)
        for call in reversed(due):
            trying = replace(call, attempts=call.attempts + 1)
            with self._scope.write() as session:
                store.put_call(session, trying)
            done = acting.act(trying, actions, self._use_cases, self._send, now)
            with self._scope.write() as session:
                store.put_call(session, done)
                subject = f"alert/{call.alert.rule}"
                detail = {
                    "action": call.action,
                    "state": done.state.value,
                    "said": done.message,
                    "call": call.id,
                    "attempt": done.attempts,
                }
                store.audit(session, now, self._actor or "alerts", "call", subject, detail)
        return len(due)


def made(marks: Mapping[tuple[str, str], int], documents: Sequence[Any]) -> Ready:
    """Documents, ready to be used.

    Raises:
        InvalidError: two routings, two rules of one name, or composites in a circle.
    """
    rules = [AlertRules.model_validate(one) for one in documents if one["kind"] == "AlertRules"]
    found = [AlertRouting.model_validate(one) for one in documents if one["kind"] == "AlertRouting"]
    if len(found) > 1:
        names = ", ".join(one.metadata.name for one in found)
        raise InvalidError(f"there would be two AlertRoutings, {names}: remove one")
    return Ready(marks, Ruleset(rules), found[0].spec if found else None)


def _by_rule(held: Sequence[Held]) -> dict[str, dict[Any, Held]]:
    ordered = sorted(held, key=lambda one: one.alert.key)
    found = groupby(ordered, key=lambda one: one.alert.rule)
    return {rule: {one.alert.key: one for one in several} for rule, several in found}
