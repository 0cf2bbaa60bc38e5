"""Connections evened out between the workers of a port: who takes one, and that none is lost."""

import asyncio
import contextlib
import os
import socket
import tempfile

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener, bind
from modelworks.edge.sharing import CLOSED, Board, Sharing, elsewhere

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("counts", "own", "sent", "wanted"),
    [
        ([1, 0], 0, [], None),
        ([2, 0], 0, [], 1),
        ([2, 1], 0, [], None),
        ([3, 0], 0, [1], 1),
        ([3, 0], 0, [1, 1], None),
        ([5, CLOSED], 0, [], None),
        ([5, CLOSED, 4], 0, [], None),
        ([CLOSED, 5, 2], 1, [], 2),
        ([9, 3, 2, 2], 0, [], 2),
        ([7], 0, [], None),
    ],
)
def test_who_takes_a_new_connection(counts, own, sent, wanted):
    assert elsewhere(counts, own, sent) == wanted


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200))
def test_whoever_accepts_the_loads_stay_even(accepting):
    """The kernel may give every connection to the same worker."""
    counts = [0] * 6
    for own in accepting:
        counts[own] += 1
        place = elsewhere(counts, own)
        if place is not None:
            counts[own] -= 1
            counts[place] += 1
        assert max(counts) - min(counts) <= 1 or place is None
    assert max(counts) - min(counts) <= 2


class Two:
    """Two listeners as two workers have them, in one process; answers say whose they are."""

    def __init__(self):
        self.board, path = tempfile.mkstemp()
        os.unlink(path)  # noqa: PTH108 - by the name that mkstemp gave
        os.ftruncate(self.board, Board.size(2))
        self.pairs = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(2)]
        for place in range(2):
            Board.close(self.board, place)
        self.boards = [Board(2, self.board) for _ in range(2)]
        self.listeners = []
        self.ports = []

    async def start(self, place):
        writing = [pair[0] for pair in self.pairs]
        sharing = Sharing(place, self.boards[place], writing, self.pairs[place][1])
        name = b"%d" % place
        listener = Listener(lambda e: e.reply(200, name, b"text/plain"), Limits(), sharing=sharing)
        sock = bind("127.0.0.1", 0)
        self.ports.append(sock.getsockname()[1])
        self.listeners.append(listener)
        await listener.start(sock)

    def close(self):
        for end in (end for pair in self.pairs for end in pair):
            end.close()
        os.close(self.board)


@contextlib.asynccontextmanager
async def two(started=2):
    workers = Two()
    try:
        for place in range(started):
            await workers.start(place)
        yield workers
    finally:
        for listener in workers.listeners:
            await listener.drain(1.0)
        workers.close()


async def ask(port, keep):
    """Connect and ask once; who answered."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 10)
    keep.append(writer)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200")
    return (await reader.readexactly(1)).decode()


async def left(keep):
    for writer in keep:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    keep.clear()


def test_what_one_worker_accepts_both_serve():
    async def main():
        keep = []
        async with two() as workers:
            answers = [await ask(workers.ports[0], keep) for _ in range(12)]
            assert abs(answers.count("0") - answers.count("1")) <= 2
            assert workers.boards[0].counts() == [6, 6]
            await left(keep)
            for _ in range(200):
                if workers.boards[0].counts() == [0, 0]:
                    break
                await asyncio.sleep(0.01)
            assert workers.boards[0].counts() == [0, 0]

    uvloop.run(main())


def test_a_worker_that_drains_or_ended_gets_nothing():
    async def main():
        keep = []
        async with two() as workers:
            draining = asyncio.ensure_future(workers.listeners[1].drain(1.0))
            await asyncio.sleep(0)
            answers = [await ask(workers.ports[0], keep) for _ in range(4)]
            assert set(answers) == {"0"}
            await draining
            await left(keep)
        async with two(started=1) as workers:
            answers = [await ask(workers.ports[0], keep) for _ in range(4)]
            assert set(answers) == {"0"}
            await left(keep)

    uvloop.run(main())


def test_what_was_handed_to_a_worker_that_died_waits_for_the_next_one():
    async def main():
        keep = []
        async with two(started=1) as workers:
            Board(2, workers.board).put(1, 0)  # it was killed and nobody has noticed yet
            first = await ask(workers.ports[0], keep)
            waiting = asyncio.ensure_future(ask(workers.ports[0], keep))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await workers.start(1)
            assert {first, await waiting} == {"0", "1"}
            await left(keep)

    uvloop.run(main())


def test_a_full_inbox_is_no_reason_to_lose_a_connection():
    async def main():
        keep = []
        async with two(started=1) as workers:
            Board(2, workers.board).put(1, 0)
            workers.pairs[1][0].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    workers.pairs[1][0].send(b"x" * 1000)
            answers = [await ask(workers.ports[0], keep) for _ in range(6)]
            assert set(answers) == {"0"}
            await left(keep)

    uvloop.run(main())
