"""The replay that a plan asks for: made before the first step, judged by the plan, looked after."""

import time
from pathlib import Path

import pytest

from modelworks.control.replaying import tending
from modelworks.control.replaying.filling import added, filled
from modelworks.control.replaying.planned import asked_of, found_for, refs
from modelworks.control.replaying.report import KIND
from modelworks.control.replaying.standing import NoReplays, Standing
from modelworks.control.replaying.tending import Tending
from modelworks.control.rollouts.evidence import Further
from modelworks.control.rollouts.gates import gates_of
from modelworks.control.rollouts.grounds.ground import Among
from modelworks.control.rollouts.routes import read
from modelworks.control.service import Factory
from modelworks.control.watching.advancing import Advance
from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home
from modelworks.core.model import Evidence, Verdict
from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Kind,
    Metric,
    Phase,
    Plan,
    Step,
    Strategy,
    Sums,
)
from modelworks.core.semver import Semver
from modelworks.rollout.spending import stages
from modelworks.rollout.why_not import State
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)
APART = Metric("disagreement", Kind.RATE, Direction.LOWER, margin=0.05, absolute=True)


def plan(share: float = 0.1, **more: object) -> Plan:
    steps = (Step(share, sample=10), Step(1.0))
    return Plan(
        *("fraud-2", "fraud", "1.0.0", ("2.0.0",), Strategy.CANARY, steps, ERRORS),
        guardrails=(APART,),
        **({"replay": 2.0} | more),
    )


def earned(arm: str, errors: int, apart: int | None = None, count: int = 200) -> ArmEvidence:
    metrics = {"error_rate": Sums(count, errors)}
    if apart is not None:
        metrics["disagreement"] = Sums(count, apart)
    return ArmEvidence(arm, count, 0, metrics)


def evidence(errors: int, apart: int = 0, rollout: str = "fraud-2") -> Evidence:
    both = (earned("1.0.0", 0), earned("2.0.0", errors, apart))
    told = {"rollout": rollout, "candidate": "2.0.0", "arms": codec.encode(both)}
    asked = {"asked": {"stable": "1.0.0"}}
    return Evidence(KIND, Verdict.PASSED, "99 % agree", {**told, **asked})


@pytest.fixture
def factory(tmp_path):
    with Factory(Home(tmp_path / "home"), actor="ana") as factory:
        for version in ("1.0.0", "2.0.0"):
            content = version.encode()
            factory.publish(candidate(tmp_path / version, content, version=Semver.parse(version)))
        factory.set_alias("fraud", "champion", "1.0.0")
        yield factory


class Warm:
    def unready(self, _plan):
        return ""


def advance(factory, replays) -> None:
    duty = Advance(factory.rollouts, {Among.VERSIONS: Warm()}, lambda *_: {}, replays)
    assert not duty.run(time.time(), {}).said


class Told:
    """Says what it is told to say."""

    def __init__(self, standing):
        self.standing, self.kept = standing, []

    def __call__(self, _plan):
        return self.standing

    def keep(self, names):
        self.kept.append(list(names))


def test_no_user_is_asked_before_the_replay_is_over(factory):
    factory.rollouts.start(plan(0.0))
    replays = Told(Standing(waits="recorded traffic is played to 2.0.0"))
    advance(factory, replays)
    kept = factory.rollouts.get("fraud-2")
    assert kept.rollout.phase is Phase.WAITING
    assert kept.rollout.reason.endswith("recorded traffic is played to 2.0.0")
    assert {span.arm for route in read(routes(factory)).routes for span in route.spans} == {"1.0.0"}
    replays.standing = Standing()
    advance(factory, replays)
    assert factory.rollouts.get("fraud-2").rollout.phase is Phase.RUNNING
    assert replays.kept == [["fraud-2"], ["fraud-2"]]


def routes(factory) -> Path:
    return factory.home.run / "routes.json"


def test_a_candidate_that_fails_by_a_replay_is_rolled_back_before_its_first_step(factory):
    factory.rollouts.start(plan(0.0))
    factory.note_evidence("fraud:2.0.0", evidence(errors=60))
    advance(factory, Tending(factory.home.root, factory.show, refs(lambda name: (name, "?"))))
    kept = factory.rollouts.get("fraud-2")
    assert kept.rollout.phase is Phase.ROLLED_BACK
    assert "by a replay of recorded traffic, the new version fails" in kept.rollout.reason
    assert not kept.rollout.began_ns


def test_who_plays_nothing_lets_no_plan_pass_that_asks_for_it(factory):
    factory.rollouts.start(plan(0.0))
    advance(factory, NoReplays())
    assert factory.rollouts.get("fraud-2").rollout.phase is Phase.ROLLED_BACK


