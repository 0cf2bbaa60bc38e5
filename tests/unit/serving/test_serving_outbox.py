"""From taps to segments: a worker's outbox with the loop of a real logger on a thread."""

import asyncio
import socket
import threading
from types import SimpleNamespace

import pytest

from modelworks.apps.logger_loop import SEGMENTS, LoggerLoop
from modelworks.core.records import Act, FieldPolicy, RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.records import SegmentWriter, read_segment
from modelworks.serving import outbox
from modelworks.serving.block import Block
from modelworks.serving.outbox import Outbox
from modelworks.serving.recorded import read_recorded

pytestmark = pytest.mark.unit
SPECS = [TensorSpec(name, Datatype.FP32, (None, 1)) for name in "xy"]
SIGNATURE = Signature((SPECS[0],), (SPECS[1],))
ENTRY = b'"shape": [1, 1], "datatype": "FP32", "data": [1]}]}'


def model(name="m", version="1.0.0", sample=1.0, **policy):
    return ServedModel(name, version, "/m", "", records=RecordPolicy(sample, **policy))


def ask(tap, *names):
    """Requests of these ids are answered."""
    for name in names:
        body = b'{"id": "%s", "inputs": [{"name": "x", ' % name.encode() + ENTRY
        exchange = SimpleNamespace(body=body, headers={}, received_ns=1)
        member = SimpleNamespace(exchange=exchange, queued_ns=2)
        tap.one(member, b'{"outputs": [{"name": "y", ' + ENTRY, (), 200)


class Place:
    """An outbox, its counters, and its logger, which may be away."""

    def __init__(self, folder):
        self.folder = folder
        self.block = Block()
        self.door, self.theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self.outbox = Outbox(self.door, self.block)
        self.writer = SegmentWriter(folder / SEGMENTS)
        loop = LoggerLoop(self.theirs, folder, self.writer, b"k" * 32)
        self.thread = threading.Thread(target=loop.run, daemon=True)

    def counts(self, name="m", version="1.0.0"):
        index = self.block.models()[name, version]
        found = read_recorded(self.block, index)
        return found.kept, found.dropped, found.lost

    async def end(self):
        """As a worker ends, then its logger."""
        await self.outbox.close()
        self.door.close()
        if self.thread.ident is not None:
            await asyncio.to_thread(self.thread.join, 20)
            assert not self.thread.is_alive()
        self.writer.close()
        self.theirs.close()

    def ids(self):
        found = sorted((self.folder / SEGMENTS).iterdir())
        return [(one.model, one.version, one.id) for path in found for one in read_segment(path)]


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.005)


def test_what_is_noted_lies_in_a_segment_by_itself(tmp_path):
    async def run():
        place = Place(tmp_path)
        place.thread.start()
        first = place.outbox.tap(model(), SIGNATURE)
        ask(first, "a", "b")
        second = place.outbox.tap(model("n", "2.0.0"), SIGNATURE)  # loaded while it serves
        ask(second, "c")
        await until(lambda: place.counts()[0] == 2 and place.counts("n", "2.0.0")[0] == 1)
        ask(first, "d")
        await place.end()  # what was noted last is sent at the end
        assert place.counts() == (3, 0, 0)
        assert sorted(place.ids()) == [
            *(("m", "1.0.0", "a"), ("m", "1.0.0", "b"), ("m", "1.0.0", "d")),
            ("n", "2.0.0", "c"),
        ]

    asyncio.run(run())


def test_a_version_that_is_loaded_again_goes_on_with_its_tap(tmp_path):
    async def run():
        place = Place(tmp_path)
        tap = place.outbox.tap(model(), SIGNATURE)
        assert place.outbox.tap(model(), SIGNATURE) is tap
        assert place.outbox.tap(model(sample=0.5), SIGNATURE) is not tap
        assert place.outbox.tap(model(version="1.0.1"), SIGNATURE) is not tap
        await place.end()

    asyncio.run(run())


@pytest.mark.parametrize(
    "served",
    [ServedModel("m", "1.0.0", "/m", ""), model(sample=0.0)],
    ids=["no policy", "nothing is sampled"],
)
def test_nothing_is_noted_without_a_policy(tmp_path, served):
    async def run():
        place = Place(tmp_path)
        assert place.outbox.tap(served, SIGNATURE) is None
        await place.end()

    asyncio.run(run())


def test_a_policy_that_does_not_fit_records_nothing_and_says_so(tmp_path, caplog):
    async def run():
        place = Place(tmp_path)
        odd = model(fields=(FieldPolicy("adress", Act.DROP),))
        assert place.outbox.tap(odd, SIGNATURE) is None
        await place.end()

    asyncio.run(run())
    assert "m 1.0.0 is not recorded: its policy names the field 'adress'" in caplog.text


def test_without_a_logger_all_is_lost_and_counted(tmp_path, monkeypatch):
    """It knocks, and nobody comes."""
    monkeypatch.setattr(outbox, "_CLOSE_S", 0.2)

    async def run():
        place = Place(tmp_path)
        tap = place.outbox.tap(model(), SIGNATURE)
        ask(tap, *map(str, range(100)))
        await place.outbox.close()
        assert place.counts() == (0, 0, 100)
        ask(tap, "late")
        place.theirs.close()  # now it cannot even knock
        await asyncio.sleep(0.1)
        await until(lambda: sum(place.counts()) == 101)
        assert place.counts() == (0, 1, 100)
        place.door.close()
        place.writer.close()

    asyncio.run(run())


def test_what_finds_no_room_is_dropped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "_CLOSE_S", 0.2)

    async def run():
        place = Place(tmp_path)
        tap = place.outbox.tap(model(max_bytes=1 << 30), SIGNATURE)
        exchange = SimpleNamespace(body=b"x" * (12 << 20), headers={}, received_ns=1)
        for turn in range(2):  # 16 MiB wait at most, and nobody reads
            tap.one(SimpleNamespace(exchange=exchange, queued_ns=2), b"A", (), 200)
            await until(lambda done=turn: not tap._bodies and place.counts()[1] == done)
        ask(tap, "small")
        await until(lambda: not tap._bodies)
        assert place.counts() == (0, 1, 0)
        await place.end()
        assert place.counts() == (0, 1, 2)

    asyncio.run(run())
