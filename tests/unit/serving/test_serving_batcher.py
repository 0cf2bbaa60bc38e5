"""The batcher: nobody is lost, nobody gets another's answer, whatever happens to the neighbours."""

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import (
    CrashedError,
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.served import Batching
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.batcher import Batcher, Member
from modelworks.serving.cost import INLINE_NS, Cost
from properties import examples

pytestmark = pytest.mark.unit
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP64, (None, None)),), (TensorSpec("y", Datatype.FP64, (None,)),)
)
INVALID, CRASH, BUG, LOST = -1.0, -2.0, -3.0, -4.0


@dataclass
class Fake:
    """`y = 2 * first column`; a row of INVALID, CRASH or BUG fails the call, LOST loses a row."""

    signature: Signature = SIGNATURE
    calls: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    gate: threading.Event | None = None
    closed: bool = False
    apart: bool = False

    def infer(self, inputs):
        x = inputs["x"]
        self.calls.append(len(x))
        self.threads.add(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(10)
        first = x[:, 0]
        if (first == INVALID).any():
            raise InvalidError("a bad row")
        if (first == CRASH).any():
            raise CrashedError("it crashed")
        if (first == BUG).any():
            raise ZeroDivisionError
        if (first == LOST).any() and len(x) > 1:
            return [first[1:] * 2]
        return [first * 2]

    def close(self):
        self.closed = True


class Asked(Member):
    __slots__ = ("answers", "breaks")

    def __init__(self, values, width=1, timeout_ns=0, breaks=False):
        x = np.repeat(np.array(values, float)[:, None], width, axis=1)
        now = time.perf_counter_ns()
        super().__init__({"x": x}, len(values), width, now, now + timeout_ns if timeout_ns else 0)
        self.answers = []
        self.breaks = breaks

    def succeed(self, outputs):
        if self.breaks:
            raise ValueError("cannot be written")
        self.answers.append(outputs[0].tolist())

    def fail(self, error):
        self.answers.append(error)

    @property
    def wanted(self):
        return [2 * v for v in self.inputs["x"][:, 0].tolist()]


def known(ns):
    """Of every size: one call that the machine interrupts does not send the next to the thread."""
    cost = Cost()
    for power in range(12):
        cost.learn(2**power, ns)
    return cost


FAST, SLOW = 1000, 100 * INLINE_NS


def make(session, size=8, queue=1000, cost=FAST, calls=None):
    seen = calls if calls is not None else []
    return Batcher("m", session, Batching(size, queue), known(cost), seen.append)


async def turns(count=50):
    for _ in range(count):
        await asyncio.sleep(0)


async def settle(members, seconds=10.0):
    end = time.monotonic() + seconds
    while any(not m.answers for m in members):
        assert time.monotonic() < end, "somebody was lost"
        await asyncio.sleep(0.001)


def run(main):
    return asyncio.run(asyncio.wait_for(main, 60))


def test_what_arrives_in_one_turn_is_one_call():
    async def main():
        session = Fake()
        calls = []
        batcher = make(session, calls=calls)
        members = [Asked([i]) for i in range(5)]
        for member in members:
            batcher.submit(member)
        assert session.calls == []
        assert batcher.items == 5
        await turns()
        assert session.calls == [5]
        assert [m.answers for m in members] == [[m.wanted] for m in members]
        assert [(c.rows, len(c.members)) for c in calls] == [(5, 5)]
        assert batcher.items == 0

    run(main())


def test_a_batch_has_at_most_so_many_rows_and_keeps_the_order():
    async def main():
        session = Fake()
        batcher = make(session, size=4)
        members = [Asked([i] * rows) for i, rows in enumerate([3, 2, 2, 1, 9, 1, 4])]
        for member in members:
            batcher.submit(member)
        await turns()
        assert session.calls == [3, 4, 1, 9, 1, 4]
        assert all(m.answers == [m.wanted] for m in members)

    run(main())


def test_requests_of_different_shapes_are_not_joined_and_take_turns():
    async def main():
        session = Fake()
        batcher = make(session, size=2)
        members = [Asked([i], width=1 + i % 2) for i in range(8)]
        for member in members:
            batcher.submit(member)
        await turns()
        assert session.calls == [2, 2, 2, 2]
        assert all(m.answers == [m.wanted] for m in members)

    run(main())


def test_while_the_engine_runs_the_queue_grows_into_the_next_batch():
    async def main():
        session = Fake(gate=threading.Event())
        batcher = make(session, cost=SLOW)
        first = Asked([1])
        batcher.submit(first)
        await asyncio.sleep(0.05)
        others = [Asked([i]) for i in range(2, 6)]
        for member in others:
            batcher.submit(member)
        await turns()
        assert not first.answers
        session.gate.set()
        await settle([first, *others])
        assert session.calls == [1, 4]
        assert session.threads == {"engine-m"}
        assert await batcher.drain(5)

    run(main())


def test_short_calls_run_on_the_loop():
    async def main():
        session = Fake()
        batcher = make(session)
        batcher.submit(Asked([1]))
        await turns()
        assert session.threads == {threading.current_thread().name}

    run(main())


def test_a_full_queue_refuses_and_an_empty_one_takes_anything():
    async def main():
        session = Fake()
        batcher = make(session, size=4, queue=4)
        large = Asked(list(range(9)))
        batcher.submit(large)
        with pytest.raises(UnavailableError, match="at most 4") as caught:
            batcher.submit(Asked([1]))
        assert caught.value.retry_after >= 1
        await turns()
        assert large.answers == [large.wanted]
        after = Asked([1])
        batcher.submit(after)
        await turns()
        assert after.answers == [after.wanted]

    run(main())


@pytest.mark.parametrize("cost", [FAST, SLOW])
@pytest.mark.parametrize("poison", [INVALID, CRASH, BUG])
@pytest.mark.parametrize("place", range(5))
def test_only_the_culprit_fails_wherever_it_stands(place, poison, cost):
    async def main():
        session = Fake()
        batcher = make(session, cost=cost)
        values = [float(i) for i in range(5)]
        values[place] = poison
        members = [Asked([v]) for v in values]
        for member in members:
            batcher.submit(member)
        await settle(members)
        for i, member in enumerate(members):
            if i == place:
                [error] = member.answers
                kind = InvalidError if poison == INVALID else CrashedError
                assert isinstance(error, kind)
            else:
                assert member.answers == [member.wanted]
        assert session.calls == [5, 1, 1, 1, 1, 1]
        await batcher.drain(5)

    run(main())


def test_a_model_that_loses_a_row_never_gives_anyone_anothers():
    async def main():
        batcher = make(Fake())
        members = [Asked([1.0]), Asked([LOST]), Asked([3.0])]
        for member in members:
            batcher.submit(member)
        await turns()
        assert [m.answers for m in members] == [[m.wanted] for m in members]

    run(main())


@pytest.mark.parametrize("place", range(4))
def test_an_answer_that_cannot_be_written_harms_nobody_else(place, caplog):
    async def main():
        batcher = make(Fake())
        members = [Asked([i], breaks=i == place) for i in range(4)]
        for member in members:
            batcher.submit(member)
        await turns()
        for i, member in enumerate(members):
            if i == place:
                assert isinstance(member.answers[0], CrashedError)
            else:
                assert member.answers == [member.wanted]

    run(main())
    assert "could not be written" in caplog.text


@pytest.mark.parametrize("place", range(5))
def test_a_cancelled_member_leaves_its_batch_alone(place):
    async def main():
        session = Fake()
        batcher = make(session)
        members = [Asked([i]) for i in range(5)]
        for member in members:
            batcher.submit(member)
        batcher.cancel(members[place])
        batcher.cancel(members[place])
        assert batcher.items == 4
        await turns()
        assert session.calls == [4]
        for i, member in enumerate(members):
            assert member.answers == ([] if i == place else [member.wanted])

    run(main())


def test_cancelling_frees_the_queue_and_leaves_nothing_behind():
    async def main():
        session = Fake(gate=threading.Event())
        batcher = make(session, cost=SLOW, queue=4)
        running = Asked([0])
        batcher.submit(running)
        await asyncio.sleep(0.05)
        for _ in range(100):
            member = Asked([1, 2, 3])
            batcher.submit(member)
            batcher.cancel(member)
        assert batcher.items == 0
        assert not list(batcher._line)
        batcher.cancel(running)  # taken already: its answer comes
        session.gate.set()
        await settle([running])
        await batcher.drain(5)

    run(main())


def test_a_request_whose_time_is_over_is_told_at_once_and_never_computed():
    async def main():
        session = Fake(gate=threading.Event())
        batcher = make(session, cost=2 * INLINE_NS)  # the call takes longer than was foretold
        running, late, patient = Asked([0]), Asked([1], timeout_ns=20_000_000), Asked([2])
        batcher.submit(running)
        await asyncio.sleep(0.01)
        late.deadline_ns = time.perf_counter_ns() + 100_000_000
        batcher.submit(late)
        batcher.submit(patient)
        await settle([late])
        assert isinstance(late.answers[0], DeadlineError)
        assert not running.answers  # told while the engine was still at work
        session.gate.set()
        await settle([running, patient])
        assert session.calls == [1, 1]
        assert late.answers[1:] == []
        await batcher.drain(5)

    run(main())


def test_a_time_out_that_passed_while_the_loop_was_busy_counts_too():
    async def main():
        session = Fake()
        batcher = make(session)
        late, other = Asked([1], timeout_ns=50_000_000), Asked([2])
        batcher.submit(late)
        batcher.submit(other)
        time.sleep(0.06)  # noqa: ASYNC251 - the loop is meant to be blocked
        await turns()
        assert isinstance(late.answers[0], DeadlineError)
        assert other.answers == [other.wanted]
        assert session.calls == [1]

    run(main())


def test_a_time_out_in_the_past_is_refused():
    async def main():
        batcher = make(Fake())
        member = Asked([1])
        member.deadline_ns = time.perf_counter_ns() - 1
        with pytest.raises(DeadlineError):
            batcher.submit(member)
        assert batcher.items == 0

    run(main())


@pytest.mark.parametrize("cost", [FAST, SLOW])
def test_draining_answers_who_waits_and_refuses_who_comes(cost):
    async def main():
        session = Fake()
        batcher = make(session, size=2, cost=cost)
        members = [Asked([i]) for i in range(7)]
        for member in members:
            batcher.submit(member)
        draining = asyncio.ensure_future(batcher.drain(5))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="unloaded"):
            batcher.submit(Asked([1]))
        assert await draining
        assert all(m.answers == [m.wanted] for m in members)

    run(main())


