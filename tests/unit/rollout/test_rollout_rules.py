"""Verdicts: what promotes, holds, rolls back, and what is said of it."""

from dataclasses import replace

import pytest

from modelworks.core.errors import ConflictError, InvalidError
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
)
from modelworks.core.rollouts_check import check, problems
from modelworks.rollout import course
from modelworks.rollout.rules import decide
from modelworks.rollout.spending import levels

pytestmark = pytest.mark.unit
S = 1_000_000_000
NOW = 1_000 * S
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, 0.005)
RIGHT = Metric("accuracy", Kind.RATE, Direction.HIGHER, 0.02)
SLOW = Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, 0.2, relative=True)
CANARY = Plan(
    "fraud-4",
    "fraud",
    "v3",
    ("v4",),
    Strategy.CANARY,
    (Step(0.05, 60.0, 50), Step(0.5, 60.0), Step(1.0)),
    ERRORS,
)


def arm(name, requests, errors, *, slices=(), **more):
    metrics = {"error_rate": Sums(requests, errors), **more}
    parts = {key: {"error_rate": Sums(*sums)} for key, sums in slices}
    return ArmEvidence(name, requests, metrics=metrics, slices=parts)


def evidence(*arms, shares=None):
    return Evidence(NOW, arms, shares or {})


def running(plan=CANARY, step=0, since=100):
    began = NOW - since * S
    return Rollout(plan, Phase.RUNNING, step, began, began, began)


def look(plan=CANARY, step=0, arms=(), since=100, shares=None):
    return decide(running(plan, step, since), evidence(*arms, shares=shares), NOW)


FINE = arm("v3", 9_500, 20), arm("v4", 500, 1)
EVEN = arm("v3", 20_000, 40), arm("v4", 20_100, 41)


def test_a_first_step_wants_time_a_sample_and_nothing_that_looks_harmed():
    assert look(arms=FINE).outcome is Outcome.PROMOTE
    assert look(arms=FINE).shares == {"v3": 0.5, "v4": 0.5}
    assert not look(arms=FINE).ends
    early = look(arms=FINE, since=20)
    assert (early.outcome, early.sentence) == (Outcome.HOLD, "the step stands 40 s more")
    few = look(arms=(arm("v3", 700, 1), arm("v4", 40, 0)))
    assert few.sentence == "40 of 50 requests of v4 have come"
    doubt = look(arms=(FINE[0], arm("v4", 500, 6)))
    assert doubt.outcome is Outcome.HOLD
    assert "not proved yet, 0.5 are allowed" in doubt.sentence


def test_the_last_step_wants_a_proof():
    assert look(step=1, arms=(arm("v3", 900, 2), arm("v4", 910, 2))).outcome is Outcome.HOLD
    found = look(step=1, arms=EVEN)
    assert (found.outcome, found.ends, found.arm) == (Outcome.PROMOTE, True, "v4")
    assert found.shares == {"v3": 0.0, "v4": 1.0}
    assert "proved to be within the 0.5 that are allowed" in found.sentence


def test_harm_rolls_back_at_once_whatever_else_is_open():
    found = look(arms=(arm("v3", 500, 1), arm("v4", 30, 8)), since=2)
    assert (found.outcome, found.ends) == (Outcome.ROLL_BACK, True)
    assert found.shares == {"v3": 1.0, "v4": 0.0}
    assert found.sentence.startswith("back to v3: the new version fails 26 points more often (")
    assert found.sentence.endswith("; 0.5 were allowed")


