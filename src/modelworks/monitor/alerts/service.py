"""Alerts of one tenant: rules are applied, looked at again and again, and told."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from modelworks.core.alerts import AlertState
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.ids import now_ns, uuid7
from modelworks.core.series import SeriesSource
from modelworks.db.engine import TenantScope
from modelworks.monitor.alerts import sending, store
from modelworks.monitor.alerts.acting import UseCase
from modelworks.monitor.alerts.kept import Call
from modelworks.monitor.alerts.match import Silence, fingerprint, matches
from modelworks.monitor.alerts.step import SECOND, Held
from modelworks.monitor.alerts.tick import Ready, Ticked, Ticker, made
from modelworks.monitor.alerts.told import Group, Telling
from modelworks.protocol.manifest import Manifest
from modelworks.protocol.manifest.alerts import AlertRules

LEASE: Final = 120 * SECOND
_KINDS: Final = ("AlertRules", "AlertRouting")


@dataclass(frozen=True, slots=True)
class Applied:
    """One document that was applied.

    Attributes:
        kind: of it.
        name: of it.
        changed: whether it says anything else than before.
    """

    kind: str
    name: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """One alert as it is shown.

    Attributes:
        id: by which it is acknowledged.
        held: what is known.
        quiet: why nobody is told of it; empty = they are.
    """

    id: str
    held: Held
    quiet: str = ""


class Alerts:
    """One tenant's alerts.

    Args:
        scope: the tenant's rows.
        source: of the series; only `tick` reads it.
        use_cases: that actions may name.
        actor: who acts, as recorded.
        clock: UTC nanoseconds; of what people do, and of the lease.
        send: tells a notifier.
    """

    def __init__(
        self,
        scope: TenantScope,
        source: SeriesSource | None = None,
        use_cases: Mapping[str, UseCase] | None = None,
        actor: str = "",
        clock: Callable[[], int] = now_ns,
        send: sending.Send = sending.by_plugin,
    ) -> None:
        self._scope = scope
        self._source = source
        self._actor = actor
        self._clock = clock
        self._ticker = Ticker(scope, dict(use_cases or {}), actor, send)
        self._holder = f"{socket.gethostname()[:100]}/{os.getpid()}/{uuid7()}"
        self._made: Ready | None = None

    # -- documents -----------------------------------------------------------------------------

    def apply(self, manifest: Manifest) -> list[Applied]:
        """Take rules and routing over, all or none; tests in it are left out.

        Raises:
            InvalidError: together with what is applied already it cannot be.
        """
        now = self._clock()
        done = []
        with self._scope.write() as session:
            for loaded in manifest.documents:
                if loaded.document.kind not in _KINDS:
                    continue
                said = loaded.document.model_dump(mode="json", by_alias=True, exclude_unset=True)
                said = {**said, "kind": loaded.document.kind}
                changed = store.put_document(session, said, now, self._actor)
                kind, name = loaded.key
                if changed:
                    store.audit(session, now, self._actor, "apply", f"{kind}/{name}", {})
                done.append(Applied(kind, name, changed))
            made(store.marks(session), store.documents(session))
        return done

    def documents(self) -> list[dict[str, Any]]:
        """What is applied, as it was written, by kind and name."""
        with self._scope.read() as session:
            return store.documents(session)

    def rules(self) -> tuple[AlertRules, ...]:
        """The rules that are applied."""
        found = [one for one in self.documents() if one["kind"] == "AlertRules"]
        return tuple(AlertRules.model_validate(one) for one in found)

    def remove(self, kind: str, name: str) -> None:
        """Let go of a document; alerts of its rules end at the next tick.

        Raises:
            NotFoundError: nobody applied it.
        """
        with self._scope.write() as session:
            if not store.remove_document(session, kind, name):
                raise NotFoundError(f"there is no {kind} '{name}'")
            made(store.marks(session), store.documents(session))
            store.audit(session, self._clock(), self._actor, "delete", f"{kind}/{name}", {})

    # -- what is -------------------------------------------------------------------------------

    def every(self, match: Mapping[str, str] | None = None) -> list[Listed]:
        """Alerts that are pending, fire or ended within a day; the gravest that fire first."""
        now = self._clock()
        with self._scope.read() as session:
            held, silences = store.held(session), store.silences(session)
            ready = self._ready(store.marks(session), lambda: store.documents(session))
        telling = Telling(ready.routing) if ready.routing is not None else None
        quiet = telling.quiet(held, silences, now) if telling is not None else {}
        found = [
            Listed(name, one, quiet.get(name, ""))
            for one in held
            if matches(match or {}, one.alert)
            for name in (fingerprint(one.alert),)
        ]
        return sorted(found, key=_order)

    def groups(self) -> list[Group]:
        """What every notifier was told."""
        with self._scope.read() as session:
            return sorted(store.groups(session).values(), key=lambda one: one.id)

    def calls(self) -> list[Call]:
        """Actions that were called, newest first."""
        with self._scope.read() as session:
            return store.calls(session)

    # -- what people do ------------------------------------------------------------------------

    def silence(
        self, match: Mapping[str, str], until_ns: int, comment: str, since_ns: int = 0
    ) -> Silence:
        """Tell nobody of some alerts for a time.

        Raises:
            InvalidError: it is over already, or everything would be silent.
        """
        now = self._clock()
        since = since_ns or now
        if until_ns <= max(since, now):
            raise InvalidError("the silence is over before it begins; name a later end")
        if not any(value not in {"", "*"} for value in match.values()):
            raise InvalidError("all alerts would be silent: name a label, rule or severity")
        silence = Silence(uuid7(), dict(match), since, until_ns, self._actor, comment)
        with self._scope.write() as session:
            store.put_silence(session, silence)
            detail = {"match": dict(match), "until_ns": until_ns, "comment": comment}
            store.audit(session, now, self._actor, "silence", f"silence/{silence.id}", detail)
        return silence

    def silences(self) -> list[Silence]:
        """All, the one that ends last first; those that are over are kept a week."""
        with self._scope.read() as session:
            return store.silences(session)

    def expire(self, name: str) -> Silence:
        """End a silence now.

        Args:
            name: its id, or how it begins, where that is unique.

        Raises:
            NotFoundError: none, or several, are called so.
        """
        now = self._clock()
        with self._scope.write() as session:
            found = [one for one in store.silences(session) if one.id.startswith(name) and name]
            if len(found) != 1:
                number = "several silences begin" if found else "no silence begins"
                raise NotFoundError(f"{number} with '{name}'; see: modelworks alerts silence list")
            silence = replace(found[0], until_ns=min(now, found[0].until_ns))
            store.put_silence(session, silence)
            store.audit(session, now, self._actor, "expire", f"silence/{silence.id}", {})
        return silence

    def acknowledge(self, match: Mapping[str, str], comment: str = "") -> list[Held]:
        """Say that somebody looks after alerts that fire: nobody is told of them again.

        Args:
            match: labels, `rule`, `severity`, and `id`.
            comment: for the others.

        Raises:
            NotFoundError: none of them fires.
        """
        now = self._clock()
        wanted = dict(match)
        name = wanted.pop("id", "")
        done = []
        with self._scope.write() as session:
            for one in store.held(session):
                here = fingerprint(one.alert).startswith(name) and matches(wanted, one.alert)
                if one.alert.state is AlertState.FIRING and here:
                    taken = replace(
                        one,
                        acknowledged_by=self._actor or "somebody",
                        acknowledged_ns=now,
                        comment=comment,
                    )
                    store.acknowledge(session, taken)
                    done.append(taken)
            if not done:
                raise NotFoundError("no such alert fires; see: modelworks alerts list")
            for one in done:
                subject = f"alert/{one.alert.rule}"
                detail = {"labels": dict(one.alert.labels), "comment": comment}
                store.audit(session, now, self._actor, "acknowledge", subject, detail)
        return done

    # -- what is done again and again ----------------------------------------------------------

    def tick(self, now: int) -> Ticked:
        """Evaluate every rule, keep what is known, tell who is to be told, call actions.

        Where another process is at it, nothing is done. A process that ends in between leaves
        what was not noted as told to be told again: at least once, never less.

        Args:
            now: UTC nanoseconds; never less than at the tick before.

        Raises:
            ModelworksError: the database or the source of series does not answer.
        """
        if self._source is None:
            raise InvalidError("these alerts have no source of series")
        at = self._clock()
        with self._scope.write() as session:
            if not store.lock(session, self._holder, at, at + LEASE):
                return Ticked()
        try:
            with self._scope.read() as session:
                ready = self._ready(store.marks(session), lambda: store.documents(session))
            return self._ticker.run(ready, self._source, now)
        finally:
            with self._scope.write() as session:
                store.unlock(session, self._holder)

    def _ready(
        self, marks: Mapping[tuple[str, str], int], documents: Callable[[], Sequence[Any]]
    ) -> Ready:
        """The rules, made anew where a document has changed."""
        if self._made is None or self._made.marks != marks:
            self._made = made(marks, documents())
        return self._made


_STATES: Final = (AlertState.FIRING, AlertState.PENDING, AlertState.RESOLVED)
_SEVERITIES: Final = ("critical", "warning", "info")


def _order(one: Listed) -> tuple[int, int, int, str]:
    alert = one.held.alert
    severity = _SEVERITIES.index(alert.severity.value)
    return _STATES.index(alert.state), severity, -alert.since_ns, one.id
