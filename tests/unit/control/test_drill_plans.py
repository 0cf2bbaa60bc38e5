"""Which plan is drilled, which faults are put in, and what is said of the whole."""

from dataclasses import replace

import pytest

from modelworks.cli.drilled import page
from modelworks.control.drilling import one as making
from modelworks.control.drilling.faults import Wanted, drillable, faults_of
from modelworks.control.drilling.one import Fault, allowed
from modelworks.control.drilling.plans import USUAL, of_model, of_rollout
from modelworks.control.drilling.pool import Row
from modelworks.control.drilling.service import program
from modelworks.control.drilling.stable import Stable
from modelworks.control.drilling.traffic import Callers, Load, Seen
from modelworks.control.rollouts.drills import drill_gate
from modelworks.control.rollouts.kept import Kept
from modelworks.core import codec
from modelworks.core.errors import NotFoundError, UnsupportedError
from modelworks.core.model import Artifact, Evidence, Lineage, ModelVersion, Verdict
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
)
from modelworks.core.rollouts import Verdict as Judged
from modelworks.core.rollouts_check import check
from modelworks.core.semver import Semver
from modelworks.core.tensor import Signature
from modelworks.rollout.drill import Drill
from modelworks.rollout.drill import Fault as Of
from modelworks.rollout.drilled import Report, Result, Unseen, digest_of, sentence_of
from modelworks.rollout.why_not import State

pytestmark = pytest.mark.unit
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, 0.005)
RIGHT = Metric("accuracy", Kind.RATE, Direction.HIGHER, 0.02, labelled=True)
LATE = Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, 0.2, relative=True)
PLAN = Plan(
    "fraud-4",
    "fraud",
    "1.0.0",
    ("2.0.0",),
    Strategy.CANARY,
    (Step(0.1, 60.0), Step(1.0)),
    RIGHT,
    guardrails=(ERRORS, LATE),
    slices=("country=de",),
)
OCTAVES = {"1.0": 300, "2.0": 90, "4.0": 8, "8.0": 2, "16.0": 0, "32.0": 0, "64.0": 0, "inf": 0}
STABLE = Stable((), (1,), OCTAVES)


def version(*evidence: Evidence, number: str = "1.0.0") -> ModelVersion:
    artifact = Artifact("sha256:0", "onnx", 1, ())
    signature = Signature((), ())
    made = Semver.parse(number)
    return ModelVersion("default", "fraud", made, artifact, signature, Lineage(), evidence, 1)


def show(ref: str) -> ModelVersion:
    if ref not in {"fraud", "fraud@champion"}:
        raise NotFoundError(f"no {ref}")
    return version(number="3.0.0")


def test_the_plan_is_the_roll_outs_own_or_the_newest_of_the_model_or_the_usual_one():
    older = replace(PLAN, name="fraud-3")
    assert of_rollout("fraud-3", [PLAN, older], show) is older
    newest = of_rollout("fraud", [PLAN, older], show)
    assert (newest.name, newest.stable) == ("fraud-4", "3.0.0")
    usual = of_rollout("fraud", [], show)
    assert (usual.route, usual.stable, usual.steps) == ("fraud", "3.0.0", USUAL.steps)
    check(replace(usual, name="x"))
    with pytest.raises(NotFoundError, match="no roll-out and no model 'nobody'"):
        of_rollout("nobody", [PLAN], show)
    assert of_model("fraud", replace(PLAN, route="front", stable="blue"), show).route == "fraud"


def test_a_drill_has_one_candidate_and_no_replay_and_says_so():
    plan, notes = drillable(replace(PLAN, candidates=("2.0.0", "3.0.0"), replay=2.0))
    assert (plan.candidates, plan.replay) == (("2.0.0",), 0.0)
    assert any("one candidate in place of 2" in note for note in notes)
    assert any("the replay" in note for note in notes)
    with pytest.raises(UnsupportedError, match="moves no traffic"):
        drillable(replace(PLAN, strategy=Strategy.SHADOW))
    with pytest.raises(
        UnsupportedError, match=r"among deployments .'blue'.*modelworks drill MODEL"
    ):
        drillable(replace(PLAN, stable="blue", candidates=("green",)))
    copies = replace(PLAN, primary=Metric("disagreement", Kind.RATE, Direction.LOWER, 0.01))
    short, long = ((Step(0.0, bake), Step(1.0)) for bake in (10.0, 600.0))
    assert any("longer bake" in note for note in drillable(replace(copies, steps=short))[1])
    assert not any("longer bake" in note for note in drillable(replace(copies, steps=long))[1])


