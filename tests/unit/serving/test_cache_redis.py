"""A cache behind which Redis stands: asked first, never waited for longer than it may take."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from kept_desk import Asked, Desk
from modelworks.core.errors import DeadlineError, UnavailableError
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.cache import redis as room
from modelworks.serving.cache.numbers import CacheCounts
from modelworks.serving.cache.redis import Redis
from modelworks.serving.cache.shared import Shared
from virtual_loop import play

pytestmark = pytest.mark.unit
WAIT_S = 30


async def turns(count=30):
    for _ in range(count):
        await asyncio.sleep(0)


async def eventually(ready):
    async with asyncio.timeout(WAIT_S):
        while not ready():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.002)


class Elsewhere:
    """In the place of what lies in Redis: the test answers when it likes."""

    def __init__(self):
        self.asked, self.put_, self.closed = [], [], False

    def get(self, key, found):
        self.asked.append((key, found))

    def put(self, key, outputs):
        self.put_.append((key, [array.tolist() for array in outputs]))

    def close(self):
        self.closed = True


def ask(desk, *members):
    for member in members:
        desk.cached.submit(member)


def test_what_is_not_there_is_computed_and_put_there():
    async def main(loop):
        desk = Desk(shared=Elsewhere())
        first, second = Asked(1, now=loop.now_ns()), Asked(1, now=loop.now_ns())
        ask(desk, first, second)
        await turns()
        ((key, found),) = desk.cached._shared.asked
        assert desk.session.calls == []
        found(None)
        await turns()
        assert first.answers == first.wanted
        assert second.answers == second.wanted
        assert desk.session.calls == [[1]]
        assert desk.cached._shared.put_ == [(key, [[2.0]])]
        assert (desk.numbers.hits, desk.numbers.misses) == (1, 1)
        assert desk.empty

    play(main)


def test_what_is_there_is_given_and_kept_no_longer_than_it_is_good():
    async def main(loop):
        desk = Desk(shared=Elsewhere(), ttl_s=100.0)
        members = [Asked(1, now=loop.now_ns()) for _ in range(2)]
        ask(desk, *members)
        desk.cached._shared.asked[0][1]((([np.array([7.0])]), 5.0))
        await turns()
        assert [member.answers for member in members] == [[[7.0]], [[7.0]]]
        again = Asked(1, now=loop.now_ns())
        ask(desk, again)
        await turns()
        assert again.answers == [[7.0]]
        assert len(desk.cached._shared.asked) == 1
        await asyncio.sleep(6)
        ask(desk, Asked(1, now=loop.now_ns()))
        assert len(desk.cached._shared.asked) == 2
        assert desk.session.calls == []
        assert await desk.cached.drain(5)
        assert desk.cached._shared.closed

    play(main)


class Noting:
    """In the place of a connection: what is put."""

    def __init__(self):
        self.values = []

    def put(self, key, value, ttl_ms):
        self.values.append(value)


@pytest.mark.parametrize(
    ("datatype", "made"),
    [
        (Datatype.BYTES, lambda size: np.array([b"x" * (size // 2), b"y" * (size // 2)], object)),
        (Datatype.UINT8, lambda size: np.zeros(size, np.uint8)),
    ],
)
def test_large_answers_are_not_sent_there(datatype, made):
    spec = TensorSpec("y", datatype, (None,))
    redis, counts = Noting(), CacheCounts(memoryview(bytearray(8 * 512)).cast("q"))
    served = ServedModel("m", "1.0.0", "m.onnx", "sha256:m")
    shared = Shared(redis, served, Signature((spec,), (spec,)), 60, counts)
    shared.put(b"large", [made((4 << 20) + 2)])
    assert redis.values == []
    shared.put(b"small", [made(4 << 20)])
    (value,) = redis.values
    assert len(value) < (4 << 20) + 200


def test_who_leaves_while_redis_is_asked():
    async def main(loop):
        desk = Desk(shared=Elsewhere())
        first, second = Asked(1, now=loop.now_ns()), Asked(1, now=loop.now_ns())
        ask(desk, first, second)
        desk.cached.cancel(first)
        desk.cached._shared.asked[0][1](None)
        await turns()
        assert first.answers == []
        assert second.answers == second.wanted
        third = Asked(2, now=loop.now_ns())
        ask(desk, third)
        desk.cached.cancel(third)
        desk.cached._shared.asked[1][1](None)
        await turns()
        assert third.answers == []
        assert desk.session.calls == [[1]]
        assert desk.empty

    play(main)


def test_a_time_out_that_ends_while_redis_is_asked():
    async def main(loop):
        desk = Desk(shared=Elsewhere())
        hurried = Asked(1, timeout_ms=50, now=loop.now_ns())
        patient = Asked(1, timeout_ms=5000, now=loop.now_ns())
        ask(desk, hurried, patient)
        await asyncio.sleep(0.1)
        assert isinstance(hurried.answers[0], DeadlineError)
        desk.cached._shared.asked[0][1](None)
        await turns()
        assert patient.answers == patient.wanted
        assert desk.empty

    play(main)


def test_unloading_while_redis_is_asked():
    async def main(loop):
        desk = Desk(shared=Elsewhere())
        member = Asked(1, now=loop.now_ns())
        ask(desk, member)
        assert await desk.cached.drain(5)
        assert isinstance(member.answers[0], UnavailableError)
        desk.cached._shared.asked[0][1](None)
        await turns()
        assert len(member.answers) == 1
        assert desk.session.calls == []
        assert desk.empty

    play(main)


def test_a_refusal_of_the_queue_after_redis_was_asked_is_told():
    async def main(loop):
        desk = Desk(shared=Elsewhere())
        member = Asked(1, now=loop.now_ns())
        ask(desk, member)
        desk.batcher._closed, desk.batcher._most = True, -1
        desk.cached._shared.asked[0][1](None)
        await turns()
        assert isinstance(member.answers[0], UnavailableError)
        assert not desk.cached._riding
        assert not desk.cached._flights

    play(main)


# -- the connection, beside servers that are not what they should be


class Talker:
    """Answers commands by what `say` returns; None = nothing, "" = it hangs up."""

    def __init__(self, say):
        self.say = say
        self.commands = []
        self.links = []

    async def __call__(self, reader, writer):
        self.links.append(writer)
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                self.commands.append(words)
                said = self.say(words)
                if said == b"":
                    break
                if said is not None:
                    writer.write(said)
                    await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def talking(say, path="", user="", timeout_s=0.05):
    talker = Talker(say)
    server = await asyncio.start_server(talker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    failed = []
    client = Redis(f"redis://{user}127.0.0.1:{port}{path}", timeout_s, failed.append)
    try:
        yield client, talker, failed
    finally:
        client.close()
        server.close()
        for writer in talker.links:
            writer.close()
        await server.wait_closed()
        await turns()


def memory():
    kept = {}

    def say(words):
        if words[0] == b"SET":
            kept[words[1]] = words[2]
            return b"+OK\r\n"
        if words[0] == b"GET":
            found = kept.get(words[1])
            return b"$-1\r\n" if found is None else b"$%d\r\n%b\r\n" % (len(found), found)
        return b"+OK\r\n"

    return say


def run(main):
    asyncio.run(asyncio.wait_for(main, 60))


def test_values_come_back_in_the_order_of_questions():
    async def main():
        async with talking(memory(), "/3", "me:p%40ss@", timeout_s=20) as (client, talker, failed):
            await eventually(lambda: client.connected)
            assert talker.commands[:3] == [[b"AUTH", b"me", b"p@ss"], [b"SELECT", b"3"], [b"PING"]]
            values = {b"k%d" % n: bytes([n]) * n * 50 for n in range(100)}
            for key, value in values.items():
                client.put(key, value, 1000)
            found = {}
            for key in values:
                client.get(key, lambda value, key=key: found.setdefault(key, value))
            client.get(b"none", lambda value: found.setdefault(b"none", value))
            await eventually(lambda: len(found) == 101)
            assert found == {**values, b"none": None}
            assert failed == []
            assert talker.commands[3] == [b"SET", b"k0", b"", b"PX", b"1000"]

    run(main())


@pytest.mark.parametrize(
    "said",
    [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$3\r\nabcd\r\n", b"+a\r\n+b\r\n+c\r\n"],
    ids=["silent", "gone", "other", "wrong length", "too many"],
)
def test_one_that_is_not_what_it_should_be_is_left_alone(said):
    async def main():
        def say(words):
            return b"+PONG\r\n" if words[0] == b"PING" else said

        async with talking(say) as (client, _, failed):
            await eventually(lambda: client.connected)
            found = []
            for _ in range(3):
                client.get(b"key", found.append)
            await eventually(lambda: len(found) == 3)
            await eventually(lambda: not client.connected)
            assert set(found) <= {None, b"a", b"b", b"c"}
            assert sum(failed) >= 1
            client.get(b"key", found.append)
            assert found[-1] is None  # at once

    run(main())


def test_a_refusal_is_no_answer_and_the_connection_stays():
    async def main():
        def say(words):
            return b"+PONG\r\n" if words[0] == b"PING" else b"-OOM no room\r\n"

        async with talking(say, timeout_s=20) as (client, _, failed):
            await eventually(lambda: client.connected)
            found = []
            client.get(b"key", found.append)
            await eventually(lambda: found)
            assert found == [None]
            assert failed == [1]
            assert client.connected

    run(main())


@pytest.mark.parametrize("said", [None, b"", b"-WRONGPASS no\r\n", b"\0\0\0\0"])
def test_a_greeting_that_fails_is_tried_again_later(said, monkeypatch):
    monkeypatch.setattr(room, "_CONNECT_S", 0.05)
    monkeypatch.setattr(room, "_PAUSE_S", 0.01)

    async def main():
        good = []

        def say(words):
            return memory()(words) if good else said

        async with talking(say) as (client, talker, failed):
            found = []
            client.get(b"key", found.append)
            assert found == [None]
            await eventually(lambda: failed)
            good.append(1)

            def again():
                client.get(b"key", lambda value: None)
                return client.connected

            await eventually(again)
            assert len(talker.links) >= 2

    run(main())


def test_one_that_greets_and_answers_nothing_is_left_alone_longer_each_time(monkeypatch, caplog):
    monkeypatch.setattr(room, "_PAUSE_S", 0.001)

    async def main():
        well = []

        def say(words):
            return memory()(words) if well or words[0] == b"PING" else None

        async with talking(say, timeout_s=0.01) as (client, _, _):

            def asked():
                client.get(b"key", lambda value: None)
                return client.connected

            for _ in range(4):
                await eventually(asked)
                await eventually(lambda: not client.connected)
            assert client._pause > 0.01
            assert len(caplog.messages) == 1
            assert "is passed by" in caplog.messages[0]
            well.append(1)
            await eventually(lambda: asked() and client._pause < 0.01)
            assert "answers again" in caplog.messages[1]

    with caplog.at_level("WARNING", "modelworks.serving"):
        run(main())


def test_too_many_questions_at_once_are_not_asked(monkeypatch):
    monkeypatch.setattr(room, "_OUTSTANDING", 5)

    async def main():
        def say(words):
            return b"+PONG\r\n" if words[0] == b"PING" else None

        async with talking(say, timeout_s=20) as (client, _, failed):
            await eventually(lambda: client.connected)
            found = []
            for _ in range(8):
                client.get(b"key", found.append)
            assert found == [None] * 3
            assert failed == [1, 1, 1]
            client.close()
            assert found == [None] * 8

    run(main())
