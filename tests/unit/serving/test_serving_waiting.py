"""Models that are loaded when they are asked for: who waits, how long, and what they are told."""

import asyncio
from dataclasses import replace
from time import perf_counter_ns

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.served import ServedList, ServedModel
from modelworks.protocol.problems import problem
from modelworks.serving.block import Block
from modelworks.serving.entries import Entry, State
from modelworks.serving.lifetimes import read_lifetime
from modelworks.serving.models import ModelTable
from modelworks.serving.policy import Policy
from modelworks.serving.waiting import Waiting
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


class Asked:
    """An exchange without a connection."""

    def __init__(self, body=b""):
        self.body = body
        self.headers = {}
        self.on_gone = None
        self.received_ns = perf_counter_ns()
        self.error = self.live = None

    def act(self, live, _):
        self.live = live

    def refuse(self, error):
        self.error = error


class Loading:
    """A model whose loading the test holds up, and may make fail."""

    def __init__(self):
        self.count = 0
        self.go = asyncio.Event()
        self.error = None

    async def revive(self, entry):
        self.count += 1
        await self.go.wait()
        if self.error:
            raise self.error
        entry.live = self


def entry_of(name="m"):
    return Entry(ServedModel(name, "1.0.0", "", ""), dormant=True)


def run(main, wait_s=60.0):
    async def whole():
        loading = Loading()
        waiting = Waiting(loading.revive, lambda exchange, error: exchange.refuse(error), wait_s)
        await main(loading, waiting)

    asyncio.run(asyncio.wait_for(whole(), 60))


def enter(waiting, entry, count=1, body=b""):
    asked = [Asked(body) for _ in range(count)]
    for one in asked:
        waiting.enter(entry, one, one.act)
    return asked


async def until(true):
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come about")


def test_a_burst_loads_once_and_everybody_is_answered_in_order():
    async def main(loading, waiting):
        entry, order = entry_of(), []
        for number in range(50):
            one = Asked()
            waiting.enter(entry, one, lambda *_, number=number: order.append(number))
        await asyncio.sleep(0)
        loading.go.set()
        await until(lambda: len(order) == 50)
        assert order == sorted(order)
        assert loading.count == 1

    run(main)


def test_a_failure_is_everybodys_and_the_next_one_tries_again():
    async def main(loading, waiting):
        loading.error = UnavailableError("no room")
        loading.go.set()
        entry = entry_of()
        asked = enter(waiting, entry, 3)
        await until(lambda: all(one.error for one in asked))
        assert {one.error.message for one in asked} == {"no room"}
        loading.error = None
        [again] = enter(waiting, entry)
        await until(lambda: again.live)
        assert loading.count == 2

    run(main)


def test_a_bug_is_told_as_ours():
    async def main(loading, waiting):
        loading.error = ZeroDivisionError()
        loading.go.set()
        [asked] = enter(waiting, entry_of())
        await until(lambda: asked.error)
        assert problem(asked.error)[0] == 500

    run(main)


def test_whose_own_time_is_over_waits_no_longer():
    async def main(loading, waiting):
        entry, hurried, patient = entry_of(), Asked(), Asked()
        hurried.headers = {b"x-timeout-ms": b"20"}
        for one in (hurried, patient):
            waiting.enter(entry, one, one.act)
        await until(lambda: hurried.error)
        assert problem(hurried.error)[0] == 504
        loading.go.set()
        await until(lambda: patient.live)
        assert hurried.live is None
        odd = Asked()
        odd.headers = {b"x-timeout-ms": b"soon"}
        with pytest.raises(InvalidError):
            waiting.enter(entry_of("n"), odd, odd.act)

    run(main)


def test_who_waits_too_long_is_told_to_come_back():
    async def main(loading, waiting):
        entry = entry_of()
        [late] = enter(waiting, entry)
        await until(lambda: late.error)
        status, _, headers = problem(late.error)
        assert status == 503
        assert dict(headers)[b"Retry-After"] == b"5"
        loading.go.set()
        [next_one] = enter(waiting, entry)
        await until(lambda: next_one.live)
        assert loading.count == 1  # the first one's load went on

    run(main, wait_s=0.05)


def test_who_leaves_is_forgotten():
    async def main(loading, waiting):
        entry = entry_of()
        gone, stays = enter(waiting, entry, 2)
        gone.on_gone()
        loading.go.set()
        await until(lambda: stays.live)
        assert gone.live is gone.error is None

    run(main)


