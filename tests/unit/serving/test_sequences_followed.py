"""A version that takes another's place, and sequences that are begun anew in it."""

import asyncio

import pytest

from modelworks.core.errors import InvalidError
from sequence_desk import SequenceDesk, Told
from virtual_loop import SimulatedThread, play

pytestmark = pytest.mark.unit


def slow(loop):
    """A table of sequences whose steps take 0.1 s each."""
    desk = SequenceDesk(inline=False)
    desk.batcher._beside = SimulatedThread(loop, lambda: 0.1)
    return desk


async def followed(loop):
    """A version that has sequence 7, the one in its place, and the end of the first."""
    old, new = slow(loop), slow(loop)
    old.table.submit(Told(7, 1, start=True, now=loop.now_ns()))
    await asyncio.sleep(1)
    new.table.follow_on(old.table, lambda member: None)
    drained = asyncio.ensure_future(old.table.drain(30))
    await asyncio.sleep(0.1)
    return old, new, drained


def told(desk, loop, value, **marks):
    step = Told(7, value, now=loop.now_ns(), **marks)
    desk.table.submit(step)
    return step


def test_what_is_begun_anew_is_forgotten_by_the_version_before():
    async def main(loop):
        old, new, drained = await followed(loop)
        anew = told(new, loop, 5, start=True, end=True)
        await asyncio.sleep(1)
        assert anew.answers == [5]
        with pytest.raises(InvalidError, match="not open here"):
            told(new, loop, 1)
        assert await drained
        assert (old.numbers.open, old.numbers.ended, old.numbers.lost) == (0, 1, 0)

    play(main)


def test_what_came_before_it_is_computed_where_it_was_and_nothing_after_it():
    async def main(loop):
        old, new, drained = await followed(loop)
        before = [told(new, loop, value) for value in (10, 100)]
        anew = told(new, loop, 5, start=True, end=True)
        await asyncio.sleep(0.15)
        assert [step.answers for step in (*before, anew)] == [[11], [], [5]]
        with pytest.raises(InvalidError, match="not open here"):
            told(new, loop, 1)
        await asyncio.sleep(1)
        assert before[1].answers == [111]
        assert await drained
        assert (old.numbers.open, old.numbers.ended, old.numbers.lost) == (0, 1, 0)

    play(main)