@pytest.mark.parametrize(
    ("metric", "stable", "candidate", "words"),
    [
        (RIGHT, Sums(9_000, 8_100), Sums(900, 700), "answers rightly 12 points less often"),
        (
            SLOW,
            Sums(9_000, buckets={"10": 8_800, "11": 150, "12": 50}),
            Sums(900, buckets={"10": 700, "19": 0, "20": 200}),
            "the slowest 1 % of answers of the new version take 9.3 ms longer (at least 8)",
        ),
        (
            Metric("cost", Kind.MEAN, Direction.LOWER, 0.1, low=0.0, high=1.0),
            Sums(9_000, 900.0, 200.0),
            Sums(900, 540.0, 400.0),
            "cost of the new version is 0.5 higher",
        ),
        (
            Metric("revenue", Kind.MEAN, Direction.HIGHER, 0.1, relative=True, low=0.0, high=0.0),
            Sums(9_000, 90_000.0, 1_000_000.0),
            Sums(900, 7_200.0, 60_000.0),
            "revenue of the new version is 2 lower",
        ),
        (
            Metric("clicks_a_visit", Kind.RATIO, Direction.HIGHER, 0.05),
            Sums(5_000, 2_500, 2_500, 5_000, 5_000, 2_500),
            Sums(5_000, 2_000, 2_000, 5_000, 5_000, 2_000),
            "clicks_a_visit of the new version is 0.1 lower",
        ),
        (
            Metric("quality", Kind.GIVEN, Direction.HIGHER, 0.02),
            Sums(total=0.9, low=0.89, high=0.91),
            Sums(total=0.8, low=0.79, high=0.81),
            "quality of the new version is 0.1 lower (0.08 to 0.12)",
        ),
        (
            Metric("drift", Kind.GIVEN, Direction.LOWER, 0.1, absolute=True),
            Sums(),
            Sums(total=0.3, low=0.25, high=0.35),
            "drift of the new version is 0.3 (0.25 to 0.35)",
        ),
        (
            Metric("disagreement", Kind.RATE, Direction.LOWER, 0.01, absolute=True),
            Sums(),
            Sums(2_000, 100),
            "says something else in 5 % of the answers",
        ),
    ],
)
def test_every_kind_of_guardrail_rolls_back(metric, stable, candidate, words):
    plan = replace(CANARY, guardrails=(metric,))
    both = (
        arm("v3", 9_500, 20, **{metric.name: stable}),
        arm("v4", 500, 1, **{metric.name: candidate}),
    )
    found = look(plan, arms=both)
    assert found.outcome is Outcome.ROLL_BACK
    assert words in found.sentence
    fine = replace(both[1], metrics=both[1].metrics | {metric.name: stable})
    assert look(plan, arms=(both[0], fine)).outcome is not Outcome.ROLL_BACK
    assert look(plan, arms=(both[0], arm("v4", 500, 1))).outcome is not Outcome.ROLL_BACK


def test_a_guardrail_that_nobody_measured_is_never_promoted():
    plan = replace(CANARY, guardrails=(RIGHT,))
    found = look(plan, 1, EVEN)
    assert found.outcome is Outcome.HOLD
    assert "nothing was measured of accuracy yet" in found.sentence


def test_one_slice_that_is_worse_rolls_back_and_one_that_is_not_proved_holds():
    plan = replace(CANARY, slices=("country=de", "country=fr"))
    de, fr = ("country=de", (10_000, 20)), ("country=fr", (10_000, 20))
    both = arm("v3", 20_000, 40, slices=(de, fr)), arm("v4", 20_000, 40, slices=(de, fr))
    assert look(plan, 1, both).outcome is Outcome.PROMOTE
    worse = arm("v4", 20_000, 420, slices=(de, ("country=fr", (10_000, 400))))
    found = look(plan, 1, (both[0], worse))
    assert found.outcome is Outcome.ROLL_BACK
    assert "for country=fr, the new version fails 3.8 points more often" in found.sentence
    thin = arm("v4", 20_000, 40, slices=(de, ("country=fr", (50, 0))))
    found = look(plan, 1, (both[0], thin))
    assert found.outcome is Outcome.HOLD
    assert "country=fr" in found.sentence
    assert "country=de" not in found.sentence


