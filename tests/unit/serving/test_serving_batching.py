"""Delays, priorities, time-outs and ragged shapes: nobody is lost, whatever happens to whom."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import (
    CrashedError,
    DeadlineError,
    InvalidError,
    UnavailableError,
)
from modelworks.core.ragged import Ragged
from modelworks.core.served import Batching
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.batcher import Batcher, Member, answer_each
from modelworks.serving.cost import INLINE_NS, Cost
from modelworks.serving.execute import Cut
from modelworks.serving.shapes import Padder
from properties import examples
from virtual_loop import SimulatedThread, play

pytestmark = pytest.mark.unit
SIGNATURE = Signature(
    tuple(TensorSpec(name, Datatype.INT64, (None, None)) for name in ("ids", "mask")),
    (
        TensorSpec("sum", Datatype.INT64, (None,)),
        TensorSpec("tokens", Datatype.INT64, (None, None)),
    ),
)
PADDER = Padder(SIGNATURE, Ragged("mask", values=(("ids", 7.0),)), ((), (1,)))
INVALID, CRASH, BUG = -1, -2, -3
RAISED = {INVALID: InvalidError, CRASH: CrashedError, BUG: ZeroDivisionError}
POISON = {INVALID: InvalidError, CRASH: CrashedError, BUG: CrashedError}
MS = 1_000_000
FAST, SLOW = 1000, 20 * INLINE_NS


@dataclass
class Fake:
    """Sums and doubles what the mask lets through; some ids fail the call."""

    signature: Signature = SIGNATURE
    apart: bool = False

    def infer(self, inputs):
        ids, mask = inputs["ids"], inputs["mask"]
        assert ids.shape == mask.shape
        assert (ids[mask == 0] == 7).all()  # what it was told to be filled up with
        for value in POISON:
            if (ids == value).any():
                raise {INVALID: InvalidError, CRASH: CrashedError, BUG: ZeroDivisionError}[value](
                    ""
                )
        return [(ids * mask).sum(axis=1), 2 * ids * mask]

    def close(self):
        pass


class Asked(Member):
    __slots__ = ("answers", "breaks", "done", "number", "priority")

    def __init__(
        self, loop, number, rows=1, length=1, priority=0, timeout_ms=0.0, poison=0, breaks=False
    ):
        ids = 1000 * number + np.arange(rows * length).reshape(rows, length) + 10
        ids[-1, -1] = poison or ids[-1, -1]
        inputs = {"ids": ids, "mask": np.ones_like(ids)}
        now = loop.now_ns()
        deadline = now + round(timeout_ms * MS) if timeout_ms else 0
        super().__init__(inputs, rows, PADDER.shape_of(inputs), now, deadline)
        self.number, self.priority, self.breaks = number, priority, breaks
        self.answers = []
        self.done = asyncio.Event()

    def succeed(self, outputs):
        if self.breaks:
            raise ValueError("cannot be written")
        self.answers.append([array.tolist() for array in outputs])
        self.done.set()

    def fail(self, error):
        self.answers.append(error)
        self.done.set()

    @property
    def wanted(self):
        ids = self.inputs["ids"]
        return [ids.sum(axis=1).tolist(), (2 * ids).tolist()]

    def answered(self, error=None):
        if error is None:
            return self.answers == [self.wanted]
        return len(self.answers) == 1 and isinstance(self.answers[0], error)


@dataclass
class Bench:
    """A batcher on a loop whose clock jumps, and everything that it did."""

    loop: object
    limits: Batching
    cost_ns: float = FAST
    one_shape: bool = False
    seconds: list = field(default_factory=lambda: [0.02])
    calls: list = field(default_factory=list)

    def __post_init__(self):
        cost = Cost()
        for power in range(5):  # rows that come along cost nearly nothing
            cost.learn(2**power, self.cost_ns * (1 + power / 50))
        self.batcher = Batcher(
            "m",
            Fake(),
            self.limits,
            cost,
            self._called,
            partial(PADDER.answer, plain=answer_each),
            PADDER.gather,
            one_shape=self.one_shape,
        )
        self.batcher._beside = SimulatedThread(self.loop, lambda: self.seconds[-1])

    def _called(self, call):
        self.calls.append((call, self.batcher.items))

    def submit(self, *members):
        for member in members:
            self.batcher.submit(member)

    @property
    def batches(self):
        return [[member.number for member in call.members] for call, _ in self.calls]

    @property
    def cuts(self):
        return [call.cut for call, _ in self.calls]

    async def end(self):
        assert await self.batcher.drain(600)
        assert self.batcher.items == 0
        assert not list(self.batcher._line)
        assert self.batcher._timed == 0
        assert self.batcher._alarm is None


async def turns(count=30):
    for _ in range(count):
        await asyncio.sleep(0)


KINDS = {
    "plain": Batching(8),
    "delayed": Batching(8, max_delay_ms=5),
    "levels": Batching(8, priority_levels=3),
    "all": Batching(8, max_delay_ms=5, priority_levels=3, timeout_ms=5000),
}


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("fault", ["cancel", "expire", "invalid", "crash", "bug", "write"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cost_ns", [FAST, SLOW])
def test_what_befalls_one_harms_no_neighbour(place, fault, kind, cost_ns):
    async def main(loop):
        bench = Bench(loop, KINDS[kind], cost_ns)
        poison = {"invalid": INVALID, "crash": CRASH, "bug": BUG}.get(fault, 0)
        members = [
            Asked(
                loop,
                number,
                rows=1 + number % 2,
                length=4 + number % 3,  # of one bucket: 4 to 7
                priority=number % 4 if bench.limits.priority_levels > 1 else 0,
                poison=poison if number == place else 0,
                breaks=fault == "write" and number == place,
                timeout_ms=200 if fault == "expire" and number == place else 0,
            )
            for number in range(6)
        ]
        bench.submit(*members)
        victim = members[place]
        if fault == "cancel":
            bench.batcher.cancel(victim)
            bench.batcher.cancel(victim)
        elif fault == "expire":
            loop.now += 0.3  # the loop was busy
        await bench.end()
        for member in members:
            if member is not victim:
                assert member.answered(), member.answers
        if fault == "cancel":
            assert victim.answers == []
        else:
            kind_of = {"expire": DeadlineError, "invalid": InvalidError}.get(fault, CrashedError)
            assert victim.answered(kind_of), victim.answers
        computed = [number for batch in bench.batches for number in batch]
        assert (place in computed) == (fault not in {"cancel", "expire"})

    play(main)


def test_an_idle_engine_waits_for_company_as_long_as_it_was_told():
    async def main(loop):
        bench = Bench(loop, Batching(8, max_delay_ms=5), one_shape=True)
        began = loop.now
        bench.submit(Asked(loop, 0))
        await asyncio.sleep(0.002)
        bench.submit(Asked(loop, 1))
        await asyncio.sleep(0.0029)
        assert bench.calls == []
        await asyncio.sleep(0.0002)
        assert bench.batches == [[0, 1]]
        assert bench.cuts == [Cut.DELAY]
        assert loop.now - began == pytest.approx(0.0051, abs=1e-4)
        await bench.end()

    play(main)


@pytest.mark.parametrize("limits", [Batching(8), Batching(8, priority_levels=2)])
def test_callers_who_ask_again_at_once_become_one_batch(limits):
    async def caller(loop, bench, number, until):
        while loop.now < until:
            member = Asked(loop, number, length=4)
            bench.submit(member)
            await member.done.wait()
            await asyncio.sleep(0.0001 * (1 + number))  # its turn-around

    async def main(loop):
        bench = Bench(loop, limits, SLOW)
        until = loop.now + 1
        await asyncio.gather(*(caller(loop, bench, number, until) for number in range(8)))
        sizes = [len(batch) for batch in bench.batches]
        assert sum(sizes[:3]) >= 9
        assert set(sizes[3:-1]) == {8}, sizes

    play(main)


def test_a_full_batch_does_not_wait():
    async def main(loop):
        bench = Bench(loop, Batching(4, max_delay_ms=50))
        began = loop.now
        bench.submit(*(Asked(loop, i) for i in range(6)))
        await turns()
        assert bench.batches == [[0, 1, 2, 3]]
        assert bench.cuts == [Cut.FULL]
        await bench.end()  # a drain waits for nobody's company
        assert bench.batches[1:] == [[4, 5]]
        assert loop.now == pytest.approx(began, abs=1e-3)

    play(main)


def test_a_single_caller_waits_once_and_hardly_ever_again():
    async def main(loop):
        bench = Bench(loop, Batching(8, max_delay_ms=2), one_shape=True)
        waits = []
        for number in range(2000):
            began = loop.now
            member = Asked(loop, number)
            bench.submit(member)
            await member.done.wait()
            waits.append(loop.now - began)
            await asyncio.sleep(0.0001)
        assert waits[0] == pytest.approx(0.002, abs=1e-4)
        vain = [wait for wait in waits[1:] if wait > 1e-4]  # not a turn of the loop or two
        # One hundredth of the time goes into looking whether there are others.
        assert sum(vain) <= 0.011 * loop.now - 100 * 0.011 + 0.0021
        assert 0 < len(vain) < 10
        assert bench.cuts == [Cut.DELAY] + [Cut.ALONE] * 1999
        await bench.end()

    play(main)


@pytest.mark.parametrize("callers", [2, 5, 8])
@pytest.mark.parametrize("cost_ns", [FAST, SLOW])
def test_callers_who_wait_for_answers_are_sent_when_all_are_there(callers, cost_ns):
    async def main(loop):
        bench = Bench(loop, Batching(64, max_delay_ms=20), cost_ns, one_shape=True)
        numbers = iter(range(10_000))

        async def caller(gap):
            for _ in range(60):
                member = Asked(loop, next(numbers))
                bench.submit(member)
                await member.done.wait()
                await asyncio.sleep(gap)

        began = loop.now
        await asyncio.gather(*(caller(0.0003 * (1 + i)) for i in range(callers)))
        sizes = [len(batch) for batch in bench.batches]
        assert np.mean(sizes[4:]) > 0.8 * callers
        # Every batch waiting out its delay would take 60 x 20 ms and more.
        engine = 0.02 * len(sizes) if cost_ns == SLOW else 0
        assert loop.now - began - engine < 0.6
        await bench.end()

    play(main)


def test_a_deadline_ends_the_wait_in_time_to_be_met():
    async def main(loop):
        bench = Bench(loop, Batching(8, max_delay_ms=100), SLOW)
        hurried = Asked(loop, 1, timeout_ms=60)
        bench.submit(Asked(loop, 0), hurried)
        await hurried.done.wait()
        assert hurried.answered()
        assert bench.cuts == [Cut.DEADLINE]
        assert bench.batches == [[0, 1]]
        await bench.end()

    play(main)


def test_a_models_own_time_out_is_for_those_who_bring_none():
    async def main(loop):
        bench = Bench(loop, Batching(1, timeout_ms=50), SLOW)
        bench.seconds[:] = [0.2]
        first, late, own = Asked(loop, 0), Asked(loop, 1), Asked(loop, 2, timeout_ms=10_000)
        bench.batcher._outlook._stretch = 0.25  # it hopes
        bench.submit(first, late, own)
        await asyncio.sleep(0.06)
        assert late.answered(DeadlineError)
        await bench.end()
        assert first.answered()
        assert own.answered()
        assert bench.batches == [[0], [2]]

    play(main)


def test_the_first_priority_goes_first_and_silence_is_the_last():
    async def main(loop):
        bench = Bench(loop, Batching(2, priority_levels=3), SLOW)
        bench.submit(Asked(loop, 0))
        await turns()
        order = [0, 3, 2, 1, 2, 1, 0, 3]
        bench.submit(*(Asked(loop, 1 + i, priority=p) for i, p in enumerate(order)))
        await bench.end()
        assert bench.batches == [[0], [4, 6], [3, 5], [1, 2], [7, 8]]
        assert bench.cuts == [Cut.IDLE, *[Cut.FULL] * 4]

    play(main)


def test_lower_priorities_ride_along_only_where_that_is_cheap():
    async def main(loop):
        cheap = Bench(loop, Batching(8, priority_levels=2), SLOW)
        cheap.submit(Asked(loop, 0), Asked(loop, 1), Asked(loop, 2, priority=1))
        await cheap.end()
        assert cheap.batches == [[2, 0, 1]]
        dear = Bench(loop, Batching(8, priority_levels=2), SLOW)
        for power in range(1, 5):
            for _ in range(40):
                dear.batcher._cost.learn(2**power, SLOW * 2**power)
        dear.submit(Asked(loop, 0), Asked(loop, 1), Asked(loop, 2, priority=1))
        await dear.end()
        assert dear.batches == [[2], [0, 1]]
        assert dear.cuts == [Cut.PRIORITY, Cut.IDLE]

    play(main)


def test_a_priority_that_is_none_is_refused_by_its_field():
    async def main(loop):
        bench = Bench(loop, Batching(8, priority_levels=3))
        with pytest.raises(InvalidError, match=r"1 \(first\) to 3, not 4") as caught:
            bench.submit(Asked(loop, 0, priority=4))
        assert caught.value.field == "parameters.priority"
        assert bench.batcher.items == 0
        without = Bench(loop, Batching(8))
        without.submit(Asked(loop, 1, priority=4))  # as with Triton: there are no levels
        await without.end()
        await bench.end()

    play(main)


def test_limits_change_while_requests_wait():
    async def main(loop):
        bench = Bench(loop, Batching(8), one_shape=True)
        bench.batcher.adjust(4, 50)
        members = [Asked(loop, i) for i in range(3)]
        bench.submit(*members)
        await turns()
        assert bench.calls == []
        assert bench.batcher.limits.max_delay_ms == 50
        bench.batcher.adjust(4, 0)
        await turns()
        assert bench.batches == [[0, 1, 2]]
        bench.batcher.adjust(1, 0)
        bench.submit(Asked(loop, 3), Asked(loop, 4))
        await bench.end()
        assert bench.batches[1:] == [[3], [4]]
        assert bench.cuts[1:] == [Cut.SINGLE, Cut.SINGLE]
        assert all(member.answered() for member in members)

    play(main)


@pytest.mark.parametrize("one_shape", [False, True])
def test_why_a_batch_was_cut(one_shape):
    async def main(loop):
        bench = Bench(loop, Batching(4), one_shape=one_shape)
        bench.submit(Asked(loop, 0, rows=3), Asked(loop, 1, rows=2), Asked(loop, 2, rows=1))
        await bench.end()
        assert bench.cuts == [Cut.ROOM, Cut.IDLE]
        other = Bench(loop, Batching(4))
        other.submit(Asked(loop, 0), Asked(loop, 1, length=9), Asked(loop, 2, poison=BUG))
        await other.end()
        assert other.batches == [[0], [2], [1]]
        assert other.cuts == [Cut.RETRY, Cut.RETRY, Cut.IDLE]
        third = Bench(loop, Batching(4))
        third.submit(Asked(loop, 0), Asked(loop, 1, length=9))
        await third.end()
        assert third.cuts == [Cut.SHAPE, Cut.IDLE]

    play(main)


SUBMIT = st.tuples(
    st.just("submit"),
    st.integers(1, 5),  # rows
    st.integers(1, 9),  # length
    st.integers(0, 3),  # priority
    st.sampled_from([0, 0, 0, 0.5, 3, 30, 300]),  # time-out
    st.sampled_from([0, 0, 0, 0, INVALID, CRASH, BUG]),
    st.booleans(),  # its answer cannot be written
)
OPERATIONS = st.lists(
    st.one_of(
        SUBMIT,
        SUBMIT,
        SUBMIT,
        st.tuples(st.just("cancel"), st.integers(0, 40)),
        st.tuples(st.just("pass"), st.sampled_from([0, 0, 0.0004, 0.003, 0.05])),
        st.tuples(st.just("block"), st.sampled_from([0.0004, 0.003, 0.05])),
        st.tuples(st.just("adjust"), st.integers(1, 9), st.sampled_from([0, 1, 10])),
        st.tuples(st.just("speed"), st.sampled_from([0.0001, 0.004, 0.1])),
    ),
    min_size=1,
    max_size=40,
)
LIMITS = st.builds(
    Batching,
    st.integers(1, 9),
    st.integers(1, 30),
    st.sampled_from([0, 0, 1, 10]),
    st.sampled_from([1, 3]),
    st.sampled_from([0, 0, 20]),
)


async def carry_out(bench, operations):
    """Members that were taken in, and those that were cancelled in time."""
    loop, batcher = bench.loop, bench.batcher
    members, cancelled = [], []
    for number, (what, *values) in enumerate(operations):
        if what == "submit":
            member = Asked(loop, number, *values)
            with contextlib.suppress(UnavailableError, DeadlineError):
                batcher.submit(member)
                members.append(member)
            assert batcher.items <= max(bench.limits.max_queue_size, 5)
        elif what == "cancel" and members:
            member = members[values[0] % len(members)]
            if member.waiting:
                cancelled.append(member)
            batcher.cancel(member)
        elif what == "adjust":
            batcher.adjust(*values)
        elif what == "speed":
            bench.seconds.append(values[0])
        elif what == "block":
            loop.now += values[0]
        elif what == "pass":
            await asyncio.sleep(values[0])
    return members, cancelled


def rightly_answered(member, computed):
    """Its one answer is its own, or the refusal that it deserves."""
    [answer] = member.answers
    if isinstance(answer, DeadlineError):
        return member.number not in computed and member.deadline_ns > 0
    poison = int(member.inputs["ids"][-1, -1])
    if poison in POISON:
        return isinstance(answer, POISON[poison])
    if member.breaks:
        return isinstance(answer, CrashedError)
    return answer == member.wanted


def in_order(bench, members):
    """Whether nobody overtook a neighbour of its own level and shape."""
    place = {n: i for i, n in enumerate(n for batch in bench.batches for n in batch)}
    lines = {}
    for member in members:
        if member.number in place:
            level = member.priority if bench.limits.priority_levels > 1 else 0
            lines.setdefault((level, member.shape), []).append(place[member.number])
    return all(line == sorted(line) for line in lines.values())


def truly_cut(call, left, bench, sizes):
    """Whether the reason can be true; `left`: rows that waited when it ended."""
    cut, levels = call.cut, bench.limits.priority_levels
    waits = any(delay for _, delay in sizes)
    return {
        Cut.IDLE: bench.cost_ns == SLOW or left == 0,
        Cut.DELAY: waits,
        Cut.ALONE: waits,
        Cut.DEADLINE: waits,
        Cut.FULL: max(s for s, _ in sizes) > 1,
        Cut.SINGLE: min(s for s, _ in sizes) == 1,
        Cut.PRIORITY: levels > 1,
    }.get(cut, True)


@examples(200)
@given(OPERATIONS, LIMITS, st.sampled_from([FAST, SLOW]))
def test_everybody_is_answered_once_and_rightly_whatever_happens(operations, limits, cost_ns):
    async def main(loop):
        bench = Bench(loop, limits, cost_ns)
        members, cancelled = await carry_out(bench, operations)
        waiting = [m for m in members if m not in cancelled]
        await bench.end()
        computed = {number for batch in bench.batches for number in batch}
        assert all(rightly_answered(member, computed) for member in waiting)
        assert all(member.answers == [] for member in cancelled)
        assert in_order(bench, members)
        sizes = [(limits.max_batch_size, limits.max_delay_ms)]
        sizes += [(o[1], o[2]) for o in operations if o[0] == "adjust"]
        largest = max(size for size, _ in sizes)
        for call, left in bench.calls:
            assert call.rows <= largest or len(call.members) == 1
            assert len({member.shape for member in call.members}) == 1
            assert truly_cut(call, left, bench, sizes)

    play(main)


@examples(40)
@given(OPERATIONS, st.integers(2, 9), st.sampled_from([1, 10]), st.sampled_from([1, 3]))
def test_an_engine_is_never_idle_for_longer_than_the_delay_while_somebody_waits(
    operations, size, delay, levels
):
    async def main(loop):
        bench = Bench(loop, Batching(size, 1000, delay, levels), SLOW)
        calm = [o for o in operations if o[0] not in {"adjust", "block"}]
        members, _ = await carry_out(bench, calm)
        await asyncio.sleep(60)
        assert not any(member.waiting for member in members)
        free = 0
        for call, _ in bench.calls:
            if call.cut is Cut.RETRY:
                free = max(free, call.inferred)
                continue
            oldest = min(member.queued_ns for member in call.members)
            assert call.started - max(free, oldest) <= delay * MS + MS
            free = call.inferred
        await bench.end()

    play(main)


def test_after_a_lonely_time_a_crowd_is_noticed_soon():
    async def main(loop):
        bench = Bench(loop, Batching(64, max_delay_ms=50), one_shape=True)
        for number in range(50):
            member = Asked(loop, number)
            bench.submit(member)
            await member.done.wait()
            await asyncio.sleep(0.02)
        assert bench.cuts[-10:].count(Cut.ALONE) >= 9
        before = len(bench.calls)
        for number in range(1000):  # nobody of these waits for an answer before the next one asks
            bench.submit(Asked(loop, 100 + number))
            await asyncio.sleep(0.002)
        sizes = [len(batch) for batch in bench.batches[before:]]
        assert np.mean(sizes[-12:-1]) > 20, sizes  # of the 25 that come within the delay
        await bench.end()

    play(main)
