"""What a recorder noted is counted soon, once, and a part at a time."""

import asyncio
from time import perf_counter_ns

import pytest

from modelworks.serving import counting
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.counting import Counting
from modelworks.serving.execute import Ran
from modelworks.serving.statistics import Outcome, Recorder, Stage

pytestmark = pytest.mark.unit


class Done(Member):
    def succeed(self, outputs):
        raise AssertionError

    def fail(self, error):
        raise AssertionError


@pytest.fixture
def recorder():
    return Recorder.of_model(Block(), "m", "1")


def note(recorder, members=3, calls=1, skew=0):
    for _ in range(calls):
        now = perf_counter_ns()
        group = [Done({}, 1, None, now - 9000) for _ in range(members)]
        recorder.call(Ran(group, [], None, members, now + skew, now + 2000, now + 3000))


def numbers(recorder):
    found = recorder.read()
    return found.outcomes[Outcome.SUCCESS], found.calls, found.items, found.stages


def test_half_counted_is_counted_before_anybody_reads(recorder):
    note(recorder, members=3, calls=5)
    assert recorder.step()  # the calls are counted, their members are not
    note(recorder, members=1, calls=2)
    good, calls, items, stages = numbers(recorder)
    assert (good, calls, items) == (17, 7, 17)
    assert {stage: found.count for stage, found in stages.items() if stage is not Stage.WAIT} == {
        stage: 17 for stage in stages if stage is not Stage.WAIT
    }
    assert not recorder.noted
    assert not recorder.step()


def test_a_part_at_a_time_counts_the_same_as_all_at_once():
    found = []
    for parts in (True, False):
        recorder = Recorder.of_model(Block(), "m", "1")
        note(recorder, members=4, calls=3)
        while parts and recorder.step():
            pass
        good, calls, items, stages = numbers(recorder)
        found.append((good, calls, items, [stage.count for stage in stages.values()]))
    assert found[0] == found[1]


def test_a_clock_that_goes_back_costs_no_count(recorder):
    note(recorder, skew=-(10**12))
    note(recorder, skew=10**12)
    assert numbers(recorder)[0] == 6


def test_it_is_counted_soon_and_by_one_timer_however_often_somebody_reads(recorder, monkeypatch):
    monkeypatch.setattr(counting, "SETTLE_S", 0.02)

    async def main():
        loop = asyncio.get_running_loop()
        timers = []
        later = loop.call_later
        monkeypatch.setattr(
            loop, "call_later", lambda *given: timers.append(given) or later(*given)
        )
        counts = Counting(recorder)
        for _ in range(20):
            note(recorder)
            if not counts.due:
                counts.begin()
            recorder.read()
        assert len(timers) == 1
        note(recorder)  # and then silence
        end = loop.time() + 10
        while counts.due and loop.time() < end:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)
        assert not recorder.noted
        assert recorder.cells[3] == 63  # items

    asyncio.run(main())


def test_what_is_noted_while_the_last_is_counted_does_not_wait_for_the_next(recorder, monkeypatch):
    monkeypatch.setattr(counting, "SETTLE_S", 0.01)

    async def main():
        counts = Counting(recorder)
        note(recorder)
        counts.begin()
        end = asyncio.get_running_loop().time() + 10
        while recorder.noted:  # until the first part is under way
            await asyncio.sleep(0)
            assert asyncio.get_running_loop().time() < end
        note(recorder)
        assert counts.due
        while counts.due:
            await asyncio.sleep(0.005)
            assert asyncio.get_running_loop().time() < end
        assert recorder.cells[3] == 6

    asyncio.run(main())
