"""A worker's connection to its logger, through sockets, whatever becomes of the logger."""

import array
import asyncio
import socket
from contextlib import contextmanager, suppress

import pytest

from modelworks.protocol.records.calls import DONE, HEAD, MODEL, TALLY, pack_model, read_head
from modelworks.serving import logger_link
from modelworks.serving.logger_link import QUEUE_BYTES, LoggerLink

pytestmark = pytest.mark.unit


class Peer:
    """A logger's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.setblocking(False)
        self.heard = b""

    def hear(self, most=1 << 20):
        """What came by now."""
        with_more = True
        while with_more and most:
            try:
                data = self.sock.recv(min(most, 65536))
            except BlockingIOError:
                break
            with_more = bool(data)
            most -= len(data)
            self.heard += data
        return self.heard

    async def messages(self, count):
        """The rests of the whole messages, once there are so many."""
        async with asyncio.timeout(20):
            while len(found := self._whole()) < count:
                await asyncio.sleep(0)
                self.hear()
        assert len(found) == count
        return found

    def _whole(self):
        found, at = [], 0
        while len(self.heard) - at >= HEAD.size:
            head = read_head(self.heard[at : at + HEAD.size])
            end = at + HEAD.size + head.length
            if end > len(self.heard):
                break
            found.append(self.heard[at + HEAD.size : end])
            at = end
        return found

    def tell(self, *tallies):
        self.sock.sendall(b"".join(TALLY.pack(*one) for one in tallies))


class Place:
    """A link, its door, and what it says became of requests."""

    def __init__(self):
        self.door, self.theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self.theirs.setblocking(False)
        self.told = []
        self.peers = []
        self.link = LoggerLink(self.door, lambda *one: self.told.append(one))

    def enter(self):
        """The next connection that waits at the door."""
        data, found, _, _ = self.theirs.recvmsg(64, socket.CMSG_SPACE(4))
        assert data
        [(_, _, sent)] = found
        self.peers.append(Peer(socket.socket(fileno=array.array("i", sent)[0])))
        return self.peers[-1]


@contextmanager
def place():
    made = Place()
    try:
        yield made
    finally:
        made.link._hang_up()
        for sock in (made.door, made.theirs, *(peer.sock for peer in made.peers)):
            sock.close()


def message(text, model=0):
    return pack_model(model, text)


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.001)


def full(act):
    """Whether a socket blocks at last."""
    with suppress(BlockingIOError):
        while True:
            act()
    return True


def test_what_is_answered_makes_room_and_is_counted():
    async def run():
        with place() as here:
            assert here.link.room == QUEUE_BYTES
            peer = here.enter()
            one, two = message(b"one"), message(b"two!")
            here.link.send(0, [(one, 3), (two, 4)])
            assert await peer.messages(2) == [b"one", b"two!"]
            assert here.link.room == QUEUE_BYTES - len(one) - len(two)
            answer = TALLY.pack(0, 2, 1, 1) + TALLY.pack(DONE, 0, 0, 0)
            for part in (answer[:5], answer[5:30], answer[30:]):  # as it comes, in pieces
                peer.sock.sendall(part)
                await asyncio.sleep(0.01)
            await until(lambda: here.link.room == QUEUE_BYTES - len(two))
            assert here.told == [(0, 2, 1, 1)]

    asyncio.run(run())


def test_a_killed_loggers_successor_gets_what_was_not_answered(caplog):
    async def run():
        with place() as here:
            here.link.begin_with(message(b"model 0"))
            assert here.link.room
            peer = here.enter()
            here.link.send(0, [(message(b"%d" % n), 1) for n in range(3)])
            here.link.begin_with(message(b"model 1", 1))  # one more is loaded
            here.link.send(1, [(message(b"3", 1), 1)])
            assert await peer.messages(6) == [b"model 0", b"0", b"1", b"2", b"model 1", b"3"]
            peer.tell((DONE, 0, 0, 0), (0, 1, 0, 0), (DONE, 0, 0, 0))
            await until(lambda: here.told)
            peer.sock.close()
            room = here.link.room
            await until(lambda: here.link._sock is not None and here.link.room != room)
            again = here.enter()
            assert await again.messages(5) == [b"model 0", b"model 1", b"1", b"2", b"3"]
            again.tell(*[(DONE, 0, 0, 0)] * 5)
            await until(lambda: here.link.room == QUEUE_BYTES)
            assert here.told == [(0, 1, 0, 0)]

    asyncio.run(run())
    assert "4 messages are kept for the next one" in caplog.text


def test_a_message_that_was_half_sent_is_sent_whole_to_the_next():
    async def run():
        with place() as here:
            assert here.link.room
            peer = here.enter()
            texts = [bytes([65 + n]) * 1_500_000 for n in range(8)]
            here.link.send(0, [(message(text), 1) for text in texts])
            assert len(peer.hear(700_000)) == 700_000
            assert here.link._writing
            peer.sock.close()
            await until(lambda: here.link._sock is None)
            await until(lambda: here.link._sock is not None)
            assert await here.enter().messages(8) == texts

    asyncio.run(run())


def test_what_the_socket_does_not_take_goes_when_it_does():
    async def run():
        with place() as here:
            assert here.link.room
            peer = here.enter()
            texts = [bytes([65 + n % 26]) * (1 + 7919 * n) for n in range(60)]
            for text in texts:
                here.link.send(0, [(message(text), 1)])
            assert here.link._writing  # 14 MB: more than a socket holds
            while len(peer.heard) < sum(len(message(text)) for text in texts):
                peer.hear(100_003)
                await asyncio.sleep(0)
            assert await peer.messages(60) == texts
            assert not here.link._writing
            peer.tell(*[(DONE, 0, 0, 0)] * 60)
            await until(lambda: here.link.room == QUEUE_BYTES)

    asyncio.run(run())


def test_a_full_door_is_no_room_and_tried_again(caplog, monkeypatch):
    monkeypatch.setattr(logger_link, "_TRY_AGAIN_S", 0.02)

    async def run():
        with place() as here:
            assert full(lambda: here.door.send(b"x" * 1000, socket.MSG_DONTWAIT))
            assert here.link.room == 0
            assert here.link.room == 0  # it is not tried at every look
            while here.link.room == 0:
                assert full(lambda: here.theirs.recv(2000))
                await asyncio.sleep(0.03)
            here.link.send(0, [(message(b"one"), 1)])
            assert await here.enter().messages(1) == [b"one"]

    asyncio.run(run())
    assert caplog.text.count("the logger of records cannot be reached") == 1


def test_more_than_is_answered_finds_no_room():
    async def run():
        with place() as here:
            assert here.link.room
            here.enter()
            here.link.send(0, [(message(b"x" * QUEUE_BYTES), 1)])
            assert here.link.room == 0

    asyncio.run(run())


def test_what_is_not_answered_at_the_end_is_lost_and_counted():
    async def run():
        with place() as here:
            here.link.begin_with(message(b"model"))
            assert here.link.room
            peer = here.enter()
            here.link.send(0, [(message(b"a"), 5)])
            here.link.send(2, [(message(b"b", 2), 6)])
            await peer.messages(3)
            peer.tell((DONE, 0, 0, 0), (DONE, 0, 0, 0), (0, 5, 0, 0))
            await here.link.close(0.2)
            assert here.told == [(0, 5, 0, 0), (2, 0, 6, 0)]
            with pytest.raises(OSError, match=r"Broken pipe|reset"):
                peer.tell((DONE, 0, 0, 0))

    asyncio.run(run())


def test_the_end_waits_for_no_answer_that_came():
    async def run():
        with place() as here:
            assert here.link.room
            peer = here.enter()
            here.link.send(0, [(message(b"a"), 5)])
            assert read_head(peer.hear()).kind == MODEL
            peer.tell((0, 4, 1, 0), (DONE, 0, 0, 0))
            began = asyncio.get_running_loop().time()
            await here.link.close(60)
            assert asyncio.get_running_loop().time() - began < 20
            assert here.told == [(0, 4, 1, 0)]

    asyncio.run(run())
