"""Roll-outs on a simulated target: whatever becomes ready when, nobody is without an answer."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.deployment import Observed, Phase, Replica, Revision, Share, Wanted
from modelworks.core.served import ServedModel
from modelworks.deploy.rolling import failure, next_step


def revision(number: int) -> Revision:
    return Revision("fraud", number, {}, ServedModel("fraud", f"{number}.0.0", "/m", "sha256:0"))


KNOWN = {number: revision(number) for number in range(1, 5)}


def goal(number: int, replicas: int, surge: int = 1) -> Wanted:
    strategy = {"max_surge": surge, "ready_timeout_s": 60}
    return Wanted("fraud", (Share(KNOWN[number], replicas),), strategy=strategy)


@dataclass
class Simulated:
    """Starts what is wanted, ends what is not: in one tick; readiness is decided by the test."""

    running: list[tuple[str, int, Phase]] = field(default_factory=list)
    counter: int = 0

    def apply(self, wanted: Wanted) -> None:
        counts = {share.revision.number: share.replicas for share in wanted.shares}
        kept = []
        for name, number, phase in sorted(self.running, key=lambda r: r[2] is not Phase.READY):
            if counts.get(number, 0) > 0:
                counts[number] -= 1
                kept.append((name, number, phase))
        for number, missing in counts.items():
            for _ in range(missing):
                self.counter += 1
                kept.append((f"r{self.counter}", number, Phase.STARTING))
        self.running = kept

    def observe(self) -> Observed:
        return Observed("http://x", tuple(Replica(n, v, p) for n, v, p in self.running))

    @property
    def ready(self) -> int:
        return sum(phase is Phase.READY for _, _, phase in self.running)


def settle(target: Simulated, wanted: Wanted, draws=None) -> int:
    """Steps until done; who starts becomes ready when the test says so. Least that answered."""
    lowest = target.ready
    for turn in range(200):
        step = next_step(wanted, target.observe(), KNOWN, rolls=False)
        if step.done:
            return lowest
        target.apply(step.wanted)
        lowest = min(lowest, target.ready)
        target.running = [
            (n, v, Phase.READY if turn > 100 or draws is None or draws(p) else p)
            for n, v, p in target.running
        ]
    raise AssertionError(f"never done: {target.running}")


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(2, 4), st.randoms())
def test_as_many_answer_as_are_wanted_or_as_there_were(before, after, surge, number, chance):
    target = Simulated()
    settle(target, goal(1, before))
    lowest = settle(target, goal(number, after, surge), lambda p: chance.random() < 0.4)
    assert lowest >= min(before, after)
    assert {v for _, v, _ in target.running} == {number}
    assert len(target.running) == after


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 6), st.randoms())
def test_a_roll_out_that_is_cut_short_is_followed_by_another_one(replicas, surge, cut, chance):
    target = Simulated()
    settle(target, goal(1, replicas))
    lowest = target.ready
    for _ in range(cut):
        step = next_step(goal(2, replicas, surge), target.observe(), KNOWN, rolls=False)
        target.apply(step.wanted)
        lowest = min(lowest, target.ready)
        target.running = [
            (n, v, Phase.READY if chance.random() < 0.5 else p) for n, v, p in target.running
        ]
    ready = target.ready
    assert lowest >= min(replicas, ready)
    assert settle(target, goal(3, replicas, surge)) >= min(replicas, ready)
    assert {v for _, v, _ in target.running} == {3}


def test_at_most_the_surge_runs_beside_what_is_wanted():
    target = Simulated()
    settle(target, goal(1, 4))
    for _ in range(50):
        step = next_step(goal(2, 4, surge=2), target.observe(), KNOWN, rolls=False)
        assert sum(share.replicas for share in step.wanted.shares) <= 4 + 2
        if step.done:
            break
        target.apply(step.wanted)
        target.running = [(n, v, Phase.READY) for n, v, _ in target.running]
    assert step.done


def test_none_wanted_ends_all_at_once():
    target = Simulated()
    settle(target, goal(1, 3))
    settle(target, goal(1, 0))
    assert target.running == []


def test_a_revision_that_never_becomes_ready_leaves_the_old_one_as_it_is():
    target = Simulated()
    settle(target, goal(1, 3))
    for _ in range(20):
        step = next_step(goal(2, 3), target.observe(), KNOWN, rolls=False)
        target.apply(step.wanted)
    assert target.ready == 3
    assert not step.done
    assert step.waiting == "0 of 3 ready"


def test_replicas_of_a_revision_that_nobody_knows_are_ended():
    target = Simulated([("stray", 9, Phase.READY)])
    settle(target, goal(1, 1))
    assert {v for _, v, _ in target.running} == {1}


def test_a_change_from_outside_is_put_right():
    seen = Observed("u", (Replica("r1", 1, Phase.READY),), changed=("memory: 1 instead of 2",))
    step = next_step(goal(1, 1), seen, KNOWN, rolls=False)
    assert not step.done
    assert step.wanted == goal(1, 1)
    assert "outside" in step.waiting


def test_a_target_that_rolls_by_itself_is_asked_for_the_goal_only():
    seen = Observed("u", tuple(Replica(f"r{n}", 1, Phase.READY) for n in range(3)), settled=False)
    step = next_step(goal(2, 3), seen, KNOWN, rolls=True)
    assert step.wanted == goal(2, 3)
    assert not step.done


@pytest.mark.parametrize(
    ("replicas", "done"), [(0, False), (2, True), (3, True), (5, True)], ids=str
)
def test_autoscaling_is_reached_with_the_fewest(replicas, done):
    wanted = Wanted("fraud", (Share(KNOWN[1], 1),), autoscaling={"min": 2, "max": 5})
    seen = Observed("u", tuple(Replica(f"r{n}", 1, Phase.READY) for n in range(replicas)))
    assert next_step(wanted, seen, KNOWN, rolls=True).done is done


def test_failure_says_why():
    starting = Observed("u", (Replica("fraud-2-a", 2, Phase.STARTING, "no answer yet"),))
    assert failure(goal(2, 1), starting, 59.0) == ""
    assert "after 60 s" in failure(goal(2, 1), starting, 61.0)
    assert "no answer yet" in failure(goal(2, 1), starting, 61.0)
    assert "quota" in failure(goal(2, 1), Observed("", reason="quota of 2 pods"), 61.0)
    crashed = Observed("u", (Replica("fraud-2-a", 2, Phase.FAILED, "exit code 1", restarts=3),))
    assert "exit code 1" in failure(goal(2, 1), crashed, 1.0)
    assert failure(goal(1, 1), crashed, 1.0) == ""  # another revision's crash is not ours
    assert "say why" in failure(goal(1, 1), None, 61.0)
