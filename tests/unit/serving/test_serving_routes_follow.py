"""A file of routes is followed: good ones come into force, bad ones are told of."""

import asyncio
import gc
import logging
import time

import pytest

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.protocol.routes.limits import Table
from modelworks.serving.routing.book import open_book
from modelworks.serving.routing.follow import RouteWatch

pytestmark = pytest.mark.unit


def text(generation):
    return b'{"generation": %d}' % generation


def opener(data):
    return open_book(data, lambda: None, Table(memoryview(bytearray(3200)).cast("d")))


def watch(path, found=print, broken=print):
    return RouteWatch(path, opener, found, broken)


def replaced(path, data):
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def test_what_a_server_begins_with(tmp_path):
    path = tmp_path / "routes.json"
    with pytest.raises(NotFoundError, match="no file of routes"):
        watch(path).first()
    path.write_bytes(text(1))
    book, problem = watch(path).first()
    assert (book.snapshot.generation, problem) == (1, "")
    path.write_bytes(b"{")
    book, problem = watch(path).first()
    assert book.snapshot.generation == 1
    assert "no JSON" in problem
    path.unlink()
    assert watch(path).first()[0].snapshot.generation == 1
    path.write_bytes(b"{")
    path.with_name(".routes.json.good").write_bytes(b"{")
    with pytest.raises(InvalidError, match="no JSON"):
        watch(path).first()
    assert gc.isenabled()


def test_without_room_for_the_copy_routes_are_followed_all_the_same(tmp_path, caplog):
    path = tmp_path / "routes.json"
    path.write_bytes(text(1))
    (tmp_path / ".routes.json.good" / "in the way").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        book, _ = watch(path).first()
    assert book.snapshot.generation == 1
    assert "no copy of the routes is kept" in caplog.text


def test_changes(tmp_path):
    async def main():
        path = tmp_path / "routes.json"
        path.write_bytes(text(1))
        found, broken = [], []
        watching = watch(path, found.append, broken.append)
        watching.first()
        watching.start()
        end = time.monotonic() + 20

        async def until(true):
            while not true():
                assert time.monotonic() < end
                await asyncio.sleep(0.01)

        replaced(path, text(2))
        await until(lambda: found)
        replaced(path, b"[")
        await until(lambda: broken)
        path.unlink()
        await until(lambda: len(broken) == 2)
        replaced(path, text(3))
        await until(lambda: len(found) == 2)
        watching.stop()
        assert [book.snapshot.generation for book in found] == [2, 3]
        assert "no object" in broken[0]
        assert "no file" in broken[1]
        good = tmp_path / ".routes.json.good"
        assert good.read_bytes() == text(3)
        assert good.stat().st_mode & 0o077 == 0

    asyncio.run(main())
