"""The verdict of a look: promote, hold, roll back, inconclusive; pure, and the same for the same.

Harm is acted on first, whatever else is open. Nothing is promoted on a split that does not hold,
without a request, or without a proof of every metric and slice.
"""

from dataclasses import dataclass
from typing import Final

from modelworks.core.rollouts import (
    ArmEvidence,
    Evidence,
    Finding,
    OnInconclusive,
    Outcome,
    Phase,
    Plan,
    Rollout,
    Strategy,
    Verdict,
)
from modelworks.rollout import bandit, course
from modelworks.rollout.findings import findings
from modelworks.rollout.spending import levels
from modelworks.stats.sequences import split

_NS: Final = 1_000_000_000
_SAID: Final = 3
_UNCHECKED: Final = (
    "the split was not checked: callers stay with one version, and nobody counted them"
)


def decide(rollout: Rollout, evidence: Evidence, now_ns: int) -> Verdict:
    """What is to happen now.

    Args:
        rollout: as it stands; its plan has passed `core.rollouts_check`.
        evidence: of this step.
        now_ns: UTC.
    """
    if rollout.phase is not Phase.RUNNING:
        return Verdict(Outcome.HOLD, f"nothing is judged: the roll-out is {rollout.phase}")
    look = _Look(rollout, evidence, now_ns)
    found = {arm.arm: look.findings(arm) for arm in look.candidates()}
    everything = tuple(sorted((f for of in found.values() for f in of), key=_order))
    harmed = [arm for arm, of in found.items() if of and of[0].outcome is Outcome.ROLL_BACK]
    if harmed:
        return look.rolled_back(harmed, everything)
    ready = [arm for arm, of in found.items() if not look.waits(arm, of)]
    if ready:
        return look.promoted(min(ready, key=lambda arm: _gain(found[arm], look.plan)), everything)
    if now_ns - rollout.began_ns >= look.plan.most_s * _NS:
        return look.time_is_up(found, everything)
    reasons = [reason for arm, of in found.items() for reason in look.waits(arm, of)]
    shares = look.earned() if look.plan.strategy is Strategy.BANDIT else {}
    return Verdict(Outcome.HOLD, _joined(reasons), everything, shares=shares)


