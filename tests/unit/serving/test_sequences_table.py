"""Sequences in front of a batcher: in order, beside others, and nobody gets another's state."""

import asyncio

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from memory_taken import counted
from modelworks.core.errors import (
    ConflictError,
    CrashedError,
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.served import Batching
from properties import examples
from sequence_desk import CRASH, Remembering, SequenceDesk, Told
from virtual_loop import SimulatedThread, VirtualLoop, play

pytestmark = pytest.mark.unit


async def turns(count=40):
    for _ in range(count):
        await asyncio.sleep(0)


def run(main):
    asyncio.run(asyncio.wait_for(main, 30))


def slow(loop, seconds=1.0, **more):
    desk = SequenceDesk(inline=False, **more)
    desk.batcher._beside = SimulatedThread(loop, lambda: seconds)
    return desk


async def tell(desk, *steps):
    for step in steps:
        desk.table.submit(step)
    await turns()
    return [step.answers[0] if step.answers else None for step in steps]


def test_a_sequence_adds_up_and_a_start_begins_anew():
    async def main():
        desk = SequenceDesk()
        assert await tell(desk, Told(7, 1, start=True)) == [1]
        assert await tell(desk, Told(7, 2)) == [3]
        assert await tell(desk, Told(7, 3)) == [6]
        assert await tell(desk, Told(7, 4, start=True)) == [4]
        assert await tell(desk, Told(7, 5, end=True)) == [9]
        with pytest.raises(InvalidError, match="begin again with sequence_start"):
            desk.table.submit(Told(7, 1))
        numbers = desk.numbers
        assert (numbers.open, numbers.bytes, numbers.started, numbers.ended) == (0, 0, 2, 1)
        assert desk.quiet

    run(main())


def test_different_sequences_share_calls_and_one_does_not():
    async def main():
        desk = SequenceDesk()
        keys = [1, 2, "1", "two", 2**64 - 1]
        steps = [Told(key, place + 1, start=True) for place, key in enumerate(keys)]
        assert await tell(desk, *steps) == [1, 2, 3, 4, 5]
        assert desk.session.calls == [[1, 2, 3, 4, 5]]
        steps = [Told(1, 10), Told(1, 20), Told(2, 1), Told(1, 30), Told("1", 1)]
        assert await tell(desk, *steps) == [11, 31, 3, 61, 4]
        assert desk.session.calls[1:] == [[10, 1, 1], [20], [30]]
        assert desk.quiet

    run(main())


def test_start_to_end_in_one_turn():
    async def main():
        desk = SequenceDesk()
        steps = [Told(7, 1, start=True), Told(7, 2), Told(7, 3, end=True), Told(7, 9, start=True)]
        assert await tell(desk, *steps, Told(8, 5, start=True, end=True)) == [1, 3, 6, 9, 5]
        assert desk.numbers.open == 1

    run(main())


def test_what_comes_behind_an_end_is_refused_up_to_the_next_start():
    async def main():
        desk = SequenceDesk()
        steps = [
            Told(7, 1, start=True, end=True),
            Told(7, 2),
            Told(7, 3),
            Told(7, 4, start=True),
            Told(7, 5),
        ]
        first, second, third, fourth, fifth = await tell(desk, *steps)
        assert (first, fourth, fifth) == (1, 4, 9)
        assert isinstance(second, InvalidError)
        assert isinstance(third, ConflictError)
        assert desk.quiet

    run(main())


def test_what_is_no_step_is_refused():
    async def main():
        desk = SequenceDesk()
        for step, said in (
            (Told(None, 1), "say sequence_id"),
            (Told(7, 1), "not open here"),
            (Told(7, 1, end=True), "not open here"),
            (Told(7, 1, start=True, rows=2), "one row, not 2"),
        ):
            with pytest.raises(InvalidError, match=said):
                desk.table.submit(step)
        assert len(desk.table) == 0
        assert desk.quiet

    run(main())


def test_a_step_that_fails_changes_nothing_and_takes_those_behind_along():
    async def main():
        desk = SequenceDesk()
        assert await tell(desk, Told(7, 1, start=True)) == [1]
        failed, behind, anew, after = await tell(
            desk, Told(7, CRASH), Told(7, 2), Told(7, 5, start=True), Told(7, 6)
        )
        assert isinstance(failed, CrashedError)
        assert isinstance(behind, ConflictError)
        assert (anew, after) == (5, 11)
        assert isinstance((await tell(desk, Told(7, CRASH)))[0], CrashedError)
        assert await tell(desk, Told(7, 1)) == [12]
        assert desk.quiet

    run(main())


def test_a_sequence_whose_first_step_fails_was_never_begun():
    async def main():
        desk = SequenceDesk()
        failed, behind, other = await tell(
            desk, Told(7, CRASH, start=True), Told(7, 2), Told(8, 1, start=True)
        )
        assert isinstance(failed, CrashedError)
        assert isinstance(behind, ConflictError)
        assert other == 1
        with pytest.raises(InvalidError, match="not open here"):
            desk.table.submit(Told(7, 1))
        assert desk.numbers.lost == 1
        assert len(desk.table) == 1

    run(main())


def test_a_step_that_is_given_up_takes_those_behind_along():
    async def main():
        desk = SequenceDesk()
        assert await tell(desk, Told(7, 1, start=True)) == [1]
        first, second, third, fourth = steps = [Told(7, value) for value in (2, 3, 4, 5)]
        for step in steps:
            desk.table.submit(step)
        desk.table.cancel(third)
        desk.table.cancel(third)
        await turns()
        assert (first.answers, second.answers, third.answers) == ([3], [6], [])
        assert isinstance(fourth.answers[0], ConflictError)
        first, second = Told(7, 1), Told(7, 1)
        desk.table.submit(first)
        desk.table.submit(second)
        desk.table.cancel(first)
        await turns()
        assert first.answers == []
        assert isinstance(second.answers[0], ConflictError)
        assert await tell(desk, Told(7, 0)) == [6]
        assert desk.quiet

    run(main())


def test_a_first_step_that_is_given_up_leaves_no_sequence():
    async def main():
        desk = SequenceDesk()
        step = Told(7, 1, start=True)
        desk.table.submit(step)
        desk.table.cancel(step)
        await turns()
        assert (len(desk.table), desk.numbers.open, desk.numbers.bytes) == (0, 0, 0)
        assert desk.session.calls == []
        assert desk.quiet

    run(main())


def test_a_step_that_is_late_behind_another():
    async def main(loop):
        desk = slow(loop)
        now = loop.now_ns()
        steps = [
            Told(7, 1, start=True, now=now),
            Told(7, 2, now=now, timeout_ms=500),
            Told(7, 3, now=now),
            Told(8, 4, start=True, now=now),
        ]
        for step in steps:
            desk.table.submit(step)
        await asyncio.sleep(5)
        assert steps[0].answers == [1]
        assert isinstance(steps[1].answers[0], DeadlineError)
        assert isinstance(steps[2].answers[0], ConflictError)
        assert steps[3].answers == [4]
        assert desk.quiet

    play(main)


def test_idle_sequences_are_forgotten_and_busy_ones_are_not():
    async def main(loop):
        desk = slow(loop, seconds=8.0, idle_s=5.0)
        for key in (1, 2):
            desk.table.submit(Told(key, key, start=True, now=loop.now_ns()))
        await asyncio.sleep(9)
        assert len(desk.table) == 2
        await asyncio.sleep(3)
        step = Told(1, 10, now=loop.now_ns())
        desk.table.submit(step)
        await asyncio.sleep(3)
        assert len(desk.table) == 1  # the second one was idle for over 5 s
        await asyncio.sleep(20)
        assert step.answers == [11]
        numbers = desk.numbers
        assert (numbers.open, numbers.bytes, numbers.expired) == (0, 0, 2)
        assert desk.quiet

    play(main)


def test_sequences_are_bounded_in_number():
    async def main():
        desk = SequenceDesk(max=2)
        await tell(desk, Told(1, 1, start=True), Told(2, 1, start=True))
        with pytest.raises(UnavailableError, match="2 sequences are open") as caught:
            desk.table.submit(Told(3, 1, start=True))
        assert caught.value.field == "parameters.sequence_id"
        assert await tell(desk, Told(1, 5, start=True)) == [5]  # no third
        await tell(desk, Told(1, 1, end=True))
        assert await tell(desk, Told(3, 1, start=True)) == [1]

    run(main())


def test_sequences_are_bounded_in_bytes():
    async def main():
        desk = SequenceDesk(max_bytes=4000)
        await tell(desk, Told(1, 1, start=True), Told(2, 1, start=True))
        with pytest.raises(UnavailableError, match="of at most 4000"):
            desk.table.submit(Told(3, 1, start=True))
        assert desk.numbers.bytes <= 4000

    run(main())


def test_states_that_grow_begin_empty_and_share_calls_where_they_are_as_long():
    async def main():
        desk = SequenceDesk(Remembering())
        assert await tell(desk, Told(1, 1, start=True), Told(2, 2, start=True)) == [1, 2]
        assert await tell(desk, Told(1, 10)) == [11]
        assert await tell(desk, Told(1, 1), Told(2, 1), Told(3, 5, start=True)) == [12, 3, 5]
        assert desk.session.calls == [[1, 2], [10], [1], [1], [5]]
        assert await tell(desk, Told(2, 1), Told(1, 0)) == [4, 12]

    run(main())


def test_states_that_grow_over_the_bound_are_forgotten_and_others_are_not():
    async def main():
        desk = SequenceDesk(Remembering(), max_bytes=3400)
        await tell(desk, Told(1, 1, start=True), Told(2, 7, start=True))
        for step in range(40):
            (said,) = await tell(desk, Told(1, 1))
            if isinstance(said, UnavailableError):
                break
            assert said == step + 2
            assert desk.numbers.bytes <= 3400
        assert isinstance(said, UnavailableError)
        assert "begin it again later" in said.message
        with pytest.raises(InvalidError, match="not open here"):
            desk.table.submit(Told(1, 1))
        assert await tell(desk, Told(2, 1)) == [8]
        assert (desk.numbers.open, desk.numbers.lost) == (1, 1)
        assert desk.quiet

    run(main())


def test_a_line_of_steps_is_bounded():
    async def main():
        desk = SequenceDesk(limits=Batching(8, 3))
        await tell(desk, Told(1, 1, start=True))
        for value in range(3):
            desk.table.submit(Told(1, value))
        with pytest.raises(UnavailableError, match="takes at most 3"):
            desk.table.submit(Told(1, 1))
        await turns()
        assert desk.quiet

    run(main())


def test_unloading_answers_who_is_queued_and_refuses_who_stands_behind():
    async def main():
        desk = SequenceDesk()
        await tell(desk, Told(1, 1, start=True))
        first, second = Told(1, 2), Told(1, 3, start=True)
        desk.table.submit(first)
        desk.table.submit(second)
        assert await desk.table.drain(5)
        assert first.answers == [3]
        assert isinstance(second.answers[0], UnavailableError)
        with pytest.raises(UnavailableError, match="unloaded"):
            desk.table.submit(Told(2, 1, start=True))
        assert (desk.numbers.open, desk.numbers.lost) == (0, 1)
        assert desk.quiet

    run(main())


@pytest.mark.parametrize("drain_s", [10, 25])
def test_the_version_before_goes_on_for_its_sequences_and_no_longer_than_it_may(drain_s):
    async def main(loop):
        old, new = slow(loop, seconds=0.1, drain_s=drain_s), slow(loop, seconds=0.1)
        for key in (1, 2):
            old.table.submit(Told(key, key, start=True, now=loop.now_ns()))
        await asyncio.sleep(1)
        new.table.follow_on(old.table, lambda member: setattr(member, "live", "old"))
        began = loop.time()
        drained = asyncio.ensure_future(old.table.drain(30))
        await turns()
        going_on, fresh = Told(1, 10, now=loop.now_ns()), Told(3, 5, start=True, now=loop.now_ns())
        new.table.submit(going_on)
        new.table.submit(fresh)
        await asyncio.sleep(1)
        assert (going_on.answers, going_on.live) == ([11], "old")
        assert (fresh.answers, fresh.live) == ([5], None)
        last = Told(1, 1, end=True, now=loop.now_ns())
        new.table.submit(last)
        await drained
        assert not new.table._elders
        assert last.answers == [12]
        assert -1 < loop.time() - began - drain_s < 1  # the second one never ended
        assert old.numbers.lost == 1
        for key in (1, 2):
            with pytest.raises(InvalidError, match="not open here"):
                new.table.submit(Told(key, 1))

    play(main)


def test_who_ends_early_lets_the_version_before_go():
    async def main(loop):
        old, new = slow(loop, seconds=0.1), slow(loop, seconds=0.1)
        old.table.submit(Told(1, 1, start=True, now=loop.now_ns()))
        await asyncio.sleep(1)
        new.table.follow_on(old.table, lambda member: None)
        began = loop.time()
        drained = asyncio.ensure_future(old.table.drain(30))
        await turns()
        new.table.submit(Told(1, 1, end=True, now=loop.now_ns()))
        assert await drained
        assert loop.time() - began < 1

    play(main)


@pytest.mark.parametrize("key", [lambda n: n, lambda n: f"{n:0256d}"], ids=["numbers", "texts"])
def test_a_sequence_takes_no_more_memory_than_is_said(key):
    """Python's own count of bytes, of 300 open sequences with small states."""

    async def main():
        desk = SequenceDesk(max=2000, limits=Batching(64, 5000))
        await tell(desk, Told("warm", 1, start=True))
        with counted(__file__) as held:
            said = desk.numbers.bytes
            for number in range(300):
                desk.table.submit(Told(key(number), 1, start=True))
                if number % 50 == 0:
                    await turns()
            await turns(200)
            taken = held()
        said = desk.numbers.bytes - said
        assert desk.numbers.open == 301
        assert taken <= said < 3 * taken

    run(main())


class SequenceMachine(RuleBasedStateMachine):
    """Against a dictionary of sums: what is answered is what was added up, whatever goes wrong."""

    @initialize()
    def begin(self):
        self.loop = VirtualLoop()
        self.desk = self.loop.run_until_complete(self._desk())
        self.steps = []
        self.left = set()

    async def _desk(self):
        return SequenceDesk(limits=Batching(3, 10), max=3, idle_s=1000.0)

    @rule(
        key=st.sampled_from([1, 2, 3, 4]),
        value=st.sampled_from([1, 2, 3, CRASH]),
        start=st.booleans(),
        end=st.sampled_from([False, False, True]),
    )
    def tell(self, key, value, start, end):
        async def work():
            step = Told(key, value, start, end)
            try:
                self.desk.table.submit(step)
            except ModelworksError:
                return
            self.steps.append((key, value, start, end, step))

        self.loop.run_until_complete(work())

    @precondition(lambda self: self.steps)
    @rule(place=st.integers(0, 1000))
    def leave(self, place):
        step = self.steps[place % len(self.steps)][4]
        if step.waiting and not step.answers:
            self.left.add(step)
            self.desk.table.cancel(step)

    @rule(count=st.integers(1, 4))
    def turn(self, count):
        self.loop.run_until_complete(turns(count))

    def teardown(self):
        if not hasattr(self, "desk"):
            return
        self.loop.run_until_complete(turns(200))
        sums = {}
        for key, value, start, end, step in self.steps:
            if step in self.left:
                assert step.answers == []
                if start:
                    sums.pop(key, None)
                continue
            assert len(step.answers) == 1, "somebody was lost"
            (answer,) = step.answers
            if isinstance(answer, ModelworksError):
                if start and value == CRASH and isinstance(answer, CrashedError):
                    sums.pop(key, None)
                continue
            assert start or key in sums
            sums[key] = value if start else sums[key] + value
            assert answer == sums[key]
            if end:
                del sums[key]
        assert len(self.desk.table) <= 3
        assert self.desk.quiet
        assert {sequence.id for sequence in self.desk.table._table.all()} == set(sums)
        assert all(
            np.array_equal(sequence.states["h"], [[sums[sequence.id]]])
            for sequence in self.desk.table._table.all()
        )
        self.loop.run_until_complete(self.desk.table.drain(5))
        assert len(self.desk.table) == self.desk.numbers.open == self.desk.numbers.bytes == 0
        self.loop.close()


TestSequenceMachine = SequenceMachine.TestCase
TestSequenceMachine.settings = examples(25, stateful_step_count=30)