def test_one_very_busy_caller_of_a_sticky_route_holds_nothing():
    """He is kept with one arm, so that its requests are no chance of their own."""
    busy = arm("v3", 9_500, 20), arm("v4", 4_500, 9)
    assert "the split of the requests" in look(arms=busy).sentence
    sticky = replace(evidence(*busy), sticky=True)
    found = decide(running(), sticky, NOW)
    assert found.outcome is Outcome.PROMOTE
    assert "the split was not checked: callers stay with one version" in found.sentence
    counted = [replace(one, units=units) for one, units in zip(busy, (1_890, 110), strict=True)]
    found = decide(running(), replace(evidence(*counted), sticky=True), NOW)
    assert found.outcome is Outcome.PROMOTE
    assert "not checked" not in found.sentence
    half = [replace(one, units=units) for one, units in zip(busy, (1_890, 0), strict=True)]
    found = decide(running(), replace(evidence(*half), sticky=True), NOW)
    assert "the split was not checked" in found.sentence
    lost = [replace(one, units=units) for one, units in zip(busy, (1_890, 20), strict=True)]
    found = decide(running(), replace(evidence(*lost), sticky=True), NOW)
    assert found.outcome is Outcome.HOLD
    assert "the split of the callers does not hold" in found.sentence


def test_a_split_that_does_not_hold_promotes_nothing_and_says_so():
    off = arm("v3", 20_000, 40), arm("v4", 18_000, 36)
    found = look(step=1, arms=off)
    assert found.outcome is Outcome.HOLD
    assert "the split of the requests does not hold" in found.sentence
    assert "v4 got 18000 (47.4%, 50.0% asked)" in found.sentence
    late = look(step=1, arms=off, since=100_000)
    assert late.outcome is Outcome.INCONCLUSIVE
    wanted = replace(CANARY, on_inconclusive=OnInconclusive.PROMOTE)
    assert look(wanted, 1, off, 100_000).outcome is Outcome.INCONCLUSIVE
    callers = tuple(replace(one, units=2_000) for one in off)
    assert look(step=1, arms=callers).outcome is Outcome.PROMOTE


def test_no_traffic_is_inconclusive_and_never_promoted():
    for wanted in (OnInconclusive.HOLD, OnInconclusive.PROMOTE):
        plan = replace(CANARY, on_inconclusive=wanted)
        assert look(plan, 1, ()).outcome is Outcome.HOLD
        found = look(plan, 1, (), 100_000)
        assert (found.outcome, found.ends) == (Outcome.INCONCLUSIVE, True)
        assert "no request reached the new version" in found.sentence
    back = look(replace(CANARY, on_inconclusive=OnInconclusive.ROLLBACK), 1, (), 100_000)
    assert (back.outcome, back.shares["v3"]) == (Outcome.ROLL_BACK, 1.0)


def test_who_asks_for_it_gets_a_promotion_without_proof_where_nothing_looks_harmed():
    plan = replace(CANARY, on_inconclusive=OnInconclusive.PROMOTE)
    few = arm("v3", 900, 2), arm("v4", 910, 2)
    found = look(plan, 1, few, 100_000)
    assert (found.outcome, found.shares["v4"]) == (Outcome.PROMOTE, 1.0)
    assert "the plan promotes v4 all the same" in found.sentence
    worse = look(plan, 1, (few[0], arm("v4", 910, 9)), 100_000)
    assert worse.outcome is Outcome.INCONCLUSIVE


def test_sums_that_cannot_be_promote_nothing_and_stop_no_rollback():
    plan = replace(CANARY, guardrails=(RIGHT,), slices=("country=de",))
    odd = Sums(100, 101)
    part = (("country=de", (100, 101)),)
    both = (
        arm("v3", 20_000, 40, accuracy=odd, slices=part),
        arm("v4", 20_000, 40, accuracy=odd, slices=part),
    )
    found = look(plan, 1, both)
    assert found.outcome is Outcome.HOLD
    assert "accuracy of v4 cannot be judged: 101 events of 100 requests" in found.sentence
    assert "for country=de, error_rate of v4 cannot be judged" in found.sentence
    broken = arm("v4", 20_000, 4_000, accuracy=odd, slices=part)
    assert look(plan, 1, (both[0], broken)).outcome is Outcome.ROLL_BACK


