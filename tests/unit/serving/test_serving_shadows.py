"""Copies for shadows wait for an idle moment, within bounds, and every one is counted."""

import asyncio
from types import SimpleNamespace

import pytest

from modelworks.core.errors import UnavailableError
from modelworks.serving.routing import shadows
from modelworks.serving.routing.numbers import COPIED, COPIES_DROPPED, COPIES_FAILED
from modelworks.serving.routing.shadows import MOST, Shadows

pytestmark = pytest.mark.unit


class Place:
    """A model that answers copies when it is told to, and the line in front of it."""

    def __init__(self):
        self.busy = False
        self.now = True  # it answers at once
        self.copies = []
        self.cells = memoryview(bytearray(80)).cast("q")
        self.entry = SimpleNamespace(live=object())
        self.line = Shadows(lambda: self.busy)

    def act(self, live, copy):
        assert live is self.entry.live
        self.copies.append(copy)
        if self.now:
            copy.reply(200, b"", b"")

    def offer(self, body=b"b", headers=None):
        exchange = SimpleNamespace(
            method=b"POST", path=b"/p", query=b"", headers={}, body=body, received_ns=1
        )
        self.line.offer(exchange, headers or {}, self.entry, self.act, self.cells)

    def counted(self):
        return tuple(self.cells[at] for at in (COPIED, COPIES_FAILED, COPIES_DROPPED))


def run(main):
    async def whole():
        place = Place()
        await main(place)
        place.line.close()

    asyncio.run(asyncio.wait_for(whole(), 20))


async def until(true):
    while not true():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.001)


def test_a_copy_runs_when_nobody_waits_and_not_before():
    async def main(place):
        place.busy = True
        place.offer(b"body", {b"a": b"b"})
        await asyncio.sleep(0.02)
        assert not place.copies
        place.busy = False
        await until(lambda: place.copies)
        (copy,) = place.copies
        assert (copy.method, copy.path, copy.body, copy.headers) == (
            *(b"POST", b"/p", b"body"),
            {b"a": b"b"},
        )
        assert copy.received_ns > 1  # its own time counts from here
        assert place.counted() == (1, 0, 0)

    run(main)


def test_one_at_a_time():
    async def main(place):
        place.now = False
        for _ in range(3):
            place.offer()
        for number in range(1, 4):
            await until(lambda: place.copies)
            await asyncio.sleep(0.01)
            assert len(place.copies) == 1
            place.copies.pop().reply(200 if number < 3 else 503, b"", b"")
        assert place.counted() == (2, 1, 0)

    run(main)


def test_what_finds_no_room_is_dropped(monkeypatch):
    async def main(place):
        place.busy = True
        for _ in range(MOST + 5):
            place.offer()
        assert place.counted() == (0, 0, 5)
        place.line.close()
        assert place.counted() == (0, 0, MOST + 5)
        monkeypatch.setattr(shadows, "BYTES", 100)
        place.offer(b"x" * 60)
        place.offer(b"x" * 60)
        assert place.counted() == (0, 0, MOST + 6)

    run(main)


def test_what_is_too_old_is_dropped_and_the_line_goes_on(monkeypatch):
    async def main(place):
        monkeypatch.setattr(shadows, "AGE_S", 0.02)
        place.busy = True
        place.offer()
        await until(lambda: place.counted() == (0, 0, 1))
        place.busy = False
        place.offer()
        await until(lambda: place.counted() == (1, 0, 1))

    run(main)


def test_a_copy_that_is_never_answered_is_given_up(monkeypatch):
    async def main(place):
        monkeypatch.setattr(shadows, "_LONGEST_S", 0.02)
        place.now = False
        place.offer()
        place.offer()
        await until(lambda: len(place.copies) == 2)
        assert place.counted() == (0, 1, 0)
        place.copies[0].reply(200, b"", b"")  # too late to count
        assert place.counted() == (0, 1, 0)

    run(main)


def test_a_model_that_is_away_or_refuses():
    async def main(place):
        place.entry.live = None
        place.offer()
        await until(lambda: place.counted() == (0, 1, 0))
        place.entry.live = object()

        def refuse(live, copy):
            raise UnavailableError("no")

        place.act = refuse
        place.offer()
        await until(lambda: place.counted() == (0, 2, 0))

    run(main)