def test_too_many_and_too_much_are_refused_at_once():
    async def main(loading, waiting):
        enter(waiting, entry_of("a"), 1023)
        enter(waiting, entry_of("b"))
        with pytest.raises(UnavailableError, match="1024 requests wait"):
            enter(waiting, entry_of("c"))
        loading.go.set()

    run(main)

    async def heavy(loading, waiting):
        enter(waiting, entry_of("a"), 4, bytes(60 << 20))
        with pytest.raises(UnavailableError, match="wait"):
            enter(waiting, entry_of("b"), 1, bytes(20 << 20))
        loading.go.set()

    run(heavy)


@pytest.fixture
def double(tmp_path):
    path = models.double(tmp_path / "double.onnx")
    return ServedModel("double", "1.0.0", str(path), "sha256:1")


def lazily(main, **policy):
    async def whole():
        block = Block()
        table = ModelTable(block, 1, lambda: None, Policy(lazy=True, **policy))
        try:
            await main(table, block)
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_a_lazy_table_loads_what_is_asked_for_and_counts_it(double):
    async def main(table, block):
        other = replace(double, name="other")
        kept = replace(double, name="kept")
        await table.apply(ServedList(1, (double, other, kept)))
        assert table.ready
        assert {e.served.name: e.state for e in table.entries()} == {
            "double": State.UNAVAILABLE,
            "other": State.UNAVAILABLE,
            "kept": State.READY,
        }
        entry = table.entry("double")
        assert entry.dormant
        assert "next request" in entry.reason
        await asyncio.gather(*(table.revive(entry) for _ in range(5)))
        assert table.resolve("double") is entry.live
        assert not entry.dormant
        life = read_lifetime(block, block.models()["double", "1.0.0"])
        assert (life.loads, life.unloads, life.failures) == (1, 0, 0)
        assert life.footprint == entry.footprint > 0
        assert life.load_ns > 0
        await table.unload("double")
        assert not entry.dormant  # whoever unloads it by hand wants it to stay away
        with pytest.raises(UnavailableError, match="unloaded on request"):
            await table.revive(entry)
        life = read_lifetime(block, block.models()["double", "1.0.0"])
        assert (life.unloads, life.evictions, life.footprint) == (1, 0, 0)
        assert ("other", "1.0.0") not in block.models()

    lazily(main, pinned=frozenset({"kept"}))


def test_a_model_that_was_never_loaded_can_be_told_to_stay_away(double):
    async def main(table, _):
        await table.apply(ServedList(1, (double,)))
        await table.unload("double")
        entry = table.entry("double")
        with pytest.raises(UnavailableError, match="unloaded on request"):
            await table.revive(entry)
        await table.load("double")
        assert entry.live

    lazily(main)


def test_a_lazy_name_never_moves_from_what_answers_to_what_cannot(double, tmp_path):
    async def main(table, _):
        await table.apply(ServedList(1, (double,)))
        await table.revive(table.entry("double"))
        bad = tmp_path / "bad.onnx"
        bad.write_bytes(b"no model")
        broken = replace(double, version="2.0.0", path=str(bad))
        await table.apply(ServedList(2, (broken,)))
        assert table.resolve("double").version == "1.0.0"
        good = replace(double, version="3.0.0")
        await table.apply(ServedList(3, (good,)))
        assert table.resolve("double").version == "3.0.0"

    lazily(main)


def test_what_failed_is_not_tried_at_every_request(double, tmp_path):
    async def main(table, block):
        bad = tmp_path / "bad.onnx"
        bad.write_bytes(b"no model")
        await table.apply(ServedList(1, (replace(double, path=str(bad)),)))
        waiting = Waiting(table.revive, lambda exchange, error: exchange.refuse(error))
        entry = table.entry("double")
        [first] = enter(waiting, entry)
        await until(lambda: first.error)
        with pytest.raises(UnavailableError, match="not available") as caught:
            enter(waiting, entry)
        assert caught.value.retry_after >= 1
        life = read_lifetime(block, block.models()["double", "1.0.0"])
        assert (life.loads, life.failures) == (0, 1)

    lazily(main)


def test_a_model_that_left_the_list_while_it_was_asked_for_is_refused(double):
    async def main(table, _):
        await table.apply(ServedList(1, (double,)))
        entry = table.entry("double")
        await table.apply(ServedList(2, ()))
        with pytest.raises(UnavailableError):
            await table.revive(entry)

    lazily(main)
