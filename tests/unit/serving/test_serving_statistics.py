"""Counters that all workers share, and the texts made of them."""

import math
import os
import re
from time import perf_counter_ns

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.protocol import openmetrics
from modelworks.serving import metrics
from modelworks.serving.batcher import Member
from modelworks.serving.block import SERVER, Block
from modelworks.serving.block_file import MODELS, shared_file
from modelworks.serving.execute import Ran
from modelworks.serving.histograms import BOUNDS_NS
from modelworks.serving.statistics import Outcome, Recorder, Stage, batch_rows, read

pytestmark = pytest.mark.unit
MS = 1_000_000


class Done(Member):
    __slots__ = ()

    def __init__(self, received_ns, queued_ns, rows=1):
        super().__init__({}, rows, None, received_ns)
        self.queued_ns = queued_ns

    def succeed(self, outputs):
        pass

    def fail(self, error):
        pass


def call(rows=(1, 2), now=None):
    now = now or perf_counter_ns()
    members = [Done(now - 9 * MS, now - 8 * MS, n) for n in rows]
    return Ran(members, [], None, sum(rows), now - 5 * MS, now - 4 * MS, now - MS)


def test_a_call_is_counted_for_every_member():
    block = Block()
    recorder = Recorder.of_model(block, "m", "1.0.0")
    recorder.call(call())
    recorder.ended(Outcome.INVALID, 5 * MS)
    recorder.ended(Outcome.CANCELLED, 0)
    recorder.waiting(7)
    numbers = read(block, block.models()["m", "1.0.0"])
    assert numbers.outcomes[Outcome.SUCCESS] == 2
    assert numbers.failures == 1
    assert (numbers.items, numbers.calls, numbers.waiting) == (3, 1, 7)
    assert numbers.fail_ns == 5 * MS
    assert numbers.input_ns == 2 * MS
    assert numbers.infer_ns == 6 * MS
    assert [(row.size, row.calls) for row in numbers.batches] == [(3, 1)]
    wanted = {Stage.DECODE: 1, Stage.QUEUE: 3, Stage.GATHER: 1, Stage.COMPUTE: 3}
    for stage, milliseconds in wanted.items():
        histogram = numbers.stages[stage]
        assert histogram.count == 2
        assert histogram.sum_ns == 2 * milliseconds * MS
        place = histogram.buckets.index(2)
        assert BOUNDS_NS[place - 1] <= milliseconds * MS < BOUNDS_NS[place]
    assert numbers.stages[Stage.TOTAL].sum_ns >= 18 * MS


def test_a_failed_call_counts_as_a_call_and_predicts_nothing():
    block = Block()
    recorder = Recorder.of_model(block, "m", "1")
    failed = call()
    failed.error = InvalidError("no")
    recorder.call(failed)
    numbers = read(block, block.models()["m", "1"])
    assert (numbers.calls, numbers.items, numbers.outcomes[Outcome.SUCCESS]) == (1, 0, 0)
    assert numbers.stages[Stage.TOTAL].count == 0


