"""What each test of a roll-out may spend of the risk that was declared.

Every test is valid at all times together, so that looks are free. What is shared out is the number
of tests: candidates, steps (evidence begins anew with each) and metrics. Sums of chances are union
bounds: they hold whatever the tests have to do with one another.
"""

from dataclasses import dataclass
from typing import Final

from modelworks.core.rollouts import Plan, Strategy

MISMATCH: Final = 0.001
"""Chance that a split that is as it should be is ever held for one that is not; it promotes
nothing and rolls nothing back, it stops both."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Chances of error of one test.

    Attributes:
        harm: of holding a candidate for harmed that is not, by a metric or slice in a step.
        fine: of holding a candidate for no worse (or for better) that is not, by a metric.
        slices: the same of all slices together; Holm's procedure shares it out.
        split: of a mismatch that is none, in a step.
    """

    harm: float
    fine: float
    slices: float
    split: float


def levels(plan: Plan) -> Levels:
    """Of each test of a plan.

    `harm` is divided by all tests of all steps: any one of them rolls back. `fine` is divided by
    the candidates only: who is promoted has passed every test, so that the one test that it should
    have failed bounds the chance (Berger, "Multiparameter hypothesis testing and acceptance
    sampling", Technometrics 24, 1982). Steps before the last promote nobody.
    """
    tests = 1 + len(plan.guardrails) + len(plan.slices)
    arms = len(plan.candidates)
    steps = stages(plan)
    fine = plan.false_promotion / arms
    return Levels(plan.false_rollback / (tests * arms * steps), fine, fine, MISMATCH / steps)


def stages(plan: Plan) -> int:
    """How often evidence begins anew: at each step, and when one of several candidates goes.

    A last step that stands for no time is none: nothing is looked at in it. A replay is one more,
    but where the first step goes on from it, since nobody asks the candidate there.
    """
    again = 0 if plan.strategy is Strategy.BANDIT else len(plan.candidates) - 1
    judged = sum(step.share < 1 or step.bake_s > 0 or step.sample > 0 for step in plan.steps)
    return max(1, judged) + again + (plan.replay > 0 and plan.steps[0].share > 0)
