"""Requests that would be answered too late: refused at once, and never for longer than is true."""

import asyncio
import random
import time

import numpy as np
import pytest

from modelworks.core.errors import DeadlineError, ModelworksError, UnavailableError
from modelworks.core.served import Batching
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.batcher import Batcher, Member
from modelworks.serving.cost import Cost
from modelworks.serving.outlook import LateError, Outlook

pytestmark = pytest.mark.unit
MS = 1_000_000
SIGNATURE = Signature((TensorSpec("x", Datatype.FP64, (None,)),), ())


def known(**ns_by_rows):
    cost = Cost()
    for rows, ns in ns_by_rows.items():
        cost.learn(int(rows[1:]), ns)
    return cost


def test_a_wait_is_the_rest_of_the_running_call_and_the_calls_in_front():
    outlook = Outlook(known(r1=10 * MS))
    assert outlook.wait(0, 1, 0, 0) == 0
    assert outlook.wait(0, 1, 1, 4 * MS) == 6 * MS
    assert outlook.wait(0, 1, 1, 40 * MS) == 0  # longer than usual: it may end any moment
    assert outlook.wait(3, 1, 1, 0) == 40 * MS


def test_those_in_front_who_share_the_call_are_no_wait():
    outlook = Outlook(known(r1=2 * MS, r8=4 * MS))
    assert outlook.wait(7, 8, 0, 0) == 0
    assert outlook.wait(8, 8, 0, 0) == 4 * MS
    assert outlook.wait(20, 8, 8, MS) == 11 * MS


def test_an_unknown_cost_refuses_nobody():
    outlook = Outlook(Cost())
    assert outlook.wait(5, 1, 1, 0) == float("inf")
    assert outlook.fits(float("inf"), 1, 1)


def test_longer_waits_than_foretold_are_believed_fast_and_forgotten_slowly():
    outlook = Outlook(known(r1=MS))
    for _ in range(50):
        outlook.saw(10 * MS, 20 * MS)
    assert outlook.stretch > 1.9
    for _ in range(100):
        outlook.saw(10 * MS, 10 * MS)
    assert 1.4 < outlook.stretch < 1.9
    for _ in range(5000):
        assert not outlook.fits(1000 * MS, 1, MS)  # nobody is let in, so nothing is learnt
    assert outlook.stretch < 1.01


@pytest.mark.parametrize("factor", [1.0, 1.6])
def test_nearly_all_waits_are_shorter_than_foretold(factor):
    generator = random.Random(1)
    outlook = Outlook(known(r1=MS))
    late = 0
    for turn in range(4000):
        expected = generator.uniform(5, 50) * MS
        taken = factor * expected * generator.uniform(0.8, 1.2)
        late += turn >= 1000 and taken > outlook.stretch * expected
        outlook.saw(expected, taken)
    assert late / 3000 < 0.1
    assert outlook.stretch < 1.3 * factor  # and hardly anybody is refused in vain


class Sleeps:
    """Each call sleeps `seconds`."""

    signature = SIGNATURE
    apart = False

    def __init__(self, seconds):
        self.seconds = seconds
        self.calls = 0

    def infer(self, inputs):
        self.calls += 1
        time.sleep(self.seconds)
        return [inputs["x"]]

    def close(self):
        pass


class Asked(Member):
    __slots__ = ("answer", "answered")

    def __init__(self, timeout_ns):
        now = time.perf_counter_ns()
        super().__init__({"x": np.zeros(1)}, 1, None, now, now + timeout_ns if timeout_ns else 0)
        self.answer = None
        self.answered = 0

    def succeed(self, outputs):
        self.answer, self.answered = outputs, time.perf_counter_ns()

    def fail(self, error):
        self.answer, self.answered = error, time.perf_counter_ns()


def batcher_of(session, expected_ns, queue=4096):
    limits = Batching(1, queue)
    return Batcher("m", session, limits, known(r1=expected_ns), lambda _: None)


def test_who_would_be_late_is_refused_at_once_with_the_time_to_come_back():
    async def main():
        session = Sleeps(0.02)
        batcher = batcher_of(session, 20 * MS)
        patient = [Asked(0) for _ in range(100)]
        for member in patient:
            batcher.submit(member)
        with pytest.raises(UnavailableError, match="100 items waiting") as caught:
            batcher.submit(Asked(500 * MS))
        assert not isinstance(caught.value, DeadlineError)
        assert caught.value.retry_after == 2
        batcher.submit(Asked(20_000 * MS))
        assert batcher.items == 101
        await batcher.drain(0.1)

    asyncio.run(main())