def test_histograms_have_a_place_for_everything():
    block = Block()
    recorder = Recorder.of_model(block, "m", "1")
    now = perf_counter_ns()
    for age in (0, BOUNDS_NS[0] // 2, 3600 * 1000 * MS):
        member = Done(now - age, now)
        recorder.call(Ran([member], [], None, 1, now, now, now))
    buckets = read(block, block.models()["m", "1"]).stages[Stage.DECODE].buckets
    assert len(buckets) == len(BOUNDS_NS) + 1
    assert buckets[0] == 2
    assert buckets[-1] == 1


@pytest.mark.parametrize(
    ("size", "counted"), [(1, 1), (128, 128), (129, 128), (256, 256), (300, 256), (2**40, 2**31)]
)
def test_batch_sizes_beyond_128_are_counted_in_powers_of_two(size, counted):
    block = Block()
    recorder = Recorder.of_model(block, "m", "1")
    recorder.call(call(rows=(size,)))
    [row] = read(block, block.models()["m", "1"]).batches
    assert row.size == counted
    assert batch_rows(np.array([size]))[0] >= 0


def test_workers_share_a_block_and_write_only_their_own_slot():
    fd = shared_file(3)
    try:
        blocks = [Block(3, slot, fd) for slot in range(3)]
        recorders = [Recorder.of_model(block, "m", "1") for block in blocks]
        for count, recorder in enumerate(recorders, 1):
            for _ in range(count):
                recorder.call(call())
            recorder.waiting(count)
            recorder.settle()  # as the loop's timer does; a reader settles only its own worker
        other = Recorder.of_model(blocks[2], "other", "1")
        other.call(call())
        for block in blocks:
            assert set(block.models()) == {("m", "1"), ("other", "1")}
            numbers = read(block, block.models()["m", "1"])
            assert (numbers.calls, numbers.waiting) == (6, 6)
        assert blocks[0].pids() == [os.getpid()] * 3
        again = Recorder.of_model(Block(3, 1, fd), "m", "1")  # a worker that was started again
        again.call(call())
        again.settle()
        numbers = read(blocks[0], blocks[0].models()["m", "1"])
        assert (numbers.calls, numbers.waiting) == (7, 4)
    finally:
        os.close(fd)


def test_more_models_than_regions_are_counted_together():
    block = Block()
    for number in range(MODELS + 5):
        cells = block.region(f"m{number}", "1")
    assert len(block.models()) == MODELS - 2
    assert cells is not None
    Recorder.of_model(block, "m5000", "1").call(call())
    Recorder.of_model(block, "n" * 300, "1").call(call())
    assert len(block.models()) == MODELS - 2


@pytest.mark.parametrize(("workers", "slot"), [(0, 0), (1, 1), (300, 0), (2, -1)])
def test_impossible_slots_are_refused(workers, slot):
    with pytest.raises(InvalidError):
        Block(workers, slot)


LINE = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)')


def parsed(text):
    """{(name, labels): value}; asserts the form of the exposition."""
    found, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types
            types[name] = kind
        elif not line.startswith("# HELP "):
            name, labels, value = LINE.fullmatch(line).groups()
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            kind = types.get(name) or types[base]
            assert (kind == "counter") == name.endswith("_total")
            assert (name, labels) not in found
            found[name, labels or ""] = float(value)
    assert text.endswith("\n")
    return found


def test_metrics_are_well_formed_and_add_up():
    block = Block()
    recorder = Recorder.of_model(block, "m", "1.0.0")
    recorder.ready(value=True)
    for _ in range(3):
        recorder.call(call())
    recorder.ended(Outcome.REJECTED, MS)
    Recorder.of_server(block).ended(Outcome.INVALID, MS)
    found = parsed(metrics.render(block, "0.1.0", 1.5).decode())
    model = '{model="m",version="1.0.0"}'
    assert found["modelworks_items_total", model] == 9
    assert found["modelworks_model_ready", model] == 1
    name = "modelworks_request_duration_seconds"
    buckets = [
        value
        for (n, labels), value in found.items()
        if n == f"{name}_bucket" and 'stage="compute"' in labels
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 6
    compute = '{model="m",version="1.0.0",stage="compute"}'
    assert math.isclose(found[f"{name}_sum", compute], 6 * 0.003)
    requests = '{model="m",version="1.0.0",outcome="rejected",code="5xx"}'
    assert found["modelworks_requests_total", requests] == 1
    nobody = '{model="",version="",outcome="invalid",code="4xx"}'
    assert found["modelworks_requests_total", nobody] == 1
    assert found["modelworks_batch_items_sum", model] == 9
    assert found["modelworks_worker_resident_memory_bytes", '{worker="0"}'] > 1e6
    assert read(block, SERVER).failures == 1


def test_label_values_are_escaped():
    assert openmetrics.labels({"a": 'b"c\\d\ne'}) == '{a="b\\"c\\\\d\\ne"}'


def test_a_process_that_is_gone_has_no_memory():
    assert metrics.resident_bytes(2**22 + 1) == 0
    assert metrics.resident_bytes(os.getpid()) > 1e6
