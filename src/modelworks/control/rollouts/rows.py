"""Roll-outs of one tenant as they are kept: each change is one transaction, told and audited."""

from collections.abc import Callable
from typing import Any, Final

from modelworks.control.rollouts import store
from modelworks.control.rollouts.grounds.ground import same_route
from modelworks.control.rollouts.kept import HOLDING, Event, Kept
from modelworks.control.rollouts.report import store as looks
from modelworks.control.rollouts.report.looks import Look
from modelworks.core import codec
from modelworks.core.desired import Audited
from modelworks.core.errors import ConflictError, NotFoundError
from modelworks.core.rollouts import Evidence, Outcome, Phase, Verdict
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.deploy.store import audit

RULES: Final = "watch"
"""Who acts where the rules do."""
Change = Callable[[Kept], Kept]
Judge = Callable[[Kept], tuple[Kept, Verdict]]


class Rows:
    """See the module.

    Args:
        scope: the tenant's rows.
        actor: who acts.
        clock: UTC nanoseconds.
    """

    def __init__(self, scope: TenantScope, actor: str, clock: Callable[[], int]) -> None:
        self._scope = scope
        self._actor = actor
        self._clock = clock

    def every(self) -> list[Kept]:
        """All, the newest change first."""
        with self._scope.read() as session:
            return store.every(session)

    def unsettled(self) -> list[Kept]:
        """Those that something is still to be done for."""
        with self._scope.read() as session:
            return store.unsettled(session)

    def page(self, after: str, limit: int, route: str = "", phase: str = "") -> list[Kept]:
        """Some, by name: see `store.page`."""
        with self._scope.read() as session:
            return store.page(session, after, limit, route, phase)

    def get(self, name: str) -> Kept:
        """One.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._scope.read() as session:
            return _found(session, name)

    def events(self, name: str) -> list[Event]:
        """What happened to one, oldest first.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._scope.read() as session:
            _found(session, name)
            return store.events(session, name)

    def looks(self, name: str) -> list[Look]:
        """Looks at one that were kept, oldest first.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._scope.read() as session:
            _found(session, name)
            return looks.looks(session, name)

    def begin(self, kept: Kept, sentence: str) -> None:
        """Keep a new one.

        Raises:
            ConflictError: its route has one already, or its name was used.
        """
        plan = kept.rollout.plan
        with self._scope.write() as session:
            for other in store.every(session, HOLDING):
                of = other.rollout.plan
                if same_route(of, plan):
                    raise ConflictError(
                        f"'{plan.route}' has the roll-out '{of.name}' ({other.rollout.phase}): "
                        "end it first",
                        field="route",
                    )
            before = store.get(session, plan.name)
            if before is not None:
                raise ConflictError(
                    f"there was a roll-out '{plan.name}' ({before.rollout.phase}); what was found "
                    "is kept: give this one another name (metadata.name)",
                    field="name",
                )
            self._save(session, kept, sentence, self._actor)
            self._audit(session, "start", plan.name, {"plan": codec.encode(plan)})

    def change(self, name: str, change: Change, act: str, actor: str = "") -> Kept:
        """Change one.

        Args:
            name: of it.
            change: what it becomes; its reason is the event's sentence.
            act: for the audit; empty = the rules do it, and it is none.
            actor: empty = who acts here.
        """
        with self._scope.write() as session:
            after = change(_found(session, name))
            self._save(session, after, after.rollout.reason, actor or self._actor)
            if act:
                self._audit(session, act, name, {"reason": after.rollout.reason})
        return after

    def judge(self, name: str, evidence: Evidence, judge: Judge) -> tuple[Kept, bool]:
        """Let the rules look at one that runs.

        Returns:
            It afterwards, and whether anything came of it: a hold is kept, and is no event.
        """
        now = self._clock()
        with self._scope.write() as session:
            kept = _found(session, name)
            if kept.rollout.phase is not Phase.RUNNING:
                return kept, False  # somebody was quicker
            after, verdict = judge(kept)
            looks.keep(session, kept.rollout, verdict, evidence, now)
            if verdict.outcome is Outcome.HOLD and after.shares == kept.shares:
                store.put(session, after, now)
                return after, False
            self._save(session, after, verdict.sentence, RULES)
        return after, True

    def put(self, name: str, change: Change) -> Kept:
        """Change one without a word: what was done for it is no event."""
        with self._scope.write() as session:
            after = change(_found(session, name))
            store.put(session, after, self._clock())
        return after

    def alone(self, act: Callable[[list[Kept]], None]) -> None:
        """Do something with all that is not settled, one at a time in all processes."""
        with self._scope.write() as session:
            act(store.unsettled(session))

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


def _found(session: TenantSession, name: str) -> Kept:
    kept = store.get(session, name)
    if kept is None:
        raise NotFoundError(f"no roll-out '{name}'", field="name")
    return kept
