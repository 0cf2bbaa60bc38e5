"""The queue in front of a session that takes several calls at a time."""

import asyncio
import random
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, DeadlineError, InvalidError, UnavailableError
from modelworks.core.served import Batching
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.batcher import Lanes, Member
from modelworks.serving.cost import INLINE_NS, Cost

pytestmark = pytest.mark.unit
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP64, (None,)),), (TensorSpec("y", Datatype.FP64, (None,)),)
)
BAD, CRASH = -1.0, -2.0


@dataclass
class Fake:
    """`y = 2 * x`, when its gate lets go; notes how many calls were in it at once."""

    gate: threading.Event = field(default_factory=threading.Event)
    signature: Signature = SIGNATURE
    lanes: int = 3
    apart: bool = True
    inside: int = 0
    most: int = 0
    calls: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def infer(self, inputs):
        x = inputs["x"]
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.calls.append(len(x))
        try:
            assert self.gate.wait(20)
            if (x == BAD).any():
                raise InvalidError("a bad row")
            if (x == CRASH).any():
                raise CrashedError("it crashed")
            return [x * 2]
        finally:
            with self.lock:
                self.inside -= 1

    def close(self):
        pass


class Asked(Member):
    __slots__ = ("answers",)

    def __init__(self, values, timeout_ns=0):
        now = time.perf_counter_ns()
        inputs = {"x": np.array(values, float)}
        super().__init__(inputs, len(values), None, now, now + timeout_ns if timeout_ns else 0)
        self.answers = []

    def succeed(self, outputs):
        self.answers.append(outputs[0].tolist())

    def fail(self, error):
        self.answers.append(error)

    @property
    def wanted(self):
        return [2 * v for v in self.inputs["x"].tolist()]


def make(session, size=8, queue=10_000, by_rows=False, **more):
    cost = Cost(by_rows=by_rows)
    for power in range(12):
        cost.learn(2**power, 100 * INLINE_NS)
    limits = Batching(size, queue, **more)
    return Lanes("m", session, limits, cost, lambda _: None, one_shape=True, lanes=session.lanes)


async def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def run(main):
    return asyncio.run(asyncio.wait_for(main, 60))


def test_as_many_calls_at_once_as_there_are_lanes_and_no_more():
    async def main():
        session = Fake()
        batcher = make(session, size=1)
        members = [Asked([i]) for i in range(7)]
        for member in members:
            batcher.submit(member)
        await until(lambda: session.inside == 3)
        assert batcher.busy
        assert batcher.items == 4
        session.gate.set()
        await until(lambda: all(m.answers for m in members))
        assert [m.answers for m in members] == [[m.wanted] for m in members]
        assert session.most == 3
        assert not batcher.busy
        assert await batcher.drain(5)

    run(main())


def test_while_all_lanes_are_taken_the_queue_grows_into_one_batch():
    async def main():
        session = Fake(lanes=2)
        batcher = make(session)
        members = [Asked([i]) for i in range(7)]
        for member in members[:2]:
            batcher.submit(member)
            await until(lambda: batcher.items == 0)
        for member in members[2:]:
            batcher.submit(member)
        await until(lambda: session.inside == 2)
        assert batcher.items == 5
        session.gate.set()
        await until(lambda: all(m.answers for m in members))
        assert session.calls == [1, 1, 5]
        assert await batcher.drain(5)

    run(main())


def test_only_the_culprit_pays():
    async def main():
        session = Fake()
        batcher = make(session)
        members = [Asked([1.0]), Asked([BAD]), Asked([2.0, 3.0]), Asked([CRASH])]
        for member in members:
            batcher.submit(member)
        session.gate.set()
        await until(lambda: all(m.answers for m in members))
        assert members[0].answers == [[2.0]]
        assert members[2].answers == [[4.0, 6.0]]
        assert isinstance(members[1].answers[0], InvalidError)
        assert isinstance(members[3].answers[0], CrashedError)
        assert await batcher.drain(5)

    run(main())


