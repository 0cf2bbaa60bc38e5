"""What a server tells of its latency, the waterfall read from it, and the verdict."""

import asyncio
import json
from time import perf_counter_ns

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import UnavailableError, UnsupportedError
from modelworks.core.served import Batching, ServedList, ServedModel
from modelworks.serving import metrics, waterfall
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.block_file import MODELS
from modelworks.serving.execute import Cut, Ran
from modelworks.serving.histograms import BOUNDS_NS, CELLS, Histogram, histogram_of, places_of
from modelworks.serving.latency import latency
from modelworks.serving.models import ModelTable
from modelworks.serving.statistics import Recorder, Stage, WaitRecorder, read
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit
MS = 1_000_000


class Asked(Member):
    """One request; its future tells when it is answered."""

    __slots__ = ("done",)

    def __init__(self):
        now = perf_counter_ns()
        super().__init__({"x": np.ones((1, 3), np.float32)}, 1, None, now)
        self.done = asyncio.get_running_loop().create_future()

    def succeed(self, outputs):
        self.done.set_result(outputs)

    def fail(self, error):
        self.done.set_exception(error)


def explained(tmp_path, batching=Batching(), requests=40, block=None):  # noqa: B008 - a frozen value
    """The document of a model that was asked, before and after."""
    path = models.double(tmp_path / "m.onnx")
    block = block or Block()
    found = []

    async def main():
        table = ModelTable(block, 1, lambda: None)
        served = ServedModel("m", "1.0.0", str(path), "", batching=batching)
        await table.apply(ServedList(1, (served,)))
        live = table.resolve("m")
        for count in (0, requests):
            asked = [Asked() for _ in range(count)]
            for member in asked:
                live.batcher.submit(member)
            await asyncio.gather(*(member.done for member in asked))
            found.append(json.loads(latency(live, block, "1.2.3", 0.0)))
        await table.close(5)

    asyncio.run(asyncio.wait_for(main(), 30))
    return found


def stage(document, name):
    return next(row for row in document["waterfall"] if row["stage"] == name)


# -- histograms


@given(st.integers(0, 2**62))
def test_every_duration_has_a_bucket_that_holds_it(taken):
    cells = [0] * (CELLS + 1)
    cells[places_of(np.array([taken]))[0]] += 1
    cells[CELLS] = taken
    found = histogram_of(cells, 0)
    assert (found.count, found.sum_ns) == (1, taken)
    quantile = found.quantile(0.99)
    assert quantile.low <= taken
    assert quantile.high is None or taken < quantile.high
    assert quantile.high is None or quantile.low <= quantile.estimate <= quantile.high
    if 1024 <= taken < BOUNDS_NS[-1]:
        assert quantile.high - quantile.low <= 0.25 * quantile.low


@given(st.lists(st.integers(1_000, 10**9), min_size=1, max_size=200), st.floats(0.01, 1))
def test_quantiles_lie_in_the_bucket_of_the_true_one(durations, share):
    cells = [0] * (CELLS + 1)
    for taken in durations:
        cells[places_of(np.array([taken]))[0]] += 1
    found = histogram_of(cells, 0).quantile(share)
    place = max(0, int(np.ceil(share * len(durations) - 1e-9)) - 1)
    assert found.low <= sorted(durations)[place] < found.high


def test_a_window_of_a_histogram_is_what_came_in_between():
    before = Histogram((1,) + (0,) * len(BOUNDS_NS), 500)
    after = Histogram((3,) + (0,) * len(BOUNDS_NS), 1500)
    assert after.since(before).count == 2
    assert after.since(before).mean_ns == 500
    assert before.since(after) == before  # a counter that went back began anew
    assert Histogram().quantile(0.5) is None


# -- counting


def test_waiting_for_company_is_told_from_waiting_for_the_engine():
    block = Block()
    recorder = Recorder.of_model(block, "m", "1", patient=True)
    assert isinstance(recorder, WaitRecorder)
    now = perf_counter_ns()

    def call(queued, started):
        member = Asked.__new__(Asked)
        member.received_ns = member.queued_ns = queued
        return Ran([member], [], None, 1, started, started, started, Cut.DELAY)

    recorder.call(call(now - 9 * MS, now - 6 * MS))  # nobody before it: all is company
    found = read(block, block.models()["m", "1"])
    assert found.stages[Stage.WAIT].sum_ns == 3 * MS
    assert found.stages[Stage.QUEUE].sum_ns == 0
    recorder.call(call(now - 5 * MS, now - 1 * MS))  # the engine was busy until after it began
    found = read(block, block.models()["m", "1"])
    assert found.stages[Stage.QUEUE].sum_ns == 4 * MS
    assert found.stages[Stage.WAIT].sum_ns == 3 * MS
    long_ago = now - 10_000 * MS  # before the engine became free, a moment ago
    recorder.call(call(long_ago, perf_counter_ns()))  # first one thing, then the other
    found = read(block, block.models()["m", "1"])
    assert found.stages[Stage.QUEUE].sum_ns >= 10_003 * MS
    assert found.stages[Stage.WAIT].sum_ns > 3 * MS
    whole = found.stages[Stage.QUEUE].sum_ns + found.stages[Stage.WAIT].sum_ns
    assert found.stages[Stage.TOTAL].sum_ns >= whole
    assert found.cuts[Cut.DELAY] == 3
    text = metrics.render(block, "0", 0.0).decode()
    assert 'modelworks_batch_cuts_total{model="m",version="1",reason="delay"} 3' in text
    assert 'stage="batch_wait",le="17.2"} 3' in text


