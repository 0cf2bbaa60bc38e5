"""The duty that carries roll-outs on: every second it counts, lets the rules judge, and acts."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelworks.control.replaying.standing import NoReplays, Replays, Standing
from modelworks.control.rollouts.evidence import Further, Gatherer, Seen, restored
from modelworks.control.rollouts.grounds.ground import Among, Look, Sights, among
from modelworks.control.rollouts.kept import DONE, Kept
from modelworks.control.rollouts.service import Rollouts
from modelworks.control.watching.duty import Done
from modelworks.core.errors import ModelworksError
from modelworks.core.rollouts import Phase, Plan

GRACE_S: Final = 5.0
"""After its end a route stands so long: the server takes up the moved alias meanwhile."""
_FURTHER_S: Final = 15.0
_READING_S: Final = 10.0
"""Of one look at all roll-outs; who is not read for then is read for at the next one."""
_NS: Final = 1_000_000_000
_NOBODY: Final = NoReplays()


class Advance:
    """Roll-outs of one tenant.

    Args:
        rollouts: the verbs.
        sights: of the arms, by what they are.
        further: what is known of a plan's arms beside what servers count.
        replays: how far the replays are that a plan wants before its first step.
    """

    name = "rollouts"
    every_s = 1.0
    deadline_s = 30.0

    def __init__(
        self,
        rollouts: Rollouts,
        sights: Sights,
        further: Gatherer,
        replays: Replays = _NOBODY,
    ) -> None:
        self._rollouts = rollouts
        self._sights = sights
        self._gather = further
        self._replays = replays
        self._begun = False
        self._known: dict[str, tuple[int, float, Mapping[str, Further]]] = {}
        self._reading_ends = 0.0

    def run(self, now: float, state: Mapping[str, Any]) -> Done:
        """See `Duty`. What is repeated after a kill is judged once more on the same evidence."""
        left: dict[str, Any] = {}
        said = []
        looks: dict[Among, Look] = {}
        self._reading_ends = time.monotonic() + _READING_S
        if not self._begun:  # somebody may have emptied the folder of what runs meanwhile
            self._rollouts.carry_out()
            self._begun = True
        unfinished = self._rollouts.unfinished()
        waiting = [one.rollout for one in unfinished if one.rollout.phase is Phase.WAITING]
        self._replays.keep([one.plan.name for one in waiting])
        for kept in unfinished:
            name = kept.rollout.plan.name
            try:
                if kept.rollout.phase is Phase.RUNNING:
                    kind = among(kept.rollout.plan)
                    if kind not in looks:
                        looks[kind] = self._sights[kind].look(_running(unfinished, kind))
                    look = looks[kind]
                    left[name] = self._judge(kept, look(kept), int(now * _NS), state.get(name, {}))
                else:
                    self._carry_on(kept, int(now * _NS))
                    if kept.rollout.phase is Phase.PAUSED:
                        left[name] = state.get(name, {})  # what was earned counts after it
            except ModelworksError as error:  # the others go on
                said.append(f"{name}: {error.message}")
                left[name] = state.get(name, {})
        return Done(state=left, said="; ".join(said))

    def _carry_on(self, kept: Kept, now_ns: int) -> None:
        """What is to be done for one that is not judged."""
        plan = kept.rollout.plan
        phase = kept.rollout.phase
        if phase is Phase.WAITING:
            why = self._sights[among(plan)].unready(plan)
            played = self._replays(plan) if plan.replay and not why else Standing()
            why = why or played.waits
            if played.fails:
                self._rollouts.abort(plan.name, played.fails, Phase.ROLLED_BACK)
            elif not why:
                self._rollouts.ready(plan.name)
            elif now_ns - kept.rollout.changed_ns > plan.most_s * _NS:
                words = f"the new version was not ready in all the time it had: {why}"
                self._rollouts.abort(plan.name, words, Phase.ROLLED_BACK)
            else:
                self._rollouts.wait(plan.name, why)
        elif phase in DONE and now_ns - kept.ended_ns > GRACE_S * _NS:
            self._rollouts.settle(plan.name)

    def _judge(
        self,
        kept: Kept,
        servers: Sequence[Seen],
        now_ns: int,
        told: Mapping[str, Any],
    ) -> dict[str, Any]:
        rollout = kept.rollout
        fresh = told.get("since_ns") != rollout.step_ns
        earned = restored(told, rollout.step_ns)
        stable = rollout.plan.stable
        if fresh and not kept.shares.get(stable):
            # Nobody stands beside the candidate now: it is held against what the stable arm earned
            # in the step before, so that harm is still seen while the last step bakes.
            earned.arms[stable] = dict(told.get("arms", {}).get(stable, {}))
        earned.look(rollout.plan.route, servers)
        if not fresh:  # the first look of a step says from where to count
            further = self._further(rollout.plan, rollout.step_ns, now_ns)
            sticky = kept.asked.source is not None
            evidence = earned.evidence(rollout.plan, kept.shares, now_ns, further, sticky=sticky)
            self._rollouts.look(rollout.plan.name, evidence)
        return earned.document()

    def _further(self, plan: Plan, since_ns: int, now_ns: int) -> Mapping[str, Further]:
        """It is read from the store of records: seldom."""
        known = self._known.get(plan.name)
        at = time.monotonic()
        mine = known if known is not None and known[0] == since_ns else None
        if mine is not None and (at - mine[1] < _FURTHER_S or at > self._reading_ends):
            return mine[2]
        if at > self._reading_ends:
            return {}
        found = self._gather(plan, since_ns, now_ns)
        self._known[plan.name] = (since_ns, at, found)
        return found


def _running(unfinished: Sequence[Kept], kind: Among) -> list[Plan]:
    every = [one.rollout for one in unfinished if one.rollout.phase is Phase.RUNNING]
    return [one.plan for one in every if among(one.plan) is kind]
