"""Who waits for another snapshot: over a real server, without a thread each."""

import http.client
import json
import ssl
import threading
import time

import pytest
import uvicorn
from fastapi import FastAPI

from certificates import Authority
from modelworks.api import problems
from modelworks.api.front import SNAPSHOT, FrontRoutes, Waiters
from modelworks.control.front.service import Front
from modelworks.core.routes import BUCKETS, Arm, Route, Span
from modelworks.gateway.fetch import Fetcher

pytestmark = pytest.mark.unit
LONG = 25


class Plane:
    """The one route, over a front whose routes a test says."""

    def __init__(self, folder, most=8, **more):
        self.names = ["fraud"]
        self.front = Front(lambda _: tuple(map(route, self.names)), folder / "front.json")
        self.waiters = Waiters(most)
        app = FastAPI()
        problems.install(app)
        app.include_router(FrontRoutes(self.front, self.waiters).router())
        config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", **more)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        self.until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    @staticmethod
    def until(true):
        end = time.monotonic() + 10
        while not true():
            assert time.monotonic() < end, "not within ten seconds"
            time.sleep(0.005)

    def change(self, name):
        self.names.append(name)
        assert self.front.tick()

    def ask(self, query="", tag=""):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG + 10)
        connection.request("GET", SNAPSHOT + query, headers={"If-None-Match": tag} if tag else {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.headers), body

    def end(self):
        self.waiters.close()
        self.server.should_exit = True
        self.thread.join(20)


@pytest.fixture
def plane(tmp_path):
    plane = Plane(tmp_path)
    yield plane
    plane.end()


@pytest.fixture
def kept(plane):
    """With a snapshot."""
    plane.front.tick()
    return plane


def route(name):
    return Route(name, (Arm("1.0.0"),), (Span(0, BUCKETS, "1.0.0"),), model=name)


class Asking(threading.Thread):
    """Somebody who asks, and what is answered."""

    def __init__(self, plane, query, tag=""):
        super().__init__(daemon=True)
        self.run = lambda: setattr(self, "answer", plane.ask(query, tag))
        self.answer = None
        self.start()


def waiting(plane, count):
    generation = plane.front.told.generation
    found = []
    for number in range(count):  # one after the other: a thread that is free is used again
        found.append(Asking(plane, f"?after={generation}&wait={LONG}"))
        plane.until(lambda number=number: len(plane.waiters) == number + 1)
    return found


def test_before_there_is_any_it_is_said(plane):
    status, headers, body = plane.ask()
    assert (status, headers["retry-after"]) == (503, "5")
    assert "no snapshot of routes yet" in json.loads(body)["detail"]


def test_who_waits_gets_the_very_first(plane):
    asking = [Asking(plane, f"?after={after}&wait={LONG}") for after in (-1, 7)]
    plane.until(lambda: len(plane.waiters) == 2)
    plane.front.tick()
    for one in asking:
        one.join(10)
        assert one.answer[0] == 200
    assert plane.ask("?wait=0.1")[0] == 200


def test_who_has_it_is_told_so_and_others_get_it(kept):
    status, headers, body = kept.ask()
    generation = json.loads(body)["generation"]
    tag = f'"{generation}"'
    assert (status, headers["etag"]) == (200, tag)
    for query, sent in ((f"?after={generation}", ""), ("", tag), ("", f'W/{tag}, "7"')):
        status, headers, body = kept.ask(query, sent)
        assert (status, headers["etag"], body) == (304, tag, b"")
    for query, sent in (("?after=-1&wait=25", ""), (f"?after={generation + 5}", ""), ("", '"7"')):
        assert kept.ask(query, sent)[0] == 200  # another one, newer or older: ours is right
    status, _, _ = kept.ask(f"?after={generation}&wait=0.2")
    assert status == 304


def test_what_cannot_be_asked_is_refused(kept):
    for query, field in (("?wait=31", "wait"), ("?after=-2", "after"), ("?before=1", "before")):
        status, _, body = kept.ask(query)
        assert (status, json.loads(body)["field"]) == (400, field)


def test_all_who_wait_are_answered_when_it_changes(kept):
    before = threading.active_count()
    asking = waiting(kept, 8)
    assert threading.active_count() <= before + len(asking) + 3  # ours, and no eight of the server
    status, headers, body = kept.ask(f"?after={kept.front.told.generation}&wait=1")
    assert (status, headers["retry-after"]) == (503, "5")
    assert "8 gateways wait" in json.loads(body)["detail"]
    kept.change("churn")
    for one in asking:
        one.join(10)
        assert one.answer[0] == 200
        assert [found["name"] for found in json.loads(one.answer[2])["routes"]] == [
            "fraud",
            "churn",
        ]
    assert len(kept.waiters) == 0


def test_who_goes_makes_room(kept):
    connections = []
    generation = kept.front.told.generation
    for _ in range(8):
        connection = http.client.HTTPConnection("127.0.0.1", kept.port)
        connection.request("GET", f"{SNAPSHOT}?after={generation}&wait={LONG}")
        connections.append(connection)
    kept.until(lambda: len(kept.waiters) == 8)
    for connection in connections:
        connection.close()
    kept.until(lambda: len(kept.waiters) == 0)


def test_at_the_end_nobody_is_waited_for(kept):
    asking = waiting(kept, 3)
    kept.end()
    assert not kept.thread.is_alive()
    for one in asking:
        one.join(10)
        assert one.answer[0] == 304


def test_a_gateway_follows_it(kept, tmp_path):
    cache = tmp_path / "cache.json"
    fetcher = Fetcher(f"http://127.0.0.1:{kept.port}{SNAPSHOT}", cache)
    fetcher.start()
    fetcher.first(10)
    assert json.loads(cache.read_text())["generation"] == kept.front.told.generation
    kept.until(lambda: len(kept.waiters) == 1)
    kept.change("churn")
    kept.until(lambda: "churn" in cache.read_text())
    fetcher.close()
    assert fetcher.problem == ""


def test_a_gateway_that_begins_again_asks_whether_its_file_still_holds(kept, tmp_path):
    url, cache = f"http://127.0.0.1:{kept.port}{SNAPSHOT}", tmp_path / "cache.json"
    earlier = Fetcher(url, cache)
    assert earlier.poll()
    earlier.close()
    kept.change("churn")
    for _ in range(2):  # an old file, then one that holds: that is said at once too
        fetcher = Fetcher(url, cache)
        fetcher.start()
        begin = time.monotonic()
        fetcher.first(LONG)
        assert time.monotonic() - begin < LONG / 2
        assert "churn" in cache.read_text()
        fetcher.close()
    kept.end()
    fetcher = Fetcher(url, cache)
    fetcher.start()
    fetcher.first(LONG)
    assert fetcher.problem
    fetcher.close()


def test_a_gateway_waits_until_its_first_file_is_written(kept, tmp_path, monkeypatch):
    from modelworks.gateway import fetch

    def slowly(path, text):
        time.sleep(0.3)
        path.write_text(text)

    monkeypatch.setattr(fetch, "replace_text", slowly)
    fetcher = Fetcher(f"http://127.0.0.1:{kept.port}{SNAPSHOT}", tmp_path / "cache.json")
    fetcher.start()
    fetcher.first(LONG)
    assert "fraud" in (tmp_path / "cache.json").read_text()
    fetcher.close()


def test_a_gateway_trusts_the_control_plane_by_an_authority_of_its_own(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.pair("localhost")
    plane = Plane(tmp_path, ssl_certfile=pair.certificate, ssl_keyfile=pair.key)
    plane.front.tick()
    url, cache = f"https://localhost:{plane.port}{SNAPSHOT}", tmp_path / "cache.json"
    with pytest.raises(ssl.SSLError):
        Fetcher(url, cache).poll()
    fetcher = Fetcher(url, cache, ca=str(authority.certificate))
    assert fetcher.poll()
    fetcher.close()
    plane.end()