# -- the document


def test_the_waterfall_adds_up_to_the_whole(tmp_path):
    _, document = explained(tmp_path)
    total = stage(document, "total")
    parts = [row for row in document["waterfall"] if row["stage"] != "total"]
    assert sum(row["mean_ns"] for row in parts) == pytest.approx(total["mean_ns"], rel=0.02)
    assert sum(row["share"] for row in parts) == pytest.approx(1, rel=0.02)
    assert {"decode", "queue", "gather", "compute", "encode"} <= {row["stage"] for row in parts}
    assert "batch_wait" not in {row["stage"] for row in parts}  # it has no delay
    assert document["outcomes"]["success"] == document["stages"]["total"]["count"] == 40
    for row in parts:
        if row["p99"]:
            assert row["p99"]["from_ns"] <= row["p99"]["ns"] <= row["p99"]["below_ns"]


def test_it_says_how_batches_are_made(tmp_path):
    _, document = explained(tmp_path, Batching(max_batch_size=16))
    assert document["batching"]["rows_per_call"] == pytest.approx(40 / document["calls"])
    assert sum(row["calls"] for row in document["why_cut"]) == document["calls"]
    assert {row["cut"] for row in document["why_cut"]} <= set(Cut)
    assert all(row["meaning"] for row in document["why_cut"])
    assert "full" in {row["cut"] for row in document["why_cut"]}
    assert document["sizing"]["curve"][0]["rows"] == 1
    assert document["sizing"]["reason"]
    assert document["settings"]["max_batch_size"] == 16
    assert document["workers"][0]["max_batch_size"] == document["sizing"]["max_batch_size"]
    assert {call["place"] for call in document["placement"]["calls"]} <= {"loop", "thread"}
    assert document["placement"]["reason"]
    assert document["learning"] is None
    assert document["verdict"]


def test_a_goal_shows_what_was_learnt(tmp_path):
    _, document = explained(tmp_path, Batching(latency_goal_ms=50.0, max_delay_ms=5.0))
    learning = document["learning"]
    assert learning["decisions"][0]["step"] == "start"
    assert learning["decisions"][0]["seen"] is None
    assert "50 ms" in learning["decisions"][0]["reason"]
    assert learning["setting"]["max_delay_ms"] == 0  # the longest was asked for, not the first
    assert document["workers"][0]["max_delay_ms"] == 0
    assert stage(document, "batch_wait")["meaning"]


def test_a_window_is_the_difference_of_two_documents(tmp_path):
    before, after = explained(tmp_path)
    assert "too few" in before["verdict"][0]["finding"]
    before["at_ms"], after["at_ms"] = 1_000, 3_000
    window = waterfall.since(after, before)
    assert window["seconds"] == 2
    assert window["rows"] == 40
    assert sum(row["calls"] for row in window["batches"]) == window["calls"] == after["calls"]
    assert stage(window, "total") == stage(after, "total")
    nothing = waterfall.since(after, after)
    assert nothing["stages"]["total"]["count"] == 0
    assert nothing["batches"] == []
    assert "too few" in nothing["verdict"][0]["finding"]
    with pytest.raises(UnavailableError, match="anew"):
        waterfall.since(before, after)


def test_a_model_without_counters_of_its_own_is_refused(tmp_path):
    block = Block()
    for number in range(MODELS):
        block.region(f"m{number}", "1")
    with pytest.raises(UnsupportedError, match="counted together"):
        explained(tmp_path, block=block)


# -- the verdict


def histogram(count, mean_ns):
    place = next(i for i, bound in enumerate(BOUNDS_NS) if mean_ns < bound)
    buckets = [0] * (len(BOUNDS_NS) + 1)
    buckets[place] = count
    return waterfall.shown(Histogram(tuple(buckets), count * mean_ns))