def test_every_fault_is_put_in_that_the_plan_sees_and_only_those_that_are_asked_for():
    found, unseen = faults_of(PLAN, STABLE, Wanted())
    assert {one.fault for one in found} == set(Of)
    assert unseen == ()
    slow = next(one for one in found if one.fault is Of.SLOW)
    assert slow.delay_ms == 20.0  # four margins of 8 ms were lost in the noise
    assert slow.within < 10_000
    some, _ = faults_of(PLAN, STABLE, Wanted(faults=("slow",)))
    assert [one.fault for one in some] == [Of.SLOW]


def test_who_is_blind_is_told_and_may_be_accepted():
    plan = replace(PLAN, primary=ERRORS, guardrails=(), slices=())
    _, unseen = faults_of(plan, STABLE, Wanted(accepted=("slow",)))
    told = {one.fault: one.accepted for one in unseen}
    assert told == {"wrong": False, "slow": True, "biased": False}
    silent = Stable((), (None,), OCTAVES)
    _, unseen = faults_of(PLAN, silent, Wanted())
    assert {one.fault for one in unseen} == {"wrong", "biased"}
    assert "neither a label nor a number" in unseen[0].sentence
    clicks = replace(PLAN, primary=Metric("clicks", Kind.RATE, Direction.HIGHER, 0.01), slices=())
    _, unseen = faults_of(clicks, STABLE, Wanted(faults=("wrong",)))
    assert "cannot know what 'clicks'" in unseen[0].sentence


def fault(of: Of, metric: str, late: bool) -> Fault:
    made = Drill(of, metric, "*", 0.2, 0.0, 30, 60)
    return Fault(made, "1.0.1", frozenset(), 0.2, [True, True], late)


def test_what_is_under_way_while_a_verdict_comes_is_allowed_too():
    quick = allowed(PLAN, fault(Of.FAILING, "error_rate", late=False), 50.0)
    assert quick == 60 + making.LOOK_S * 50 * 0.1
    late = allowed(PLAN, fault(Of.WRONG, "accuracy", late=True), 50.0)
    assert late == 60 + (making.LOOK_S + making.TRUTH_S) * 50 * 0.1


def test_a_request_that_the_fault_did_not_fail_is_lost():
    rows = [Row({}, "good", b"", {}), Row({}, "bad", b"", {})]
    load = Load("http://127.0.0.1:9", rows, [True, False], frozenset({"bad"}), 1.0, "1.0.1")
    callers = Callers(load)
    candidate, stable = {"model_version": "1.0.1"}, {"model_version": "1.0.0"}
    for place, status, found in (
        *((0, 200, candidate), (1, 200, candidate), (0, 200, stable)),
        *((1, 500, "on purpose"), (0, 503, "gone"), (0, 0, "NewConnectionError")),
    ):
        callers._note(place, "id", status, found)
    seen = callers.seen()
    assert (seen.asked, seen.candidate, seen.inside) == (6, 3, 1)
    assert (seen.failed, seen.lost, seen.said) == (1, 2, "503: gone")
    assert len(seen.told) == 3
    assert callers.seen().told == []  # what is to be told is handed over once


def result(name: str, *, passed: bool = True) -> Result:
    return Result(
        *(name, "error_rate", "*", 0.2, 0.0, 30, 60, 80, 42, 3.1, 400, 8, 0, passed),
        "rolled back after 42 requests",
    )


def test_the_whole_is_passed_where_all_is_seen_or_accepted():
    seen, missed = result("failing"), result("slow", passed=False)
    blind, fine = Unseen("wrong", "add accuracy"), Unseen("wrong", "add accuracy", accepted=True)
    assert sentence_of("fraud", (seen,), ()) == (
        True,
        "fraud: rolled back in time: failing in 42 requests",
    )
    assert sentence_of("fraud", (seen,), (fine,))[0]
    assert sentence_of("fraud", (seen,), (blind,)) == (
        False,
        "fraud: rolled back in time: failing in 42 requests; blind to: wrong",
    )
    passed, words = sentence_of("fraud", (seen, missed), ())
    assert (passed, words.endswith("not as it has to: slow")) == (False, True)
    assert not sentence_of("fraud", (), (fine,))[0]  # nothing was proved