@dataclass(frozen=True, slots=True)
class _Look:
    rollout: Rollout
    evidence: Evidence
    now_ns: int

    @property
    def plan(self) -> Plan:
        return self.rollout.plan

    @property
    def share(self) -> float:
        return self.plan.steps[self.rollout.step].share

    def arm(self, name: str) -> ArmEvidence:
        """Evidence from before this step is none."""
        fresh = self.evidence.at_ns >= self.rollout.step_ns
        known = {one.arm: one for one in self.evidence.arms} if fresh else {}
        return known.get(name, ArmEvidence(name, 0))

    def candidates(self) -> list[ArmEvidence]:
        """Those that are still tried."""
        return [self.arm(name) for name in self.plan.candidates if name not in self.out()]

    def out(self) -> set[str]:
        """Candidates that were sent back before, of several."""
        if len(self.plan.candidates) == 1:
            return set()
        given = self.evidence.shares
        return {name for name in self.plan.candidates if given.get(name, 1.0) <= 0}

    def findings(self, candidate: ArmEvidence) -> tuple[Finding, ...]:
        return findings(self.plan, self.arm(self.plan.stable), candidate)

    def waits(self, name: str, found: tuple[Finding, ...]) -> list[str]:
        """Why a candidate does not go on; none = it does."""
        plan, step = self.plan, self.plan.steps[self.rollout.step]
        reasons = []
        odd = self.mismatch()
        if odd:
            reasons.append(odd)
        left = step.bake_s - (self.now_ns - self.rollout.step_ns) / _NS
        if left > 0:
            reasons.append(f"the step stands {_span(left)} more")
        requests = self.arm(name).requests
        wanted = max(step.sample, plan.sample if self.last() else 0)
        if requests < wanted:
            reasons.append(f"{requests} of {wanted} requests of {name} have come")
        if self.share >= 1:  # all was proved before, and nobody stands beside it now
            return reasons
        open_ = [one for one in found if one.outcome is not Outcome.PROMOTE]
        if not self.last():
            open_ = [one for one in open_ if one.difference > one.margin]
        return reasons + [one.sentence for one in open_]

    def last(self) -> bool:
        """Whether this step ends in promotion: all has to be proved."""
        steps = self.plan.steps
        after = self.rollout.step + 1
        return after >= len(steps) or steps[after].share >= 1

    def mismatch(self) -> str:
        """A sentence, where the split of the traffic is not the one that was asked for."""
        if self.plan.strategy is Strategy.BANDIT or not 0 < self.share < 1:
            return ""  # a bandit's shares follow what is earned; copies are not split
        shares = self.evidence.shares or course.shares(self.plan, self.rollout.step)
        shares = {name: share for name, share in shares.items() if share > 0}
        arms = [self.arm(name) for name in shares]
        units = _counted(arms)
        if self.evidence.sticky and not units:
            return ""  # one busy caller would make it one; the sentence of a promotion says so
        counts = [arm.units if units else arm.requests for arm in arms]
        evidence = split.mismatch(counts, list(shares.values()))
        if evidence * levels(self.plan).split < 1:
            return ""
        total = max(sum(counts), 1)
        parts = ", ".join(
            f"{arm.arm} got {count} ({count / total:.1%}, {shares[arm.arm]:.1%} asked)"
            for arm, count in zip(arms, counts, strict=True)
        )
        what = "callers" if units else "requests"
        return f"the split of the {what} does not hold, so that no comparison does: {parts}"

    def rolled_back(self, harmed: list[str], found: tuple[Finding, ...]) -> Verdict:
        out = self.out() | set(harmed)
        ends = out >= set(self.plan.candidates)
        stable = self.plan.stable
        shares = (
            course.alone(self.plan, stable)
            if ends
            else course.shares(self.plan, self.rollout.step, out)
        )
        worst = [one.sentence for one in found if one.outcome is Outcome.ROLL_BACK]
        sentence = f"back to {stable}: {_joined(worst)}"
        if not ends:
            sentence = f"{', '.join(harmed)} is no longer tried: {_joined(worst)}"
        return Verdict(Outcome.ROLL_BACK, sentence, found, harmed[0], shares, ends)

    def promoted(self, name: str, found: tuple[Finding, ...]) -> Verdict:
        plan, step = self.plan, self.rollout.step
        of = [one.sentence for one in found if one.arm == name]
        proof = _joined(of) if self.last() and self.share < 1 else "nothing looks harmed"
        arms = [self.arm(plan.stable), *self.candidates()]
        if self.evidence.sticky and 0 < self.share < 1 and not _counted(arms):
            proof = f"{proof}; {_UNCHECKED}"
        if plan.strategy is Strategy.SHADOW and self.last():
            words = f"{name} passed on copies of the traffic: {proof}"
            return Verdict(Outcome.PROMOTE, words, found, name, ends=True)
        following = plan.steps[step + 1] if step + 1 < len(plan.steps) else None
        if plan.strategy is Strategy.SHADOW or (
            following and (following.share < 1 or following.bake_s or following.sample)
        ):
            words = f"{name} goes on to {plan.steps[step + 1].share:.3g} of the traffic: {proof}"
            shares = course.shares(plan, step + 1)
            return Verdict(Outcome.PROMOTE, words, found, name, shares)
        words = f"all traffic goes to {name}: {proof}"
        return Verdict(Outcome.PROMOTE, words, found, name, course.alone(plan, name), ends=True)

    def time_is_up(
        self, found: dict[str, tuple[Finding, ...]], everything: tuple[Finding, ...]
    ) -> Verdict:
        plan = self.plan
        reasons = [reason for arm, of in found.items() for reason in self.waits(arm, of)]
        if not any(self.arm(name).requests for name in found):
            reasons.insert(0, "no request reached the new version")
        words = f"time is up and nothing is proved: {_joined(reasons)}"
        if plan.on_inconclusive is OnInconclusive.ROLLBACK:
            shares = course.alone(plan, plan.stable)
            return Verdict(Outcome.ROLL_BACK, words, everything, shares=shares, ends=True)
        fit = [name for name, of in found.items() if self.harmless(name, of)]
        wanted = plan.on_inconclusive is OnInconclusive.PROMOTE
        if wanted and fit and plan.strategy is not Strategy.SHADOW:
            name = min(fit, key=lambda arm: _gain(found[arm], plan))
            words = f"{words}; the plan promotes {name} all the same"
            shares = course.alone(plan, name)
            return Verdict(Outcome.PROMOTE, words, everything, name, shares, ends=True)
        if wanted:
            words = f"{words}; too little is known to promote as the plan says"
        return Verdict(Outcome.INCONCLUSIVE, words, everything, ends=True)

    def harmless(self, name: str, found: tuple[Finding, ...]) -> bool:
        """Whether who asked for a promotion without proof may have it."""
        measured = all(one.low is not None or one.high is not None for one in found)
        fine = all(one.difference <= one.margin for one in found)
        enough = self.arm(name).requests >= self.plan.sample
        return measured and fine and enough and not self.mismatch()

    def earned(self) -> dict[str, float]:
        """A bandit's next shares; none where they stay about as they are."""
        names = [self.plan.stable, *(arm.arm for arm in self.candidates())]
        found = bandit.shares(self.plan, [self.arm(name) for name in names])
        found |= dict.fromkeys(self.out(), 0.0)
        before = self.evidence.shares or course.shares(self.plan, self.rollout.step)
        moved = max(abs(found[name] - before.get(name, 0.0)) for name in found)
        return found if moved >= bandit.STEP else {}


def _counted(arms: list[ArmEvidence]) -> bool:
    """Whether callers were, of every arm that was asked."""
    known = any(arm.units for arm in arms)
    return known and all(arm.units or not arm.requests for arm in arms)


def _order(finding: Finding) -> int:
    return (Outcome.ROLL_BACK, Outcome.HOLD, Outcome.PROMOTE).index(finding.outcome)


def _gain(found: tuple[Finding, ...], plan: Plan) -> float:
    """Of the primary, negative = better."""
    return next(
        (one.difference for one in found if one.metric == plan.primary.name and one.slice == "*"),
        0.0,
    )


def _joined(sentences: list[str]) -> str:
    parts = list(dict.fromkeys(sentences))
    more = len(parts) - _SAID
    return "; ".join(parts[:_SAID]) + (f"; and {more} more" if more > 0 else "")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