def test_nobody_is_lost_or_answered_twice_by_any_order_of_things():
    async def main():
        chance = random.Random(5)
        session = Fake()
        session.gate.set()
        batcher = make(session, size=4, max_delay_ms=0.5)
        members, cancelled = [], set()
        for number in range(3000):
            member = Asked([float(number)] * chance.randint(1, 3))
            batcher.submit(member)
            members.append(member)
            if chance.random() < 0.1:
                victim = chance.randrange(len(members))
                if members[victim].waiting:
                    batcher.cancel(members[victim])
                    cancelled.add(victim)
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        answered = [m for n, m in enumerate(members) if n not in cancelled]
        await until(lambda: all(m.answers for m in answered))
        assert [m.answers for m in answered] == [[m.wanted] for m in answered]
        assert all(members[n].answers == [] for n in cancelled)
        assert session.most <= session.lanes
        assert await batcher.drain(5)

    run(main())


def test_a_drain_waits_for_every_lane_and_refuses_newcomers():
    async def main():
        session = Fake()
        batcher = make(session, size=1)
        members = [Asked([i]) for i in range(4)]
        for member in members:
            batcher.submit(member)
        await until(lambda: session.inside == 3)
        ending = asyncio.ensure_future(batcher.drain(20))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="unloaded"):
            batcher.submit(Asked([9]))
        assert not ending.done()
        session.gate.set()
        assert await ending
        assert [m.answers for m in members] == [[m.wanted] for m in members]

    run(main())


def test_a_drain_that_is_too_short_says_so_and_late_answers_still_come():
    async def main():
        session = Fake(lanes=2)
        batcher = make(session, size=1)
        members = [Asked([i]) for i in range(3)]
        for member in members:
            batcher.submit(member)
        await until(lambda: session.inside == 2)
        assert not await batcher.drain(0.05)
        assert isinstance(members[2].answers[0], UnavailableError)
        session.gate.set()
        await until(lambda: all(m.answers for m in members))
        assert members[0].answers == [members[0].wanted]

    run(main())


def test_whose_time_is_over_is_refused_and_not_computed():
    async def main():
        session = Fake(lanes=1)
        batcher = make(session)
        first = Asked([1.0])
        batcher.submit(first)
        await until(lambda: session.inside == 1)
        late = Asked([2.0], timeout_ns=1_000_000)
        with pytest.raises(UnavailableError):
            batcher.submit(late)  # it is told at once that it would be late
        session.gate.set()
        await until(lambda: first.answers)
        assert session.calls == [1]
        assert await batcher.drain(5)

    run(main())


def test_with_a_lane_free_nobody_is_told_to_be_late():
    async def main():
        session = Fake(lanes=2)
        batcher = make(session)
        batcher.submit(Asked([1.0]))
        await until(lambda: session.inside == 1)
        batcher.submit(Asked([2.0], timeout_ns=50_000_000))
        await until(lambda: session.inside == 2)
        session.gate.set()
        assert await batcher.drain(5)

    run(main())


def test_short_calls_run_on_the_loop_between_long_ones():
    async def main():
        session = Fake(lanes=2, apart=False)
        session.gate.set()
        batcher = make(session, by_rows=True)
        for power in range(12):
            for _ in range(60):
                batcher._cost.learn(2**power, 1000)
        member = Asked([1.0])
        batcher.submit(member)
        await asyncio.sleep(0)
        assert member.answers == [[2.0]]
        assert not batcher.busy
        assert await batcher.drain(5)

    run(main())


def test_an_expired_wait_behind_full_lanes_frees_its_place():
    async def main():
        session = Fake(lanes=1)
        batcher = make(session, timeout_ms=1000.0)
        batcher._outlook._stretch = 0.25
        first = Asked([1.0])
        batcher.submit(first)
        await until(lambda: session.inside == 1)
        second = Asked([2.0], timeout_ns=60_000_000)
        batcher.submit(second)
        await until(lambda: second.answers)
        assert isinstance(second.answers[0], DeadlineError)
        assert batcher.items == 0
        session.gate.set()
        await until(lambda: first.answers)
        assert await batcher.drain(5)

    run(main())
