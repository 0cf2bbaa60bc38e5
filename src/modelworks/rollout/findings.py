"""All comparisons of a candidate that a plan asks for, each with its part of the risk."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from modelworks.core.errors import InvalidError
from modelworks.core.rollouts import (
    ArmEvidence,
    Finding,
    Metric,
    Outcome,
    Plan,
    Strategy,
    Sums,
)
from modelworks.rollout.compare import Comparison, compare
from modelworks.rollout.spending import Levels, levels
from modelworks.rollout.words import EVERYTHING, said, unmeasured
from modelworks.stats.multiple import holm_found

_TRUTH = 0.5  # of the labels that were promised: what comes first is not like the rest


def findings(plan: Plan, stable: ArmEvidence | None, candidate: ArmEvidence) -> tuple[Finding, ...]:
    """Primary, guardrails and slices of one candidate.

    Args:
        plan: that names them.
        stable: what the stable arm has earned in this step; None = nothing.
        candidate: the same of the candidate.

    Returns:
        The worst first: what is harmed, then what is not proved, then what is; among equals the
        plan's order.
    """
    one = _One(plan, stable or ArmEvidence(plan.stable, 0), candidate, levels(plan))
    found = [
        one.judged(plan.primary, superior=superior(plan)),
        *(one.judged(metric) for metric in plan.guardrails),
        *one.sliced(),
    ]
    order = (Outcome.ROLL_BACK, Outcome.HOLD, Outcome.PROMOTE)
    return tuple(sorted(found, key=lambda finding: order.index(finding.outcome)))


def superior(plan: Plan) -> bool:
    """Whether the primary has to be better, not just no worse."""
    return plan.superiority or plan.strategy in {Strategy.EXPERIMENT, Strategy.BANDIT}


@dataclass(frozen=True, slots=True)
class _One:
    """A candidate beside the stable arm."""

    plan: Plan
    stable: ArmEvidence
    candidate: ArmEvidence
    levels: Levels

    def judged(self, metric: Metric, *, superior: bool = False) -> Finding:
        sums = self.stable.metrics.get(metric.name), self.candidate.metrics.get(metric.name)
        try:
            found = compare(metric, *sums, self.levels.harm, self.levels.fine, superior=superior)
        except InvalidError as error:
            return self._unfit(metric, error)
        return self._finding(metric, found, self._ripe(metric, sums[1]), better=superior)

    def sliced(self) -> Iterator[Finding]:
        """The primary in every declared slice; no worse is enough there (Holm)."""
        metric, names = self.plan.primary, self.plan.slices
        unfit: dict[str, InvalidError] = {}

        def at(place: int, fine: float) -> Comparison | None:
            if names[place] in unfit:
                return None
            one, other = (
                arm.slices.get(names[place], {}).get(metric.name)
                for arm in (self.stable, self.candidate)
            )
            try:
                return compare(metric, one, other, self.levels.harm, fine)
            except InvalidError as error:
                unfit[names[place]] = error
                return None

        def passes(place: int, level: float) -> bool:
            found = at(place, level)
            return found is not None and found.passed

        passed = holm_found(passes, len(names), self.levels.slices)
        for place, name in enumerate(names):
            found = at(place, self.levels.slices / max(1, len(names) - sum(passed)))
            if name in unfit:
                yield self._unfit(metric, unfit[name], name)
                continue
            if found is not None:
                found = replace(found, passed=passed[place])
            sums = self.candidate.slices.get(name, {}).get(metric.name)
            yield self._finding(metric, found, self._ripe(metric, sums, name), name)

    def _ripe(self, metric: Metric, sums: Sums | None, where: str = EVERYTHING) -> bool:
        """Whether enough of the truth has come to prove anything good."""
        if not metric.labelled or sums is None:
            return True
        if where != EVERYTHING:  # how many requests fell into a slice is not counted apart
            sums = self.candidate.metrics.get(metric.name, Sums())
        return sums.count >= _TRUTH * self.plan.labels * self.candidate.requests

    def _unfit(self, metric: Metric, error: InvalidError, where: str = EVERYTHING) -> Finding:
        """Of sums that cannot be: they promote nothing, and stop no other metric's rollback."""
        prefix = "" if where == EVERYTHING else f"for {where}, "
        words = f"{prefix}{metric.name} of {self.candidate.arm} cannot be judged: {error.message}"
        return Finding(
            *(metric.name, where, self.candidate.arm, 0, 0, 0, None, None),
            *(metric.margin, Outcome.HOLD, words),
        )

    def _finding(
        self,
        metric: Metric,
        found: Comparison | None,
        ripe: bool,  # noqa: FBT001
        where: str = EVERYTHING,
        *,
        better: bool = False,
    ) -> Finding:
        arm = self.candidate.arm
        who = "the new version" if len(self.plan.candidates) == 1 else arm
        if found is None:
            words = unmeasured(metric, who, where)
            return Finding(
                metric.name, where, arm, 0, 0, 0, None, None, metric.margin, Outcome.HOLD, words
            )
        outcome = Outcome.HOLD
        if found.harmed:
            outcome = Outcome.ROLL_BACK
        elif found.passed and ripe:
            outcome = Outcome.PROMOTE
        words = said(metric, found, outcome, who, where, better=better)
        if found.passed and not ripe:
            words = f"{words}; the truth of too few answers is known"
        return Finding(
            metric.name,
            where,
            arm,
            found.stable,
            found.candidate,
            found.difference,
            found.low,
            found.high,
            found.margin,
            outcome,
            words,
        )