def test_evidence_from_before_the_step_counts_nothing():
    rollout = replace(running(step=1), step_ns=NOW - 50 * S)
    old = Evidence(NOW - 60 * S, (arm("v3", 500, 1), arm("v4", 30, 20)))
    assert decide(rollout, old, NOW).outcome is Outcome.HOLD


def test_the_truth_of_too_few_answers_promotes_nothing():
    plan = replace(CANARY, guardrails=(replace(RIGHT, labelled=True),), labels=0.5)

    def found(count):
        right = Sums(count, count * 0.9)
        arms = (arm("v3", 20_000, 40, accuracy=right), arm("v4", 20_000, 40, accuracy=right))
        return look(plan, 1, arms)

    assert found(6_000).outcome is Outcome.PROMOTE
    assert found(4_900).outcome is Outcome.HOLD
    assert "the truth of too few answers is known" in found(4_900).sentence


def test_blue_green_is_judged_on_copies_then_watched():
    steps = (Step(0.0, 60.0), Step(1.0, 60.0))
    plan = replace(CANARY, strategy=Strategy.BLUE_GREEN, steps=steps)
    found = look(plan, 0, EVEN)
    assert (found.outcome, found.ends, found.shares["v4"]) == (Outcome.PROMOTE, False, 1.0)
    moved = course.after(running(plan), found, NOW)
    assert (moved.step, moved.phase) == (1, Phase.RUNNING)
    alone = arm("v4", 5_000, 9)
    assert look(plan, 1, (alone,), 30).outcome is Outcome.HOLD
    last = look(plan, 1, (alone,), 61)
    assert (last.outcome, last.ends) == (Outcome.PROMOTE, True)
    broken = look(plan, 1, (EVEN[0], arm("v4", 500, 100)), 5)
    assert (broken.outcome, broken.shares["v3"]) == (Outcome.ROLL_BACK, 1.0)


def test_a_shadow_is_judged_and_moves_nothing():
    plan = replace(CANARY, strategy=Strategy.SHADOW, steps=(Step(0.0, 60.0),))
    found = look(plan, 0, EVEN)
    assert (found.outcome, found.ends, found.shares) == (Outcome.PROMOTE, True, {})
    assert found.sentence.startswith("v4 passed on copies of the traffic")


AB = replace(
    CANARY,
    strategy=Strategy.EXPERIMENT,
    candidates=("a", "b"),
    steps=(Step(0.6),),
    primary=Metric("click_rate", Kind.RATE, Direction.HIGHER, 0.01),
)


def clicks(name, count, rate):
    return ArmEvidence(name, count, metrics={"click_rate": Sums(count, count * rate)})


def test_an_experiment_promotes_who_is_better_and_drops_who_is_worse():
    stable, same = clicks("v3", 40_000, 0.10), clicks("b", 30_000, 0.10)
    shares = {"v3": 0.4, "a": 0.3, "b": 0.3}
    even = look(AB, 0, (stable, clicks("a", 30_000, 0.10), same))
    assert even.outcome is Outcome.HOLD
    assert "click_rate of b is 0 points lower (" in even.sentence
    assert even.sentence.endswith(": not yet proved to be better")
    found = look(AB, 0, (stable, clicks("a", 30_000, 0.12), same), shares=shares)
    assert (found.outcome, found.arm, found.shares["a"]) == (Outcome.PROMOTE, "a", 1.0)
    assert found.sentence.startswith("all traffic goes to a: click_rate of a is 2 points higher (")
    assert found.sentence.endswith("): proved to be better")
    worse = look(AB, 0, (stable, clicks("a", 30_000, 0.07), same), shares=shares)
    assert (worse.outcome, worse.arm, worse.ends) == (Outcome.ROLL_BACK, "a", False)
    assert worse.shares == pytest.approx({"v3": 0.7, "a": 0.0, "b": 0.3})
    moved = course.after(running(AB), worse, NOW)
    assert (moved.phase, moved.step, moved.step_ns) == (Phase.RUNNING, 0, NOW)
    gone = look(AB, 0, (stable, clicks("b", 30_000, 0.07)), shares=worse.shares)
    assert gone.ends


