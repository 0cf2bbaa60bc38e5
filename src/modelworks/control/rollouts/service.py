"""The verbs of roll-outs: start, pause, promote, abort; what the rules say is carried out."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from modelworks.control.rollouts import routes, store
from modelworks.control.rollouts.gates import gates_of
from modelworks.control.rollouts.kept import HOLDING, Asked, Event, Kept
from modelworks.control.rollouts.report import store as looks
from modelworks.control.rollouts.report.looks import Look
from modelworks.core import codec
from modelworks.core.desired import Audited
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.ids import now_ns
from modelworks.core.model import Alias, ModelVersion
from modelworks.core.rollouts import Evidence, Outcome, Phase, Plan, Rollout, Strategy
from modelworks.core.rollouts_check import check
from modelworks.core.routes import Snapshot
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.deploy.store import audit
from modelworks.rollout import course
from modelworks.rollout.rules import decide
from modelworks.rollout.why_not import Gate

RULES: Final = "watch"
"""Who acts where the rules do."""
CHAMPION: Final = "champion"
_LETTERS: Final = "abcdefghijklmnop"


class Registry(Protocol):
    """Who knows the models."""

    def show(self, ref: str) -> ModelVersion:
        """One version."""
        ...

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """Move an alias."""
        ...

    def remove_alias(self, name: str, alias: str, reason: str = "") -> None:
        """Take one away."""
        ...


class Rollouts:
    """Roll-outs of one tenant, among versions of a model that one server has.

    Args:
        scope: the tenant's rows.
        registry: of the models.
        file: snapshot of routes that the server follows.
        actor: who acts.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        scope: TenantScope,
        registry: Registry,
        file: Path,
        actor: str = "",
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._scope = scope
        self._registry = registry
        self._file = file
        self._actor = actor
        self._clock = clock

    # -- looking

    def every(self) -> list[Kept]:
        """All, the newest change first."""
        with self._scope.read() as session:
            return store.every(session)

    def get(self, name: str) -> Kept:
        """One.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._scope.read() as session:
            return _found(store.get(session, name), name)

    def history(self, name: str) -> list[Event]:
        """What happened to one, oldest first.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._scope.read() as session:
            _found(store.get(session, name), name)
            return store.events(session, name)

    def looks(self, name: str) -> list[Look]:
        """Looks at one that were kept, oldest first.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._scope.read() as session:
            _found(store.get(session, name), name)
            return looks.looks(session, name)

    def unfinished(self) -> list[Kept]:
        """Those that something is still to be done for."""
        with self._scope.read() as session:
            return [one for one in store.every(session) if not one.settled]

    def gates(self, ref: str) -> tuple[str, list[Gate]]:
        """A version, and what it has to pass before it answers.

        Raises:
            NotFoundError: no such version.
        """
        version = self._registry.show(ref)
        champion = ""
        with suppress(NotFoundError):
            champion = str(self._registry.show(f"{version.name}@{CHAMPION}").version)
        return version.ref, gates_of(version, self.every(), champion)

    # -- acting

    def start(self, plan: Plan, asked: Asked = Asked()) -> Kept:  # noqa: B008 - frozen
        """Begin one; its candidate gets no request before it is loaded and warm.

        Args:
            plan: of it; `route` is a model, arms are its versions.
            asked: how its route parts callers.

        Raises:
            InvalidError: a plan that cannot be carried out; `field` names what is wrong.
            NotFoundError: no such version.
            ConflictError: the model has a roll-out already, or the stable arm does not answer now.
        """
        check(plan)
        self._check_arms(plan)
        now = self._clock()
        rollout = Rollout(plan, changed_ns=now, actor=self._actor, reason=_WAITS)
        kept = Kept(rollout, asked, course.alone(plan, plan.stable))
        with self._scope.write() as session:
            for other in store.every(session, HOLDING):
                if other.rollout.plan.route == plan.route:
                    raise ConflictError(
                        f"'{plan.route}' has the roll-out '{other.rollout.plan.name}' "
                        f"({other.rollout.phase}): end it first",
                        field="route",
                    )
            before = store.get(session, plan.name)
            if before is not None:
                raise ConflictError(
                    f"there was a roll-out '{plan.name}' ({before.rollout.phase}); what was found "
                    "is kept: give this one another name (metadata.name)",
                    field="name",
                )
            self._save(session, kept, f"started by {self._actor}: {_WAITS}", self._actor)
            self._audit(session, "start", plan.name, {"plan": codec.encode(plan)})
        for letter, name in zip(_LETTERS, plan.candidates, strict=False):
            # An alias makes `up` serve and load it beside the champion.
            alias = _alias(plan, letter)
            self._registry.set_alias(plan.route, alias, name, f"roll-out '{plan.name}'")
        self.carry_out()
        return self.get(plan.name)

    def pause(self, name: str, reason: str = "") -> Kept:
        """Let everything stand as it is; nothing is judged, not even harm."""
        return self._moved(name, Phase.PAUSED, f"paused by {self._actor}", reason)

    def resume(self, name: str) -> Kept:
        """Go on; evidence of the step is gathered anew."""
        now = self._clock()

        def change(kept: Kept) -> Kept:
            if kept.rollout.phase is not Phase.PAUSED:
                words = f"the roll-out is {kept.rollout.phase}, not paused"
                raise ConflictError(words, field="phase")
            phase = Phase.RUNNING if kept.rollout.began_ns else Phase.WAITING
            words = f"resumed by {self._actor}"
            moved = course.move(kept.rollout, phase, now, words)
            return replace(kept, rollout=replace(moved, step_ns=now))

        return self._changed(name, change, "resume")

    def promote(self, name: str, reason: str = "", arm: str = "") -> Kept:
        """Give all traffic to a candidate, whatever is proved; who did it is kept.

        Raises:
            InvalidError: of several candidates one has to be named.
        """

        def change(kept: Kept) -> Kept:
            plan = kept.rollout.plan
            chosen = arm or plan.candidates[0]
            if chosen not in plan.candidates or (not arm and len(plan.candidates) > 1):
                known = ", ".join(plan.candidates)
                raise InvalidError(f"arm: one of {known} is wanted", field="arm")
            words = _because(f"{chosen} promoted by {self._actor}, unproved", reason)
            rollout = course.move(kept.rollout, Phase.PROMOTED, self._clock(), words)
            return self._ended(replace(kept, rollout=rollout, shares=course.alone(plan, chosen)))

        return self._changed(name, change, "promote")

    def abort(self, name: str, reason: str = "", phase: Phase = Phase.ABORTED) -> Kept:
        """Give all traffic back to the stable arm."""

        def change(kept: Kept) -> Kept:
            plan = kept.rollout.plan
            words = _because(f"back to {plan.stable} by {self._actor}", reason)
            rollout = course.move(kept.rollout, phase, self._clock(), words)
            return self._ended(
                replace(kept, rollout=rollout, shares=course.alone(plan, plan.stable))
            )

        return self._changed(name, change, "abort")

    # -- what the worker does

    def ready(self, name: str) -> Kept:
        """The candidates are loaded and warm: the first step begins."""
        now = self._clock()

        def change(kept: Kept) -> Kept:
            plan = kept.rollout.plan
            words = f"{', '.join(plan.candidates)} is loaded and warm: the first step begins"
            rollout = course.move(kept.rollout, Phase.RUNNING, now, words)
            return replace(kept, rollout=rollout, shares=course.shares(plan, 0))

        return self._changed(name, change, "", RULES)

    def look(self, name: str, evidence: Evidence) -> Kept:
        """Let the rules judge, and do what they say; a hold is kept, and no event."""
        now = self._clock()
        with self._scope.write() as session:
            kept = _found(store.get(session, name), name)
            if kept.rollout.phase is not Phase.RUNNING:
                return kept  # somebody was quicker
            verdict = decide(kept.rollout, evidence, now)
            looks.keep(session, kept.rollout, verdict, evidence, now)
            shares = verdict.shares or kept.shares
            rollout = course.after(kept.rollout, verdict, now)
            after = replace(kept, rollout=rollout, shares=shares, seen=now)
            if verdict.ends:
                after = self._ended(after)
            if verdict.outcome is Outcome.HOLD and shares == kept.shares:
                store.put(session, after, now)
                return after
            self._save(session, after, verdict.sentence, RULES)
        self.carry_out()
        return after

    def settle(self, name: str) -> Kept:
        """After its end: the alias of who won, the candidates' own away, the route given back."""
        kept = self.get(name)
        plan = kept.rollout.plan
        won = max(kept.shares, key=lambda arm: kept.shares[arm])
        if kept.rollout.phase is Phase.PROMOTED and plan.strategy is not Strategy.SHADOW:
            reason = f"roll-out '{plan.name}': {kept.rollout.reason}"[:500]
            self._registry.set_alias(plan.route, CHAMPION, won, reason)
        for letter, _ in zip(_LETTERS, plan.candidates, strict=False):
            try:
                self._registry.remove_alias(plan.route, _alias(plan, letter), "it is over")
            except NotFoundError:
                continue  # somebody took it away
        with self._scope.write() as session:
            kept = replace(_found(store.get(session, name), name), settled=True)
            store.put(session, kept, self._clock())
        self.carry_out()
        return kept

    def carry_out(self) -> Snapshot:
        """Write the routes of all roll-outs that hold one, in one change."""
        with self._scope.write() as session:  # one at a time: two writers would undo each other
            holding = [one for one in store.every(session) if not one.settled]
            return routes.write(self._file, holding)

    # -- within

    def _check_arms(self, plan: Plan) -> None:
        for name in (plan.stable, *plan.candidates):
            version = self._registry.show(f"{plan.route}:{name}")
            if str(version.version) != name:
                words = f"'{name}': write the version as '{version.version}'"
                raise InvalidError(words, field="stable" if name == plan.stable else "candidates")
        answers = self._registry.show(f"{plan.route}")
        with suppress(NotFoundError):  # a model without a champion is answered by its latest
            answers = self._registry.show(f"{plan.route}@{CHAMPION}")
        if str(answers.version) != plan.stable:
            raise ConflictError(
                f"stable: '{plan.route}' is answered by {answers.version}, not by {plan.stable}: "
                f"`modelworks alias set {plan.route}@{CHAMPION} {plan.stable}`, or name it",
                field="stable",
            )

    def _moved(self, name: str, phase: Phase, words: str, reason: str) -> Kept:
        def change(kept: Kept) -> Kept:
            said = _because(words, reason)
            return replace(kept, rollout=course.move(kept.rollout, phase, self._clock(), said))

        return self._changed(name, change, "pause")

    def _changed(
        self, name: str, change: Callable[[Kept], Kept], act: str, actor: str = ""
    ) -> Kept:
        with self._scope.write() as session:
            after = change(_found(store.get(session, name), name))
            self._save(session, after, after.rollout.reason, actor or self._actor)
            if act:
                self._audit(session, act, name, {"reason": after.rollout.reason})
        self.carry_out()
        return after

    def _ended(self, kept: Kept) -> Kept:
        return replace(kept, ended_ns=self._clock())

    def _save(self, session: TenantSession, kept: Kept, sentence: str, actor: str) -> None:
        now = self._clock()
        store.put(session, kept, now)
        rollout = kept.rollout
        found = rollout.verdict.findings if rollout.verdict and actor == RULES else ()
        store.note(
            session,
            Event(
                *(rollout.plan.name, 0, now, rollout.phase, rollout.step, sentence, actor),
                *(kept.shares, found),
            ),
        )

    def _audit(self, session: TenantSession, act: str, name: str, detail: dict[str, Any]) -> None:
        audit(session, Audited(self._clock(), self._actor, act, f"rollout/{name}", detail))


_WAITS: Final = "waiting for the new version to be loaded and warm"


def _found(kept: Kept | None, name: str) -> Kept:
    if kept is None:
        raise NotFoundError(f"no roll-out '{name}'", field="name")
    return kept


def _alias(plan: Plan, letter: str) -> str:
    return "challenger" if len(plan.candidates) == 1 else f"challenger-{letter}"


def _because(words: str, reason: str) -> str:
    return f"{words}: {reason}" if reason else words
