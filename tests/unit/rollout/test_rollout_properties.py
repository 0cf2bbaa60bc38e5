"""What holds for every plan and all evidence."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.codec import decode, encode
from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Evidence,
    Kind,
    Metric,
    OnInconclusive,
    Outcome,
    Phase,
    Plan,
    Rollout,
    Step,
    Strategy,
    Sums,
    Verdict,
)
from modelworks.core.rollouts_check import problems
from modelworks.rollout import course
from modelworks.rollout.rules import decide

pytestmark = pytest.mark.unit
S = 1_000_000_000
STEPS = {
    Strategy.CANARY: (Step(0.05, 60.0), Step(0.5, 60.0), Step(1.0, 30.0)),
    Strategy.BLUE_GREEN: (Step(0.0, 60.0), Step(1.0, 60.0)),
    Strategy.SHADOW: (Step(0.0, 60.0),),
    Strategy.EXPERIMENT: (Step(0.5, 60.0),),
    Strategy.BANDIT: (Step(0.5),),
}
METRICS = (
    Metric("accuracy", Kind.RATE, Direction.HIGHER, 0.02, relative=True),
    Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, 0.2, relative=True),
    Metric("cost", Kind.MEAN, Direction.LOWER, 0.1),
    Metric("revenue", Kind.MEAN, Direction.HIGHER, 0.1, relative=True, low=0.0, high=0.0),
    Metric("pages", Kind.RATIO, Direction.HIGHER, 0.1),
    Metric("drift", Kind.GIVEN, Direction.LOWER, 0.1, absolute=True),
)


@st.composite
def plans(draw):
    strategy = draw(st.sampled_from(Strategy))
    several = strategy in {Strategy.EXPERIMENT, Strategy.BANDIT}
    return Plan(
        "p",
        "r",
        "v3",
        ("a", "b") if several and draw(st.booleans()) else ("a",),
        strategy,
        STEPS[strategy],
        Metric("error_rate", Kind.RATE, Direction.LOWER, 0.005),
        superiority=draw(st.booleans()),
        guardrails=tuple(draw(st.lists(st.sampled_from(METRICS), max_size=3, unique=True))),
        slices=draw(st.sampled_from([(), ("country=de",)])),
        on_inconclusive=draw(st.sampled_from(OnInconclusive)),
    )


@st.composite
def earned(draw, name):
    count = draw(st.sampled_from([0, 1, 40, 700, 30_000]))
    share = draw(st.sampled_from([0.0, 0.001, 0.02, 0.4, 1.0]))
    events = round(count * share)
    known = draw(st.sets(st.sampled_from([metric.name for metric in METRICS])))
    every = {
        "accuracy": Sums(count, count - events),
        "latency_p99_ms": Sums(count, buckets={"5": count - events, "9": 0, "10": events}),
        "cost": Sums(count, events, events),
        "revenue": Sums(count, 3.0 * events, 9.0 * events),
        "pages": Sums(count, events, events, count, count, events),
        "drift": Sums(count, share, low=share / 2, high=share * 2),
    }
    errors = Sums(count, events)
    return ArmEvidence(
        name,
        count,
        metrics={"error_rate": errors} | {key: every[key] for key in known},
        slices={"country=de": {"error_rate": errors}} if draw(st.booleans()) else {},
    )


@given(plans(), st.data())
def test_every_look_says_something_that_can_be_carried_out(plan, data):
    assert problems(plan) == ()
    step = data.draw(st.integers(0, len(plan.steps) - 1))
    now = data.draw(st.sampled_from([10, 100, 90_000])) * S
    names = data.draw(st.sets(st.sampled_from(["v3", *plan.candidates])))
    arms = tuple(data.draw(earned(name)) for name in sorted(names))
    rollout = Rollout(plan, Phase.RUNNING, step, 1, 1)
    found = decide(rollout, Evidence(now, arms), now)
    again = decide(rollout, Evidence(now, arms), now)
    assert found == again
    assert found.sentence
    assert all(finding.sentence for finding in found.findings)
    if found.shares:
        assert set(found.shares) == {"v3", *plan.candidates}
        assert sum(found.shares.values()) == pytest.approx(1.0)
    sent = {arm.arm: arm.requests for arm in arms}
    moving = found.outcome is Outcome.PROMOTE and plan.steps[step].share < 1
    if moving and found.ends:
        assert sent[found.arm] >= plan.sample
    if found.outcome is Outcome.ROLL_BACK and not found.ends:
        assert found.shares[found.arm] == 0.0
    following = course.after(rollout, found, now)
    assert following.phase is not Phase.RUNNING or following.step < len(plan.steps)
    told = json.loads(json.dumps(encode(found), allow_nan=False))
    assert decode(Verdict, told) == found


@given(earned("a"), earned("v3"))
def test_a_candidate_is_never_both_harmed_and_fine(candidate, stable):
    plan = Plan(
        *("p", "r", "v3", ("a",)),
        Strategy.CANARY,
        (Step(0.5), Step(1.0)),
        Metric("error_rate", Kind.RATE, Direction.LOWER, 0.005),
    )
    rollout = Rollout(plan, Phase.RUNNING, 0, 1, 1)
    fine = decide(rollout, Evidence(S, (stable, candidate)), S)
    other = replace(candidate, arm="v3"), replace(stable, arm="a")
    turned = decide(rollout, Evidence(S, other), S)
    assert not (fine.outcome is turned.outcome is Outcome.ROLL_BACK)