def test_a_drain_that_takes_too_long_refuses_who_still_waits():
    async def main():
        session = Fake(gate=threading.Event())
        batcher = make(session, cost=SLOW)
        running, waiting = Asked([0]), Asked([1])
        batcher.submit(running)
        await asyncio.sleep(0.02)
        batcher.submit(waiting)
        assert not await batcher.drain(0.1)
        assert isinstance(waiting.answers[0], UnavailableError)
        session.gate.set()
        await settle([running])

    run(main())


def test_an_idle_batcher_drains_at_once():
    async def main():
        assert await make(Fake()).drain(5)

    run(main())


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.integers(1, 5),
            st.sampled_from([0.0, 0.0, 0.0, INVALID, CRASH, BUG, LOST]),
            st.integers(1, 2),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 40)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=60,
)


async def play(batcher, operations):
    """Carry out the operations; the members that were taken in, and those cancelled in time."""
    members, cancelled = [], []
    for number, (what, *values) in enumerate(operations):
        if what == "submit":
            rows, poison, width = values
            tags = [100.0 * number + i for i in range(rows)]
            tags[-1] = poison or tags[-1]
            member = Asked(tags, width=width)
            with contextlib.suppress(UnavailableError):
                batcher.submit(member)
                members.append(member)
        elif what == "cancel" and members:
            member = members[values[0] % len(members)]
            if member.waiting:
                cancelled.append(member)
            batcher.cancel(member)
        else:
            await turns(values[0])
    return members, cancelled


