"""Snapshots: followed, refused, fetched, cached; and a thousand routes taken without a pause."""

import contextlib
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway_served import Door, Upstream, as_json, one, read_answer, snapshot
from modelworks.core.errors import InvalidError
from modelworks.core.files import replace_text
from modelworks.core.routes import Pass
from modelworks.gateway.fetch import NONE, Fetcher
from modelworks.gateway.follow import Follower, read_snapshot
from store_servers import free_port

pytestmark = pytest.mark.unit


def put(path, *routes, generation=1, **more):
    replace_text(path, as_json(snapshot(*routes, generation=generation, **more)).decode())


@pytest.fixture
def two():
    with Upstream() as first, Upstream() as second:
        yield first, second


def test_the_file_is_followed_and_what_was_learned_is_kept(two, tmp_path):
    file = tmp_path / "routes.json"
    put(file, one(two[0].url))
    with Door(one(two[0].url)) as door:
        follower = Follower(file, door.maker, door.front, door.names)
        follower.start()
        door.until(lambda: follower.taken)
        seat = door.front.table.routes["r"].seats["r/1"].all[0]
        seat.rests_until = time.monotonic() + 100
        door.front.table.routes["r"].budget.saved = 7.0
        place = door.front.table.places[two[0].url]
        put(
            file,
            one(two[0].url, two[1].url),
            one(two[1].url, name="new", path="/new"),
            generation=2,
        )
        door.until(lambda: door.front.table.generation == 2)
        state = door.front.table.routes["r"]
        assert door.front.table.places[two[0].url] is place
        assert state.seats["r/1"].all[0].rests_until > time.monotonic()
        assert state.budget.saved == 7.0
        assert door.ask("/new")[0] == 200
        put(file, one(two[1].url), generation=3)
        door.until(lambda: door.front.table.generation == 3)
        assert place.closed
        follower.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ('{"generation": 2, "rout": []}', "rout"),
        (
            '{"generation": 2, "routes": [{"name": "r", "arms": [{"name": "a"}], "spans": []}]}',
            "spans",
        ),
    ],
)
def test_a_bad_file_leaves_the_last_good_routes_in_force(two, tmp_path, text, said):
    file = tmp_path / "routes.json"
    put(file, one(two[0].url))
    with Door(one(two[0].url)) as door:
        follower = Follower(file, door.maker, door.front, door.names)
        follower.first()
        follower.start()
        replace_text(file, text)
        door.until(lambda: follower.problem)
        assert said in follower.problem
        assert door.ask("/x")[0] == 200
        put(file, one(two[1].url), generation=4)
        door.until(lambda: not follower.problem)
        assert door.front.table.generation == 4
        follower.close()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidError, match="cannot be read"):
        read_snapshot(tmp_path / "none")


def test_what_is_under_way_keeps_its_routes(two):
    held = threading.Event()
    two[0].act = lambda asked: (held.wait(5), asked.sock.sendall(b"HTTP/1.1 200 OK\r\n" + END))[1]
    with Door(one(two[0].url)) as door, door.connect() as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        door.until(lambda: two[0].asked)
        door.swap(one(two[1].url))
        assert door.ask("/x")[0] == 200
        assert len(two[1].asked) == 1
        held.set()
        assert read_answer(sock)[0] == 200


END = b"Content-Length: 0\r\n\r\n"


def large(url: str, generation: int):
    routes = [one(url, name=f"m{i}", model=f"m{i}") for i in range(1000)]
    keys = {sha256(b"key%d" % i).hexdigest(): Pass(name=f"k{i}") for i in range(10_000)}
    return snapshot(*routes, generation=generation, keys=keys)


def test_a_thousand_routes_and_ten_thousand_keys_drop_no_request(two, tmp_path):
    file = tmp_path / "routes.json"
    file.write_bytes(as_json(large(two[0].url, 1)))
    with Door(one(two[0].url)) as door:
        follower = Follower(file, door.maker, door.front, door.names)
        follower.first()
        follower.start()
        statuses = []
        over = threading.Event()

        def ask():
            with door.connect() as sock:
                key = b"Authorization: Bearer key77\r\n"
                while not over.is_set():
                    sock.sendall(b"GET /v2/models/m500 HTTP/1.1\r\nHost: a\r\n" + key + b"\r\n")
                    statuses.append(read_answer(sock)[0])

        thread = threading.Thread(target=ask)
        thread.start()
        data = as_json(large(two[1].url, 2)).decode()
        replace_text(file, data)
        door.until(lambda: door.front.table.generation == 2, 30)
        count = len(statuses)
        door.until(lambda: len(statuses) > count + 10)
        over.set()
        thread.join(10)
        follower.close()
        swapped = time.perf_counter()
        door.call(lambda: door.front.swap(door.front.table))
        assert time.perf_counter() - swapped < 1
    assert set(statuses) == {200}
    assert two[1].asked


