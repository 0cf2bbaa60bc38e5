"""Fire drills as data, judged; the plan sees within the drill's bound what the drill breaks."""

from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.rollouts import (
    Direction,
    Finding,
    Kind,
    Metric,
    Outcome,
    Phase,
    Plan,
    Rollout,
    Step,
    Strategy,
    Verdict,
)
from modelworks.rollout.drill import Fault, drills, judged
from modelworks.rollout.why_not import Gate, State, of_rollout, why_not
from modelworks.testing.rollouts import Truth, simulate

pytestmark = pytest.mark.unit
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, 0.005)
PLAN = Plan(
    "fraud-4",
    "fraud",
    "v3",
    ("v4",),
    Strategy.CANARY,
    (Step(0.05, 60.0), Step(0.5, 60.0), Step(1.0)),
    ERRORS,
    guardrails=(
        Metric("accuracy", Kind.RATE, Direction.HIGHER, 0.02),
        Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, 0.2, relative=True),
    ),
    slices=("country=de",),
)
STABLE = {"error_rate": 0.005, "accuracy": 0.9, "latency_p99_ms": 38.0}


def test_a_plan_has_a_drill_for_all_that_it_looks_at():
    found, blind = drills(PLAN, STABLE)
    assert {drill.fault for drill in found} == set(Fault)
    assert blind == ()
    by_fault = {drill.fault: drill for drill in found}
    assert by_fault[Fault.FAILING].metric == "error_rate"
    assert by_fault[Fault.FAILING].expected <= 60
    assert by_fault[Fault.SLOW].delay_ms == pytest.approx(4 * 0.2 * 38.0)
    assert by_fault[Fault.BIASED].slice == "country=de"


def test_what_a_plan_does_not_look_at_is_said_with_the_cure():
    plan = replace(PLAN, guardrails=(), slices=())
    found, blind = drills(plan)
    assert [drill.fault for drill in found] == [Fault.FAILING]
    assert {one.fault for one in blind} == {Fault.WRONG, Fault.SLOW, Fault.BIASED}
    assert any("add the guardrail latency_p99_ms" in one.sentence for one in blind)


@pytest.mark.parametrize("fault", [Fault.FAILING, Fault.WRONG, Fault.SLOW])
def test_the_rules_pass_their_own_drills(fault):
    """Simulated, with a look a second: the median lies within the drill's bound."""
    plan = replace(PLAN, slices=())
    drill = next(one for one in drills(plan, STABLE)[0] if one.fault is fault)
    broken = {
        Fault.FAILING: Truth(error_rate=0.005 + drill.share * 0.995),
        Fault.WRONG: Truth(accuracy=0.9 * (1 - drill.share)),
        Fault.SLOW: Truth(latency_ms=12.0 + drill.delay_ms, sigma=0.3),
    }[fault]
    rng = np.random.default_rng(6)
    ended = [simulate(plan, {"v3": Truth(), "v4": broken}, 100.0, [1.0], rng) for _ in range(9)]
    assert {one.phase for one in ended} == {Phase.ROLLED_BACK}
    assert np.median([one.requests for one in ended]) <= drill.within


def verdict(metric="error_rate", where="*", outcome=Outcome.ROLL_BACK):
    finding = Finding(metric, where, "v4", 0, 0.2, 0.2, 0.1, 0.3, 0.005, outcome, "it fails")
    return Verdict(outcome, "back to v3: it fails", (finding,))


def test_a_drill_is_passed_in_time_and_for_the_right_reason_only():
    drill = next(one for one in drills(PLAN, STABLE)[0] if one.fault is Fault.FAILING)
    assert judged(drill, verdict(), drill.within).passed
    late = judged(drill, verdict(), drill.within + 1)
    assert (late.passed, f"{drill.within} were allowed" in late.sentence) == (False, True)
    other = judged(drill, verdict("latency_p99_ms"), 10)
    assert not other.passed
    assert "rolled back for latency_p99_ms, not for error_rate" in other.sentence
    never = judged(drill, verdict(outcome=Outcome.HOLD), 500)
    assert never.sentence == "the failing candidate was not rolled back: 500 requests reached it"
    assert not judged(drill, None, 500).passed


def test_why_not_says_who_keeps_it_out_and_what_to_do():
    gates = (
        Gate("parity", State.PASSED, "same answers on 1,000 rows", "sha256:1"),
        Gate("approval", State.MISSING, cure="modelworks approve fraud:1.4.0"),
        Gate("fairness", State.FAILED, "selection rates 8 points apart, 5 allowed", "report-7"),
        Gate("carbon", State.FAILED, "3 g a request", required=False),
    )
    found = why_not("fraud:1.4.0", gates)
    assert not found.ready
    assert found.sentence == (
        "fraud:1.4.0 stays out of production: 2 of 3 gates do not let it pass: "
        "fairness (failed), approval (missing)"
    )
    assert found.sentences == (
        "fairness failed: selection rates 8 points apart, 5 allowed (evidence: report-7)",
        "approval was not asked yet; to do: modelworks approve fraud:1.4.0",
        "carbon failed: 3 g a request; it keeps nothing out",
    )
    passed = [replace(gate, state=State.PASSED) for gate in gates]
    assert why_not("fraud:1.4.0", passed).ready
    assert not why_not("fraud:1.4.0", ()).ready
    assert not why_not("fraud:1.4.0", gates[3:]).ready


def test_a_rollout_is_a_gate():
    running = Rollout(PLAN, Phase.RUNNING, 1, 1, 1, verdict=Verdict(Outcome.HOLD, "too early"))
    assert of_rollout(running).said == "running, step 2 of 3: too early"
    back = of_rollout(replace(running, phase=Phase.ROLLED_BACK, verdict=verdict()))
    assert (back.state, back.said) == (State.FAILED, "rolled back: back to v3: it fails")
    assert of_rollout(replace(running, phase=Phase.PROMOTED)).state is State.PASSED
    assert of_rollout(replace(running, phase=Phase.ABORTED)).state is State.FAILED


def test_a_slow_candidate_is_seen_in_the_buckets_that_there_are():
    """Octaves, as servers count: the candidate's all lie in one bucket, above empty ones."""
    octaves = {"1.0": 390, "2.0": 8, "4.0": 2, "8.0": 0, "16.0": 0, "32.0": 0, "inf": 0}
    plan = replace(PLAN, slices=())
    known = STABLE | {"latency_p99_ms": 2.0}
    found, _ = drills(plan, known, octaves, 20.0)
    slow = next(one for one in found if one.fault is Fault.SLOW)
    assert slow.delay_ms == 20.0
    assert slow.expected < 2_000
    narrow = next(one for one in drills(plan, known)[0] if one.fault is Fault.SLOW)
    assert narrow.delay_ms == pytest.approx(4 * 0.2 * 2.0)
