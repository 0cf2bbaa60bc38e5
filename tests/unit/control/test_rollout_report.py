"""What is kept of a roll-out's looks, and what its report says."""

from itertools import pairwise

import pytest

from modelworks.control.rollouts.report.looks import MOST, due, too_many
from modelworks.control.service import Factory
from modelworks.core.errors import NotFoundError
from modelworks.core.home import Home
from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Evidence,
    Kind,
    Metric,
    Outcome,
    Phase,
    Plan,
    Step,
    Strategy,
    Sums,
)
from modelworks.core.semver import Semver
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit
SECOND = 10**9
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)
SHARES = {"1.0.0": 0.5, "2.0.0": 0.5}


class Clock:
    now = 1_800_000_000 * SECOND

    def __call__(self):
        return self.now

    def tick(self, seconds=1.0):
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def factory(tmp_path, clock):
    with Factory(Home(tmp_path / "home"), actor="ana", clock=clock) as factory:
        for version in ("1.0.0", "2.0.0"):
            factory.publish(
                candidate(tmp_path / version, version.encode(), version=Semver.parse(version))
            )
        factory.set_alias("fraud", "champion", "1.0.0")
        yield factory


def plan(**fields):
    usual = {"name": "fraud-2", "route": "fraud", "stable": "1.0.0", "candidates": ("2.0.0",)}
    usual |= {"strategy": Strategy.CANARY, "steps": (Step(0.5), Step(1.0)), "primary": ERRORS}
    return Plan(**{**usual, "sample": 1000, "most_s": 86_400.0, **fields})


def evidence(now, requests, errors=0, **more):
    """Both arms asked as often; errors are the candidate's."""
    arms = tuple(
        ArmEvidence(
            arm, requests, 0, {"error_rate": Sums(count=requests, total=wrong)}, more.get(arm, {})
        )
        for arm, wrong in (("1.0.0", 0), ("2.0.0", errors))
    )
    return Evidence(now, arms, SHARES)


@pytest.fixture
def running(factory):
    factory.rollouts.start(plan())
    factory.rollouts.ready("fraud-2")
    return factory.rollouts


def test_looks_are_kept_often_first_and_seldom_later(running, clock):
    for second in range(600):
        clock.tick()
        running.look("fraud-2", evidence(clock(), min(second, 900)))
    found = running.looks("fraud-2")
    assert 60 < len(found) < 100
    gaps = [(b.at_ns - a.at_ns) / SECOND for a, b in pairwise(found)]
    assert gaps[:10] == [1.0] * 10
    assert gaps[-1] > 20
    assert found[5].requests == {"1.0.0": 5, "2.0.0": 5}
    assert found[5].shares == SHARES
    (point,) = found[5].points
    assert (point.metric, point.slice, point.arm, point.margin) == (
        "error_rate",
        "*",
        "2.0.0",
        0.05,
    )


def test_the_look_that_ends_it_is_kept(running, clock):
    clock.tick()
    running.look("fraud-2", evidence(clock(), 10))
    clock.tick(0.001)
    assert running.look("fraud-2", evidence(clock(), 100, 60)).rollout.phase is Phase.ROLLED_BACK
    outcomes = [one.outcome for one in running.looks("fraud-2")]
    assert outcomes == [Outcome.HOLD, Outcome.ROLL_BACK]


def test_looks_have_a_bound():
    numbers = []
    for number in range(5000):
        numbers.append(number)
        gone = set(too_many(numbers))
        assert not gone & set(numbers[-50:])
        numbers = [one for one in numbers if one not in gone]
        assert len(numbers) <= MOST
    assert numbers[0] == 0
    assert due(10, 0, 10)
    assert due(10, 5, 10)  # of the step before
    assert not due(0, 160, 169)
    assert due(0, 160, 170)


def test_looks_of_nobody(factory):
    with pytest.raises(NotFoundError, match="no roll-out 'x'"):
        factory.rollouts.looks("x")