def test_an_idle_engine_tries_whatever_it_expects():
    async def main():
        session = Sleeps(0.001)
        batcher = batcher_of(session, 10_000 * MS)  # it was slow once
        for _ in range(40):
            member = Asked(200 * MS)
            batcher.submit(member)
            while member.answer is None:  # noqa: ASYNC110 - a member is no event
                await asyncio.sleep(0.001)
            assert not isinstance(member.answer, ModelworksError)
        assert session.calls == 40
        busy = [Asked(0), Asked(200 * MS)]
        for member in busy:
            batcher.submit(member)  # by now the engine is known to be fast again
        await batcher.drain(5)
        assert not isinstance(busy[1].answer, ModelworksError)

    asyncio.run(main())


def refused(outlook, items, deadline_ns, rows=1, largest=1):
    """As a batcher asks: the time is 0, and a call runs that has just begun."""
    wait = outlook.wait(items, largest, 1, 0)
    assert not outlook.fits(wait, rows, deadline_ns)
    return outlook.refusal("m", items, rows, largest, deadline_ns, wait)


def test_a_refusal_holds_for_who_has_as_many_in_front_and_no_more_time():
    outlook = Outlook(known(r1=10 * MS))
    assert outlook.late(5, 1, 1, 20 * MS) is None
    error = refused(outlook, 5, 20 * MS)
    for items, rows, deadline in ((5, 1, 20), (9, 1, 1), (5, 4, 20), (5, 1, 24)):
        assert outlook.late(items, rows, 1, deadline * MS) is error
    assert outlook.late(4, 1, 1, 20 * MS) is None  # somebody was taken
    assert outlook.late(5, 1, 1, 26 * MS) is None  # it has more time
    assert outlook.late(5, 1, 8, 20 * MS) is None  # batches are larger now
    assert refused(outlook, 5, 26 * MS) is not error


def test_a_refusal_holds_for_no_more_time_than_would_have_been_enough():
    outlook = Outlook(known(r1=10 * MS))
    error = refused(outlook, 2, 39 * MS)  # 40 are needed
    assert outlook.late(2, 1, 1, 40 * MS - 1) is error
    assert outlook.late(2, 1, 1, 40 * MS + 1) is None


def test_a_refusal_that_is_used_again_forgets_as_much_as_one_that_is_worked_out():
    one, other = (Outlook(known(r1=10 * MS)) for _ in range(2))
    for outlook in (one, other):
        for _ in range(50):
            outlook.saw(10 * MS, 20 * MS)
    refused(one, 5, 20 * MS)
    for _ in range(100):
        refused(other, 5, 20 * MS)
    for _ in range(99):
        assert one.late(5, 1, 1, 20 * MS)
    assert one.fits(0, 1, 1000 * MS)
    assert one.stretch == pytest.approx(other.stretch)


def test_everybody_who_is_late_gets_one_error_and_it_keeps_nobody():
    async def main():
        batcher = batcher_of(Sleeps(0.02), 20 * MS)
        for _ in range(100):
            batcher.submit(Asked(0))
        lengths = []
        for _ in range(3):
            with pytest.raises(LateError) as caught:
                batcher.submit(Asked(500 * MS))
            lengths.append(len(caught.traceback))
        assert lengths == lengths[:1] * 3
        first = caught.value
        with pytest.raises(LateError) as caught:
            batcher.submit(Asked(400 * MS))
        assert caught.value is first
        batcher.submit(Asked(20_000 * MS))
        await batcher.drain(0.1)

    asyncio.run(main())


@pytest.mark.alone
@pytest.mark.timeout(60)
def test_at_three_times_the_capacity_what_is_let_in_is_in_time_and_the_engine_never_idles():
    took, timeout = 4 * MS, 40 * MS

    async def main():
        session = Sleeps(took / 1e9)
        batcher = batcher_of(session, took)
        members, refused = [], 0
        began = time.perf_counter_ns()
        for turn in range(900):
            due = began + turn * took // 3
            await asyncio.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
            member = Asked(timeout)
            try:
                batcher.submit(member)
                members.append(member)
            except UnavailableError as error:
                assert not isinstance(error, DeadlineError)
                refused += 1
        ended = time.perf_counter_ns()
        await batcher.drain(5)
        return session, members, refused, ended - began

    for _ in range(8):  # somebody else may use the machine: then it is tried again
        session, members, refused, spent = asyncio.run(main())
        good = [m for m in members if not isinstance(m.answer, ModelworksError)]
        late = [m for m in members if m.answered > m.deadline_ns]
        possible = spent / (took + 0.2 * MS)
        assert session.calls == len(good)  # what was refused or ran out of time cost nothing
        assert refused > 300
        if len(good) > 0.75 * possible and len(late) < 0.1 * len(members):
            return
    pytest.fail(f"{len(good)} of {possible:.0f} possible, {len(late)} late of {len(members)}")