def waiting(factory, tmp_path, monkeypatch, code: str) -> Tending:
    """The worker's part, with a player of a few lines in place of the real one."""
    (tmp_path / "player.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(tending, "_PAUSE_S", 0.0)
    return Tending(factory.home.root, factory.show, lambda p, arm: (p.route, arm), "player")


def ended(look, seconds: float = 20.0) -> Standing:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        standing = look(plan())
        if not standing.waits:
            return standing
        time.sleep(0.02)
    raise AssertionError("it goes on and on")


SAYS = """
import json, pathlib
with pathlib.Path(__file__).with_name("begun").open("a") as file:
    file.write("x")
print(json.dumps({"error": "no records of 'fraud'", "final": FINAL}))
"""


@pytest.mark.parametrize(("final", "begun"), [("True", 1), ("False", 3)])
def test_why_it_could_not_be_made(factory, tmp_path, monkeypatch, final, begun):
    look = waiting(factory, tmp_path, monkeypatch, SAYS.replace("FINAL", final))
    assert look(plan()).waits
    assert "could not be made: no records of 'fraud'" in ended(look).fails
    assert (tmp_path / "begun").read_text() == "x" * begun


def test_one_that_dies_without_a_word(factory, tmp_path, monkeypatch):
    look = waiting(factory, tmp_path, monkeypatch, "raise SystemExit(3)")
    assert "it ended with code 3" in ended(look).fails


def test_the_process_of_a_roll_out_that_waits_no_more_is_ended(factory, tmp_path, monkeypatch):
    code = "import pathlib, time\npathlib.Path(__file__).with_name('up').touch()\ntime.sleep(60)"
    look = waiting(factory, tmp_path, monkeypatch, code)
    look(plan())
    end = time.monotonic() + 20
    while not (tmp_path / "up").exists() and time.monotonic() < end:
        time.sleep(0.02)
    (run,) = look._runs.values()
    look.keep(["fraud-2"])
    assert run.process.poll() is None
    look.keep([])
    assert run.process.poll() is not None
    assert not look._runs


def test_what_was_found_is_read_by_roll_out_and_nothing_is_begun(factory, tmp_path, monkeypatch):
    look = waiting(factory, tmp_path, monkeypatch, "raise SystemExit(3)")
    factory.note_evidence("fraud:2.0.0", evidence(0, rollout="an older one"))
    assert found_for(factory.show("fraud:2.0.0"), plan(), "2.0.0") is None
    factory.note_evidence("fraud:2.0.0", evidence(0))
    factory.note_evidence("fraud:2.0.0", evidence(100, rollout="another"))
    assert look(plan()) == Standing()
    assert not look._runs


def test_pairs_of_a_replay_and_of_copies_add_up_and_the_stable_arm_alone_does_not():
    was, now = earned("1.0.0", 2), earned("2.0.0", 3, 4)
    alone = {"1.0.0": Further({"error_rate": Sums(9_000, 90)}), "other": Further(requests=1)}
    found = added(alone, "1.0.0", was, "2.0.0", now)
    assert found["1.0.0"].metrics["error_rate"] == Sums(200, 2)
    assert found["2.0.0"].metrics == {"error_rate": Sums(200, 3), "disagreement": Sums(200, 4)}
    assert (found["2.0.0"].requests, found["other"].requests) == (200, 1)
    copies = {
        "1.0.0": Further({"error_rate": Sums(50, 1)}),
        "2.0.0": Further({"error_rate": Sums(50, 5)}, requests=50),
    }
    found = added(copies, "1.0.0", was, "2.0.0", now)
    assert found["1.0.0"].metrics["error_rate"] == Sums(250, 3)
    assert found["2.0.0"].metrics["error_rate"] == Sums(250, 8)
    assert found["2.0.0"].requests == 250


@pytest.mark.parametrize(
    ("asked", "step", "count"),
    [(plan(0.0), 0, 200), (plan(0.1), 0, 0), (plan(0.0, replay=0.0), 0, 0)],
)
def test_a_replay_is_evidence_of_a_first_step_without_traffic_only(factory, asked, step, count):
    factory.note_evidence("fraud:2.0.0", evidence(1))
    ref_of = refs(lambda name: (name, ""))
    gather = filled(lambda *_: {}, factory.show, ref_of, lambda _name: step)
    found = gather(asked, 0, 1)
    assert found.get("2.0.0", Further()).requests == count


def test_whether_answers_agree_counts_in_later_steps_too(factory):
    factory.note_evidence("fraud:2.0.0", evidence(5, apart=1))
    gather = filled(lambda *_: {}, factory.show, refs(lambda name: (name, "")), lambda _name: 1)
    found = gather(plan(0.0), 0, 1)
    assert found["2.0.0"] == Further({"disagreement": Sums(200, 1)})
    assert found["1.0.0"] == Further()


def test_a_replay_is_one_more_look_but_where_the_first_step_goes_on_from_it():
    assert stages(plan(0.1)) == stages(plan(0.1, replay=0.0)) + 1
    assert stages(plan(0.0)) == stages(plan(0.0, replay=0.0))


def test_what_a_plan_asks_for():
    asked = asked_of(plan(slices=("k=1",)), "2.0.0", refs(lambda _: ("", "")), 10**15)
    assert (asked.ref, asked.stable, asked.slices) == ("fraud:2.0.0", "1.0.0", ("k=1",))
    assert asked.until_ns - asked.since_ns == 2 * 3600 * 10**9
    two = Plan(*("a", "r", "one", ("two",), Strategy.CANARY, (Step(1.0),), ERRORS), replay=1.0)
    with pytest.raises(InvalidError, match="of the model 'two'"):
        asked_of(two, "two", refs(lambda name: (name, "1.0.0")), 10**15)


def test_the_newest_replay_is_a_gate_while_it_is_about_the_champion_of_today(factory):
    def gate(champion: str):
        version = factory.show("fraud:2.0.0")
        (found,) = [one for one in gates_of(version, [], champion) if one.name == KIND]
        return found.state, found.required

    factory.note_evidence("fraud:2.0.0", Evidence(KIND, Verdict.FAILED, "worse", {}))
    assert gate("1.0.0") == (State.FAILED, True)
    factory.note_evidence("fraud:2.0.0", evidence(0))
    assert gate("1.0.0") == (State.PASSED, False)
    assert gate("") == (State.PASSED, False)
    assert gate("1.5.0") == (State.STALE, False)
    factory.note_evidence("fraud:2.0.0", Evidence(KIND, Verdict.SKIPPED, "few", {}))
    assert gate("1.0.0") == (State.MISSING, False)