def right(member):
    """Whether its one answer is its own."""
    tags = set(member.inputs["x"][:, 0].tolist())
    [answer] = member.answers
    if tags & {INVALID, CRASH, BUG}:
        return isinstance(answer, ModelworksError)
    if LOST in tags and member.rows > 1:
        return answer == member.wanted[1:]  # alone: what the model says is its own
    return answer == member.wanted


@examples(100)
@given(OPERATIONS, st.integers(1, 9), st.integers(1, 30), st.sampled_from([FAST, SLOW]))
def test_nobody_is_lost_whatever_happens(operations, size, queue, cost):
    async def main():
        batcher = make(Fake(), size=size, queue=queue, cost=cost)
        members, cancelled = await play(batcher, operations)
        answered = [m for m in members if m not in cancelled]
        await settle(answered)
        assert await batcher.drain(5)
        assert batcher.items == 0
        assert all(right(member) for member in answered)
        assert all(member.answers == [] for member in cancelled)

    run(main())


def test_cost_moves_a_model_between_loop_and_thread():
    cost = Cost()
    assert not cost.inline(1)
    cost.learn(1, FAST)
    assert cost.inline(1)
    assert cost.inline(64)
    cost.learn(1, 0.9 * INLINE_NS)
    for _ in range(30):
        cost.learn(1, 0.9 * INLINE_NS)
    assert cost.inline(1)
    assert not cost.inline(4)  # unknown: scaled from what is known
    cost.learn(4, FAST)
    assert cost.inline(4)
    cost.learn(2, FAST)
    cost.learn(2, 1000 * INLINE_NS)  # one interruption is no trend
    assert cost.inline(2)
    for _ in range(20):
        cost.learn(1, 50 * INLINE_NS)
    assert not cost.inline(1)
    for _ in range(30):
        cost.learn(1, FAST)
    assert cost.inline(1)