class Control(BaseHTTPRequestHandler):
    """The long-poll of a control plane."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        plane = self.server.plane
        query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        plane.seen.append((query, dict(self.headers)))
        end = time.monotonic() + float(query["wait"])
        while plane.generation == int(query["after"]) and time.monotonic() < end:
            if plane.over:
                return
            time.sleep(0.01)
        if plane.status != 200:
            self._say(plane.status, b"{}")
        elif plane.generation == int(query["after"]):
            self._say(304, b"")
        else:
            self._say(200, plane.body)

    def _say(self, status, body):
        self.send_response(status)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Plane:
    def __init__(self, port=0):
        self.generation, self.body, self.status, self.seen, self.over = 0, b"", 200, [], False
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Control)
        self._server.daemon_threads = True
        self._server.plane = self
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v1/routes/snapshot"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def give(self, made):
        self.body, self.generation = as_json(made), made.generation

    def close(self):
        self.over = True
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def plane(port=0):
    it = Plane(port)
    try:
        yield it
    finally:
        it.close()


@pytest.fixture
def fetching():
    with contextlib.ExitStack() as stack:

        def make(*arguments, **more):
            fetcher = Fetcher(*arguments, **more)
            stack.callback(fetcher.close)
            return fetcher

        yield make


def test_routes_come_by_long_poll(fetching, two, tmp_path):
    file = tmp_path / "cache.json"
    with plane() as control:
        control.give(snapshot(one(two[0].url), generation=5))
        fetcher = fetching(control.url, file, key="secret", wait_s=2)
        assert fetcher.poll()
        assert read_snapshot(file).generation == 5
        query, headers = control.seen[0]
        assert query == {"after": str(NONE), "wait": "2"}
        assert headers["Authorization"] == "Bearer secret"
        timer = threading.Timer(0.1, lambda: control.give(snapshot(generation=6)))
        timer.start()
        began = time.monotonic()
        assert fetcher.poll()
        assert time.monotonic() - began < 1.9  # it came when it was there, not behind the wait
        query, headers = control.seen[1]
        assert (query["after"], headers["If-None-Match"]) == ("5", '"5"')
        timer.join()


def test_nothing_new_is_nothing_written(fetching, tmp_path):
    file = tmp_path / "cache.json"
    with plane() as control:
        control.give(snapshot(generation=5))
        fetcher = fetching(control.url, file, wait_s=0.05)
        assert fetcher.poll()
        before = file.stat()
        assert not fetcher.poll()
        assert file.stat() == before


def test_the_last_routes_stay_while_the_control_plane_is_away(fetching, two, tmp_path):
    file = tmp_path / "cache.json"
    port = free_port()
    with plane(port) as control:
        control.give(snapshot(one(two[0].url), generation=5))
        fetching(control.url, file, wait_s=0.1).poll()
    with Door(one(two[1].url)) as door:
        fetcher = Fetcher(f"http://127.0.0.1:{port}/s", file, wait_s=0.1)
        follower = Follower(file, door.maker, door.front, door.names)
        follower.first()
        fetcher.start()
        follower.start()
        door.until(lambda: fetcher.problem)
        assert door.ask("/x")[0] == 200
        assert len(two[0].asked) == 1
        with plane(port) as control:
            control.give(snapshot(one(two[1].url), generation=6))
            door.until(lambda: door.front.table.generation == 6, 30)
            assert door.ask("/x")[0] == 200
            fetcher.close()
        follower.close()
    assert len(two[1].asked) == 1


@pytest.mark.parametrize("body", [b"nonsense", b'{"generation": "x"}', b'{"generation": -5}'])
def test_what_a_control_plane_says_wrongly_is_not_written(fetching, tmp_path, body):
    file = tmp_path / "cache.json"
    with plane() as control:
        control.body, control.generation = body, 9
        with pytest.raises(InvalidError):
            fetching(control.url, file, wait_s=0.1).poll()
    assert not file.exists()


def test_a_refusal_is_told(fetching, tmp_path):
    with plane() as control:
        control.status, control.generation = 403, 3
        with pytest.raises(InvalidError, match="403"):
            fetching(control.url, tmp_path / "c", wait_s=0.1).poll()


@pytest.mark.parametrize("url", ["ftp://a/b", "http://", "http://a:x/"])
def test_addresses_that_are_none(tmp_path, url):
    with pytest.raises(InvalidError):
        Fetcher(url, tmp_path / "c")