def test_a_bandit_moves_to_who_earns_more():
    plan = replace(AB, strategy=Strategy.BANDIT)
    arms = clicks("v3", 4_000, 0.10), clicks("a", 3_000, 0.105), clicks("b", 3_000, 0.09)
    found = look(plan, 0, arms)
    assert found.outcome is Outcome.HOLD
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.shares["a"] > found.shares["v3"] > found.shares["b"] >= 0.05
    assert look(plan, 0, arms, shares=found.shares).shares == {}  # nothing new: no new route


def test_nothing_is_judged_unless_it_runs():
    paused = replace(running(), phase=Phase.PAUSED)
    found = decide(paused, evidence(arm("v3", 500, 1), arm("v4", 30, 20)), NOW)
    assert found.outcome is Outcome.HOLD
    assert course.after(paused, found, NOW).phase is Phase.PAUSED


def test_the_course_follows_the_table_of_moves():
    rollout = course.move(Rollout(CANARY), Phase.RUNNING, NOW, "warm")
    assert (rollout.began_ns, rollout.step_ns) == (NOW, NOW)
    ended = course.after(rollout, look(step=1, arms=EVEN), NOW + 1)
    assert (ended.phase, ended.verdict.arm) == (Phase.PROMOTED, "v4")
    with pytest.raises(ConflictError, match="promoted: it cannot become running"):
        course.move(ended, Phase.RUNNING, NOW, "again")


def test_all_tests_together_spend_no_more_than_the_risk():
    plan = replace(AB, guardrails=(RIGHT, SLOW), slices=("x", "y"), false_rollback=0.01)
    spent = levels(plan)
    assert spent.harm * 5 * 2 * 2 == pytest.approx(0.01)  # metrics and slices, arms, beginnings
    assert spent.fine * 2 == pytest.approx(plan.false_promotion)
    assert levels(CANARY).harm == pytest.approx(0.01 / 2)  # nothing is looked at in the last step
    watched = replace(CANARY, steps=(*CANARY.steps[:2], Step(1.0, 60.0)))
    assert levels(watched).harm == pytest.approx(0.01 / 3)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"candidates": ()}, "candidates"),
        ({"candidates": ("v3",)}, "candidates"),
        ({"candidates": ("a", "b")}, "candidates"),
        ({"steps": ()}, "steps"),
        ({"steps": (Step(0.5),)}, "steps"),
        ({"steps": (Step(1.0),)}, "steps"),
        ({"steps": (Step(0.5), Step(0.2), Step(1.0))}, "steps[1].share"),
        ({"steps": (Step(0.5, -1), Step(1.0))}, "steps[0].bake_s"),
        ({"strategy": Strategy.SHADOW}, "steps"),
        ({"strategy": Strategy.BLUE_GREEN}, "steps"),
        ({"strategy": Strategy.EXPERIMENT}, "steps"),
        ({"primary": replace(ERRORS, margin=0.0)}, "primary.margin"),
        ({"guardrails": (ERRORS,)}, "guardrails[0]"),
        ({"guardrails": (replace(RIGHT, labelled=True),)}, "guardrails[0].labelled"),
        ({"guardrails": (replace(SLOW, absolute=True),)}, "guardrails[0].absolute"),
        ({"guardrails": (replace(SLOW, quantile=1.0),)}, "guardrails[0].quantile"),
        ({"false_rollback": 0.0}, "false_rollback"),
        ({"sample": 0}, "sample"),
        ({"most_s": 60.0}, "most_s"),
        ({"labels": 2.0}, "labels"),
        ({"slices": ("a", "a")}, "slices"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_its_field(change, field):
    assert problems(CANARY) == ()
    plan = replace(CANARY, **change)
    assert field in [where for where, _ in problems(plan)]
    with pytest.raises(InvalidError) as raised:
        check(plan)
    assert raised.value.field