def situation(
    *,
    ms,
    sizes=((1, 1000, 1.0),),
    cuts=None,
    curve=((1, 1.0),),
    limit=64,
    given=64,
    delay=0.0,
    unbatched="",
    refused=0,
    seconds=10.0,
    learning=None,
):
    """A document of 1000 requests: milliseconds a stage; sizes as (rows, calls, ms a call)."""
    total = sum(ms.values())
    stages = {name.value: histogram(0, 1) for name in Stage}
    stages |= {name: histogram(1000, int(mean * MS)) for name, mean in ms.items()}
    stages["total"] = histogram(1000, int(total * MS))
    document = {
        "seconds": seconds,
        "settings": {
            "max_batch_size": given,
            "batched": not unbatched,
            "unbatched": unbatched,
            "latency_goal_ms": 5.0,
        },
        "sizing": {"curve": [{"rows": rows, "ns": call * MS} for rows, call in curve]},
        "workers": [{"max_batch_size": limit, "max_delay_ms": delay}],
        "outcomes": {"success": 1000, "rejected": refused, "expired": 0},
        "calls": sum(calls for _, calls, _ in sizes),
        "output_ns": 0,
        "stages": stages,
        "batches": [
            {"size": n, "calls": calls, "input_ns": 0, "infer_ns": int(call * calls * MS)}
            for n, calls, call in sizes
        ],
        "cuts": cuts or {"idle": 1000},
        "learning": learning,
    }
    return waterfall.explained(document)["verdict"]


STEEP = ((1, 1.0), (2, 1.1), (4, 1.3), (8, 1.7), (16, 2.5))


@pytest.mark.parametrize(
    ("given", "finding", "cure"),
    [
        ({"ms": {"compute": 1.0}}, "own computing", "nothing in the server"),
        ({"ms": {"compute": 0.01, "decode": 0.008, "encode": 0.008}}, "no stage", "nothing"),
        ({"ms": {"compute": 1, "decode": 3}}, "reading and writing", "binary tensors"),
        ({"ms": {"compute": 1, "queue": 9}}, "bursts", "more workers"),
        ({"ms": {"compute": 1, "queue": 9}, "seconds": 1.0}, "busy 100%", "more workers"),
        (
            {"ms": {"compute": 1, "queue": 9, "encode": 2}, "seconds": 3.0},
            "reading and writing",
            "binary tensors",
        ),
        (
            {
                "ms": {"compute": 1, "queue": 9},
                "seconds": 1.0,
                "cuts": {"full": 900, "idle": 100},
                "sizes": ((4, 250, 4.0),),
                "curve": ((1, 2.0), (2, 2.6), (4, 4.0)),
                "limit": 4,
                "given": 4,
            },
            "busy 100%",
            "max_batch_size above 4: 90% of the batches were full",
        ),
        (
            {"ms": {"compute": 1, "batch_wait": 4}, "delay": 4.0},
            "saves nothing",
            "max_delay_ms 0",
        ),
        (
            {
                "ms": {"compute": 1.7, "batch_wait": 4},
                "delay": 4.0,
                "sizes": ((8, 125, 1.7),),
                "curve": STEEP,
            },
            "a row takes 21% of what it takes alone",
            "a shorter max_delay_ms",
        ),
        (
            {"ms": {"compute": 1, "queue": 0.1}, "curve": STEEP},
            "in a call of 16 a row takes 16%",
            "more requests at the same time",
        ),
        (
            {"ms": {"compute": 8}, "sizes": ((1, 200, 1.0), (8, 100, 8.0))},
            "a row takes 1000 us in batches of 8 and 1000 alone",
            "a smaller max_batch_size",
        ),
        (
            {"ms": {"compute": 1}, "cuts": {"shape": 800, "idle": 200}},
            "80% of the batches ended where inputs of another shape began",
            "few different lengths",
        ),
        (
            {"ms": {"compute": 1, "queue": 5}, "unbatched": "the first axis is fixed"},
            "a call of its own: the first axis is fixed",
            "dynamic first axis",
        ),
        ({"ms": {"compute": 1}, "refused": 500}, "500 requests found no room", "more workers"),
        (
            {
                "ms": {"compute": 8},
                "learning": {
                    "missed": True,
                    "decisions": [{"step": "impossible", "reason": "one row alone takes 8 ms"}],
                },
            },
            "the goal of 5 ms is missed: one row alone takes 8 ms",
            "a goal that can be met",
        ),
    ],
)
def test_the_verdict_names_what_would_help(given, finding, cure):
    said = situation(**given)
    assert any(finding in one["finding"] and cure in one["help"] for one in said), said
