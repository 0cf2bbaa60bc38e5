"""A cache in front of a batcher: once computed, for all who ask, whoever leaves."""

import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kept_desk import CRASH, INVALID, Asked, Desk
from modelworks.core.errors import (
    CrashedError,
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.served import Batching
from properties import examples
from virtual_loop import SimulatedThread, VirtualLoop, play

pytestmark = pytest.mark.unit


async def turns(count=30):
    for _ in range(count):
        await asyncio.sleep(0)


def run(main):
    asyncio.run(asyncio.wait_for(main, 30))


def slow(loop, seconds=1.0, **more):
    """A desk whose calls take that long on the loop's clock."""
    desk = Desk(inline=False, **more)
    desk.batcher._beside = SimulatedThread(loop, lambda: seconds)
    return desk


def ask(desk, *members):
    for member in members:
        desk.cached.submit(member)


def test_the_second_time_nothing_is_computed():
    async def main():
        desk = Desk()
        for _ in range(3):
            member = Asked(3, 4)
            ask(desk, member)
            await turns()
            assert member.answers == member.wanted
        assert desk.session.calls == [[3, 4]]
        numbers = desk.numbers
        assert (numbers.hits, numbers.misses, numbers.entries) == (2, 1, 1)
        assert len(desk.answered) == 2
        assert desk.empty

    run(main())


def test_what_the_engine_writes_over_later_is_not_what_was_kept():
    async def main():
        desk = Desk()
        for value in (1, 2, 1, 2):
            member = Asked(value)
            ask(desk, member)
            await turns()
            assert member.answers == member.wanted
        assert desk.session.calls == [[1], [2]]

    run(main())


def test_equal_questions_at_once_are_computed_once_beside_others():
    async def main():
        desk = Desk()
        members = [Asked(value) for value in (1, 2, 1, 1, 3, 2)]
        ask(desk, *members)
        await turns()
        assert all(member.answers == member.wanted for member in members)
        assert desk.session.calls == [[1, 2, 3]]
        assert (desk.numbers.hits, desk.numbers.misses) == (3, 3)
        assert desk.empty

    run(main())


def test_errors_are_told_to_all_who_asked_and_never_kept():
    async def main():
        desk = Desk()
        for value, kind in ((INVALID, InvalidError), (CRASH, CrashedError)):
            for _ in range(2):
                members = [Asked(value), Asked(value)]
                ask(desk, *members)
                await turns()
                assert [type(m.answers[0]) for m in members] == [kind, kind]
        assert len(desk.session.calls) == 4
        assert desk.numbers.entries == 0
        assert desk.empty

    run(main())


def test_the_first_leaves_and_the_others_are_answered():
    async def main():
        desk = Desk()
        first, second, third = Asked(1), Asked(1), Asked(1)
        ask(desk, first, second, third)
        desk.cached.cancel(first)
        desk.cached.cancel(third)
        await turns()
        assert (first.answers, third.answers) == ([], [])
        assert second.answers == second.wanted
        assert desk.session.calls == [[1]]
        assert desk.empty

    run(main())


def test_all_leave_and_nothing_is_computed():
    async def main():
        desk = Desk()
        members = [Asked(1), Asked(1)]
        ask(desk, *members)
        for member in members:
            desk.cached.cancel(member)
            desk.cached.cancel(member)  # twice is quiet
        await turns()
        assert desk.session.calls == []
        assert desk.empty
        again = Asked(1)
        ask(desk, again)
        await turns()
        assert again.answers == again.wanted

    run(main())


def test_who_leaves_while_it_is_computed_harms_nobody_and_the_answer_is_kept():
    async def main(loop):
        desk = slow(loop)
        first, second = Asked(1, now=loop.now_ns()), Asked(1, now=loop.now_ns())
        ask(desk, first)
        await asyncio.sleep(0.5)
        ask(desk, second)
        assert (first.waiting, second.waiting) == (False, False)
        desk.cached.cancel(first)
        await asyncio.sleep(1)
        assert second.answers == second.wanted
        third = Asked(1)
        ask(desk, third)
        await turns()
        assert third.answers == third.wanted
        assert desk.session.calls == [[1]]
        assert desk.empty

    play(main)


def test_each_has_its_own_time_out():
    """The engine is busy for a second; who waits for the same has 400 ms, 5 s and no limit."""

    async def main(loop):
        desk = slow(loop)
        ask(desk, Asked(9, now=loop.now_ns()))
        await turns()
        hurried = Asked(1, timeout_ms=400, now=loop.now_ns())
        patient = Asked(1, timeout_ms=5000, now=loop.now_ns())
        free = Asked(1, now=loop.now_ns())
        ask(desk, hurried, patient, free)
        await asyncio.sleep(0.6)
        assert [type(answer) for answer in hurried.answers] == [DeadlineError]
        assert (patient.answers, free.answers) == ([], [])
        await asyncio.sleep(3)
        assert patient.answers == patient.wanted
        assert free.answers == free.wanted
        assert desk.empty

    play(main)


def test_one_that_rides_along_expires_alone():
    async def main(loop):
        desk = slow(loop)
        ask(desk, Asked(9, now=loop.now_ns()))
        await turns()
        first, hurried = Asked(1, now=loop.now_ns()), Asked(1, timeout_ms=100, now=loop.now_ns())
        ask(desk, first, hurried)
        await asyncio.sleep(0.5)
        assert [type(answer) for answer in hurried.answers] == [DeadlineError]
        await asyncio.sleep(3)
        assert first.answers == first.wanted
        assert desk.empty

    play(main)


def test_the_models_own_time_out_holds_for_those_who_ride_along():
    async def main(loop):
        desk = slow(loop, limits=Batching(8, 64, timeout_ms=400))
        ask(desk, Asked(9, now=loop.now_ns()))
        await turns()
        members = [Asked(1, now=loop.now_ns()) for _ in range(3)]
        ask(desk, *members)
        await asyncio.sleep(0.6)
        assert [type(m.answers[0]) for m in members] == [DeadlineError] * 3
        await asyncio.sleep(3)
        assert desk.session.calls == [[9]]
        assert desk.empty

    play(main)


def test_answers_grow_old():
    async def main(loop):
        desk = slow(loop, ttl_s=10.0)
        for pause, calls in ((0, 1), (5, 1), (7, 2), (5, 2)):
            await asyncio.sleep(pause)
            member = Asked(1, now=loop.now_ns())
            ask(desk, member)
            await asyncio.sleep(2)
            assert member.answers == member.wanted
            assert len(desk.session.calls) == calls

    play(main)


def test_a_kept_reply_lives_no_longer_than_the_answer_in_it():
    async def main(loop):
        desk = slow(loop, ttl_s=10.0)
        ask(desk, Asked(1, now=loop.now_ns()))
        await asyncio.sleep(6)

        class Noting(Asked):
            def succeed(self, outputs):
                super().succeed(outputs)
                desk.cached.note(b"key", (b"body", b"kind", ()))

        ask(desk, Noting(1, now=loop.now_ns()))
        await turns()
        assert desk.cached.reply(b"key") == (b"body", b"kind", ())
        await asyncio.sleep(6)
        assert desk.cached.reply(b"key") is None

    play(main)


def test_urgent_ones_do_not_wait_behind_the_same_question_of_others():
    async def main(loop):
        desk = slow(loop, limits=Batching(1, 64, priority_levels=2))
        ask(desk, Asked(9, now=loop.now_ns()))
        await turns()
        late, urgent = Asked(1, priority=2), Asked(1, priority=1)
        ask(desk, Asked(5, priority=2), late, urgent)
        await asyncio.sleep(2.5)
        assert urgent.answers == urgent.wanted
        assert late.answers == []
        await asyncio.sleep(5)
        assert late.answers == late.wanted
        with pytest.raises(InvalidError, match="priorities 1"):
            desk.cached.submit(Asked(1, priority=3))
        assert desk.empty

    play(main)


def test_a_full_queue_refuses_questions_and_riders_but_not_what_is_kept():
    async def main(loop):
        desk = slow(loop, limits=Batching(1, 4))
        known = Asked(7, now=loop.now_ns())
        ask(desk, known)
        await asyncio.sleep(2)
        ask(desk, Asked(9, now=loop.now_ns()))
        await turns()
        waiting = [Asked(1) for _ in range(3)]
        ask(desk, *waiting)
        with pytest.raises(UnavailableError, match="try again later"):
            desk.cached.submit(Asked(1))
        again = Asked(7)
        ask(desk, again)
        await turns()
        assert again.answers == again.wanted
        await asyncio.sleep(5)
        assert all(member.answers == member.wanted for member in waiting)
        assert desk.empty

    play(main)


def test_unloading_answers_those_who_wait_and_forgets():
    async def main():
        desk = Desk()
        members = [Asked(1), Asked(1), Asked(2)]
        ask(desk, *members)
        assert await desk.cached.drain(5)
        assert all(member.answers == member.wanted for member in members)
        with pytest.raises(UnavailableError, match="unloaded"):
            desk.cached.submit(Asked(1))
        assert desk.numbers.entries == desk.numbers.bytes == 0
        assert desk.empty

    run(main())


def test_what_is_not_to_be_kept_passes_by():
    class Once(Asked):
        keeps = False

    async def main():
        desk = Desk()
        for _ in range(2):
            member = Once(1)
            ask(desk, member)
            await turns()
            assert member.answers == member.wanted
        assert desk.session.calls == [[1], [1]]
        assert (desk.numbers.hits, desk.numbers.misses) == (0, 0)

    run(main())


class CacheMachine(RuleBasedStateMachine):
    """Against the simplest model: everybody who stays gets twice what he asked, or the error."""

    @initialize(size=st.sampled_from([4096, 6000, 1 << 20]))
    def begin(self, size):
        self.loop = VirtualLoop()
        self.members, self.left = [], set()
        self.desk = self.loop.run_until_complete(self._desk(size))

    async def _desk(self, size):
        return Desk(limits=Batching(3, 12, timeout_ms=0), max_bytes=size)

    def teardown(self):
        if hasattr(self, "desk"):
            self.loop.run_until_complete(self.desk.cached.drain(5))
            self.check_all()
            assert self.desk.empty
            self.loop.close()

    @rule(value=st.sampled_from([1, 2, 3, 4, 5, INVALID, CRASH]), rows=st.integers(1, 2))
    def ask(self, value, rows):
        async def work():
            member = Asked(*[value] * rows)
            try:
                self.desk.cached.submit(member)
            except UnavailableError:
                return
            self.members.append(member)

        self.loop.run_until_complete(work())

    @precondition(lambda self: self.members)
    @rule(place=st.integers(0, 1000))
    def leave(self, place):
        member = self.members[place % len(self.members)]
        if member.waiting and not member.answers:
            self.left.add(member)
            self.desk.cached.cancel(member)

    @rule(count=st.integers(1, 4))
    def turn(self, count):
        self.loop.run_until_complete(turns(count))

    @invariant()
    def bounded(self):
        if hasattr(self, "desk"):
            store = self.desk.cached._store
            assert store.bytes <= store._max_bytes
            assert store.bytes == sum(size for _, size, _ in store._kept.values())

    def check_all(self):
        self.loop.run_until_complete(turns(60))
        for member in self.members:
            value = member.inputs["x"][0, 0]
            if member in self.left:
                assert member.answers == []
            elif value in {INVALID, CRASH}:
                assert len(member.answers) == 1
                assert isinstance(member.answers[0], ModelworksError)
            else:
                assert member.answers == member.wanted


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = examples(20, stateful_step_count=25)
