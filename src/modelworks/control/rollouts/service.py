"""The verbs of roll-outs: start, pause, promote, abort; what the rules say is carried out."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from modelworks.control.rollouts.drills import drill_gate
from modelworks.control.rollouts.gates import gates_of
from modelworks.control.rollouts.gathering.named import fitting
from modelworks.control.rollouts.grounds.ground import Ground, Grounds, among, same_route
from modelworks.control.rollouts.grounds.versions import CHAMPION, Registry
from modelworks.control.rollouts.kept import DONE, Asked, Event, Kept
from modelworks.control.rollouts.report.looks import Look
from modelworks.control.rollouts.rows import RULES, Rows
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.ids import now_ns
from modelworks.core.model import ModelVersion
from modelworks.core.rollouts import Evidence, Phase, Plan, Rollout, Verdict
from modelworks.core.rollouts_check import check
from modelworks.db.engine import TenantScope
from modelworks.rollout import course
from modelworks.rollout.rules import decide
from modelworks.rollout.why_not import Gate

_WAITS: Final = "waiting for the new version"


class Rollouts:
    """Roll-outs of one tenant, among versions of a model or among deployments.

    Args:
        scope: the tenant's rows.
        registry: of the models.
        grounds: what differs between the two.
        actor: who acts.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        scope: TenantScope,
        registry: Registry,
        grounds: Grounds,
        actor: str = "",
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._rows = Rows(scope, actor, clock)
        self._registry = registry
        self._grounds = grounds
        self._actor = actor
        self._clock = clock

    # -- looking

    def every(self) -> list[Kept]:
        """All, the newest change first."""
        return self._rows.every()

    def page(self, after: str, limit: int, route: str = "", phase: str = "") -> list[Kept]:
        """At most `limit` of them by name, those after a name; of a route, in a phase."""
        return self._rows.page(after, limit, route, phase)

    def get(self, name: str) -> Kept:
        """One.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._rows.get(name)

    def history(self, name: str) -> list[Event]:
        """What happened to one, oldest first.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._rows.events(name)

    def looks(self, name: str) -> list[Look]:
        """Looks at one that were kept, oldest first.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._rows.looks(name)

    def unfinished(self) -> list[Kept]:
        """Those that something is still to be done for."""
        return self._rows.unsettled()

    def gates(self, ref: str) -> tuple[str, list[Gate]]:
        """A version, and what it has to pass before it answers.

        Raises:
            NotFoundError: no such version.
        """
        version = self._registry.show(ref)
        kept = self.every()
        champion: ModelVersion | None = None
        with suppress(NotFoundError):
            champion = self._registry.show(f"{version.name}@{CHAMPION}")
        answers = "" if champion is None else str(champion.version)
        found = gates_of(version, kept, answers)
        if champion is None:
            return version.ref, found
        mine = str(version.version)
        plans = [one.rollout.plan for one in kept if one.rollout.plan.route == version.name]
        plan = next((one for one in plans if mine in one.candidates), None)
        return version.ref, [*found, drill_gate(champion, plan)]

    # -- acting

    def start(self, plan: Plan, asked: Asked = Asked()) -> Kept:  # noqa: B008 - frozen
        """Begin one; its candidate gets no request before it is loaded and warm.

        Args:
            plan: of it; `route` is a model and arms are its versions, or `route` is one of the
                manifest and arms are deployments: see `among`.
            asked: how its route parts callers.

        Raises:
            InvalidError: a plan that cannot be carried out; `field` names what is wrong.
            NotFoundError: no such route or arm.
            ConflictError: the route has a roll-out already, or the stable arm does not answer now.
        """
        plan = fitting(plan, lambda ref: self._registry.show(ref).signature)
        check(plan)
        for other in self.unfinished():
            if other.rollout.phase in DONE and same_route(other.rollout.plan, plan):
                self.settle(other.rollout.plan.name)  # two would write one route
        ground = self._ground(plan)
        asked = ground.check(plan, asked)
        rollout = Rollout(plan, changed_ns=self._clock(), actor=self._actor, reason=_WAITS)
        kept = Kept(rollout, asked, course.alone(plan, plan.stable))
        self._rows.begin(kept, f"started by {self._actor}: {_WAITS}")
        ground.prepare(plan)
        self.carry_out()
        return self.get(plan.name)

    def pause(self, name: str, reason: str = "") -> Kept:
        """Let everything stand as it is; nothing is judged, not even harm."""
        return self._moved(name, Phase.PAUSED, f"paused by {self._actor}", reason)

    def resume(self, name: str) -> Kept:
        """Go on, with what was earned meanwhile: a test that began anew would spend more risk."""

        def change(kept: Kept) -> Kept:
            if kept.rollout.phase is not Phase.PAUSED:
                words = f"the roll-out is {kept.rollout.phase}, not paused"
                raise ConflictError(words, field="phase")
            phase = Phase.RUNNING if kept.rollout.began_ns else Phase.WAITING
            words = f"resumed by {self._actor}"
            return replace(kept, rollout=course.move(kept.rollout, phase, self._clock(), words))

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
            shares = course.alone(plan, plan.stable)
            return self._ended(replace(kept, rollout=rollout, shares=shares))

        return self._changed(name, change, "abort")

    # -- what the worker does

    def wait(self, name: str, why: str) -> None:
        """The candidates are not warm yet: say what is waited for, where that is news."""
        kept = self.get(name)
        reason = f"{_WAITS}: {why}"
        if kept.rollout.phase is Phase.WAITING and kept.rollout.reason != reason:
            self._rows.put(name, lambda one: _reasoned(one, reason))

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

        def judge(kept: Kept) -> tuple[Kept, Verdict]:
            verdict = decide(kept.rollout, evidence, now)
            rollout = course.after(kept.rollout, verdict, now)
            shares = verdict.shares or kept.shares
            after = replace(kept, rollout=rollout, shares=shares, seen=now)
            return self._ended(after) if verdict.ends else after, verdict

        after, moved = self._rows.judge(name, evidence, judge)
        if moved:
            self.carry_out()
        return after

    def settle(self, name: str) -> Kept:
        """After its end: who won answers without it, and its route is given back."""
        kept = self.get(name)
        self._ground(kept.rollout.plan).settle(kept)
        kept = self._rows.put(name, lambda one: replace(one, settled=True))
        self.carry_out()
        return kept

    def carry_out(self) -> None:
        """Put the routes of all roll-outs that hold one in force, in one change a ground."""

        def act(holding: list[Kept]) -> None:
            for kind, ground in self._grounds.items():
                ground.carry_out([one for one in holding if among(one.rollout.plan) is kind])

        self._rows.alone(act)

    # -- within

    def _ground(self, plan: Plan) -> Ground:
        return self._grounds[among(plan)]

    def _moved(self, name: str, phase: Phase, words: str, reason: str) -> Kept:
        def change(kept: Kept) -> Kept:
            said = _because(words, reason)
            return replace(kept, rollout=course.move(kept.rollout, phase, self._clock(), said))

        return self._changed(name, change, "pause")

    def _changed(
        self, name: str, change: Callable[[Kept], Kept], act: str, actor: str = ""
    ) -> Kept:
        after = self._rows.change(name, change, act, actor)
        self.carry_out()
        return after

    def _ended(self, kept: Kept) -> Kept:
        return replace(kept, ended_ns=self._clock())


def _reasoned(kept: Kept, reason: str) -> Kept:
    if kept.rollout.phase is not Phase.WAITING:
        return kept  # somebody was quicker
    return replace(kept, rollout=replace(kept.rollout, reason=reason))


def _because(words: str, reason: str) -> str:
    return f"{words}: {reason}" if reason else words
