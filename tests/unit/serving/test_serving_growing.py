"""Larger batches than were measured at load, tried under load."""

import asyncio

import pytest

from modelworks.core.served import Batching, ServedList, ServedModel
from modelworks.serving import growing
from modelworks.serving.block import Block
from modelworks.serving.growing import Growing, Growth
from modelworks.serving.models import ModelTable
from modelworks.serving.statistics import BatchRow, Recorder
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit
MS = 1_000_000


def full(growth, call_ms, calls=30):
    """A second in which all batches are as large as they may be."""
    size = growth.size
    return growth.look((BatchRow(size, calls, 0, int(calls * call_ms(size) * MS)),))


def grown(call_ms, size=1, limit=64, seconds=1000):
    growth = Growth(size, limit)
    for _ in range(seconds):
        if growth.done:
            break
        full(growth, call_ms)
    return growth


@pytest.mark.parametrize(
    ("call_ms", "best"),
    [
        (lambda n: 10.0 + 0.1 * n, 64),
        (lambda n: 12.0 * n, 1),
        (lambda n: 12.0 * n / min(1.6, 1 + 0.2 * (n.bit_length() - 1)), 8),
    ],
)
def test_the_limit_doubles_while_rows_get_cheaper(call_ms, best):
    growth = grown(call_ms)
    assert (growth.size, growth.done) == (best, True)
    assert "learnt under load" in growth.reason


def test_without_full_batches_nothing_is_tried():
    growth = Growth(4, 64)
    for _ in range(50):
        assert not growth.look((BatchRow(1, 900, 0, MS), BatchRow(4, 1, 0, MS)))
    assert growth.size == 4
    assert Growth(64, 64).done


def test_few_calls_are_added_up_until_they_say_enough():
    growth = Growth(2, 4)
    changed = [full(growth, lambda n: 10.0 + n, calls=2) for _ in range(3)]
    assert changed == [False, False, True]
    assert growth.size == 4


def test_both_limits_take_turns_until_both_had_three():
    growth = Growth(2, 8)
    sizes = []
    while growth.size == 2 or not sizes or len(sizes) < 6:
        sizes.append(growth.size)
        full(growth, lambda n: 10.0 + n)
    assert sizes == [2, 4, 2, 4, 2, 4]
    assert growth.size == 4
    assert "learnt under load" in growth.reason


def test_a_trial_that_did_not_pay_is_repeated_and_the_third_is_the_last():
    growth = Growth(2, 4)
    looks = 0
    while not growth.done and looks < 1000:
        looks += 1
        full(growth, lambda n: 12.0 * n)
    assert (growth.size, growth.done) == (2, True)
    assert 100 < looks < 400


@pytest.mark.parametrize(("pays", "size"), [(True, 4), (False, 2)])
def test_a_neighbour_that_has_the_machine_for_a_while_decides_nothing(pays, size):
    growth = Growth(2, 4)
    for look in range(6):
        assert not growth.done
        slow = 2.0 if look >= 3 else 1.0  # one pair of the three is of two kinds of machine
        full(growth, lambda n, slow=slow: slow * (10.0 + n if pays else 12.0 * n))
    assert growth.size == size


def test_it_looks_until_it_is_done_and_puts_the_size_in_force(monkeypatch):
    monkeypatch.setattr(growing, "PERIOD_S", 0.01)
    block = Block()
    recorder = Recorder.of_model(block, "m", "1")
    applied = []

    async def main():
        task = Growing("m", Growth(1, 2), 3.0, recorder.read, applied.append)
        place = 816
        until = asyncio.get_running_loop().time() + 5
        while not task.growth.done:
            size = task.growth.size
            recorder.cells[place + 4 * (size - 1)] += 40
            recorder.cells[place + 4 * (size - 1) + 2] += 40 * (10 + size) * MS
            await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() < until
        task.stop()

    asyncio.run(main())
    assert [(one.max_batch_size, one.max_delay_ms) for one in applied] == [
        (size, 3.0) for size in (2, 1, 2, 1, 2)
    ]


def test_a_model_whose_curve_was_finished_does_not_grow(tmp_path):
    async def main():
        table = ModelTable(Block(), 1, lambda: None)
        path = models.double(tmp_path / "m.onnx")
        served = ServedModel("m", "1.0.0", str(path), "", batching=Batching())
        await table.apply(ServedList(1, (served,)))
        assert table.resolve("m").growing is None
        await table.close(5)

    asyncio.run(main())