def report(*, passed: bool = True, whole: bool = True) -> Report:
    results = (result("failing", passed=passed), *([result("wrong")] if whole else ()))
    unseen = (Unseen("slow", "add <b>", accepted=True), Unseen("biased", "-", accepted=True))
    told = sentence_of("fraud", results, ())
    return Report(
        *("fraud", "1.0.0", "fraud-4", digest_of(PLAN), 1, 12.5, "ann", program(), 50.0),
        *("80 rows", *told, results, unseen),
        ("a note",),
    )


def test_the_page_holds_all_and_fetches_nothing():
    text = page(report())
    for word in ("failing", "1.0.0", "fraud-4", "add &lt;b&gt;", "a note", "modelworks 0."):
        assert word in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_gate_is_of_the_champion_and_of_the_plan_and_keeps_nothing_out():
    def drilled(*, passed: bool = True, whole: bool = True) -> Evidence:
        made = report(passed=passed, whole=whole)
        verdict = Verdict.PASSED if passed else Verdict.FAILED
        return Evidence("drill", verdict, made.sentence, codec.encode(made))

    missing = drill_gate(version(), None)
    assert (missing.state, missing.cure) == (State.MISSING, "modelworks drill fraud")
    assert drill_gate(version(drilled(passed=False), drilled()), PLAN).state is State.PASSED
    assert drill_gate(version(drilled(), drilled(passed=False)), PLAN).state is State.FAILED
    part = drilled(whole=False)
    assert drill_gate(version(drilled(), part), PLAN).state is State.PASSED
    only = drill_gate(version(part), PLAN)
    assert (only.state, only.said) == (State.MISSING, "only biased, failing, slow was drilled")
    renamed = replace(PLAN, name="fraud-5", stable="1.0.1", candidates=("9.0.0",), replay=1.0)
    assert drill_gate(version(drilled()), renamed).state is State.PASSED
    wider = replace(PLAN, guardrails=(ERRORS,))
    stale = drill_gate(version(drilled()), wider)
    assert (stale.state, stale.required) == (State.STALE, False)
    assert "has another plan" in stale.said


def ended(phase: Phase, outcome: Outcome, metric: str = "error_rate") -> Kept:
    found = Finding(metric, "*", "1.0.1", 0, 0.2, 0.2, 0.1, 0.3, 0.005, outcome, "it fails")
    verdict = Judged(outcome, "the sentence", (found,))
    return Kept(Rollout(PLAN, phase, verdict=verdict, reason="back"))


@pytest.mark.parametrize(
    ("kept", "seen", "says"),
    [
        (ended(Phase.ROLLED_BACK, Outcome.ROLL_BACK), Seen(inside=40), ""),
        (ended(Phase.ROLLED_BACK, Outcome.ROLL_BACK), Seen(inside=99), "80 were allowed"),
        (ended(Phase.ROLLED_BACK, Outcome.ROLL_BACK, "drift"), Seen(inside=9), "for drift, not"),
        (
            ended(Phase.ROLLED_BACK, Outcome.ROLL_BACK),
            Seen(inside=40, lost=2, said="503: gone"),
            "2 requests were lost that nothing failed (503: gone)",
        ),
        (
            ended(Phase.ABORTED, Outcome.HOLD),
            Seen(inside=500),
            "500 requests reached it in 7 s; in step 1 of 2 it said: the sentence",
        ),
        (ended(Phase.PROMOTED, Outcome.PROMOTE), Seen(inside=500), "it is promoted: back"),
    ],
    ids=["well", "late", "for another reason", "lost", "never", "promoted"],
)
def test_a_fault_is_passed_in_time_for_its_reason_and_without_a_loss(kept, seen, says):
    found = making.result(kept, fault(Of.FAILING, "error_rate", late=False), seen, 80, 7.0)
    assert (found.passed, found.requests, found.allowed) == (not says, seen.inside, 80)
    assert says in found.sentence
    assert found.findings == kept.rollout.verdict.findings
