"""Endpoints that are found by name: the last good answer, what vanishes, what comes."""

import threading
import time

import pytest

from gateway_served import Door, Upstream, as_json, one, read_answer, snapshot
from modelworks.core.discovery import Found
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.files import replace_text
from modelworks.core.routes import Arm, Endpoint, Route, Span
from modelworks.gateway import names as names_module
from modelworks.gateway.counts import GONE, MOST_GONE, Counts
from modelworks.gateway.follow import Follower
from modelworks.gateway.names import MOST, Names

pytestmark = pytest.mark.unit

URL = "dns:models.test:80"


class Book:
    """A directory that a test writes."""

    def __init__(self, *addresses):
        self.addresses = addresses
        self.error = None
        self.asked = 0

    def find(self, named, mark):
        del named, mark
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Found(tuple(self.addresses), 0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(names_module, "_LEAST_S", 0.01)
    monkeypatch.setattr(names_module, "EMPTY_S", 0.3)


@pytest.fixture
def two():
    with Upstream() as first, Upstream() as second:
        yield first, second


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def at(upstream):
    return ("127.0.0.1", upstream.port)


def urls(names, *endpoints):
    return [e.url for e in names.expand(endpoints or (Endpoint(URL, "eu"),))]


@pytest.fixture
def followed():
    made = []

    def follow(book, *endpoints):
        names = Names(lambda directory: book)
        names.follow(snapshot(one(*(endpoints or (URL,)))))
        made.append(names)
        return names

    yield follow
    for names in made:
        names.close()


def test_a_name_is_its_addresses_in_their_zone_each_once(followed):
    names = followed(Book(("10.0.0.1", 80), ("::1", 80)))
    plain = Endpoint("http://10.0.0.1:80")
    found = names.expand((Endpoint(URL, "eu"), plain))
    assert found == [Endpoint("http://10.0.0.1:80", "eu"), Endpoint("http://[::1]:80", "eu")]


def test_certificates_are_asked_for_by_the_name_that_was_said(followed):
    url = "consul:fraud?tls=models.example.com"
    names = followed(Book(("10.0.0.1", 8443)), url)
    assert urls(names, Endpoint(url)) == ["https://10.0.0.1:8443#models.example.com"]


def test_a_directory_that_fails_takes_nothing_away(followed):
    book = Book(("10.0.0.1", 80))
    names = followed(book)
    book.error = UnavailableError("nobody answers")
    until(lambda: names.told()[0]["problem"])
    assert urls(names) == ["http://10.0.0.1:80"]
    assert "nobody answers" in names.told()[0]["problem"]
    book.error = RuntimeError("a bug of the directory's")
    until(lambda: "RuntimeError" in names.told()[0]["problem"])
    book.addresses, book.error = (("10.0.0.2", 80),), None
    until(lambda: urls(names) == ["http://10.0.0.2:80"])
    assert names.told()[0]["problem"] is None


def test_that_nothing_is_left_is_believed_when_it_stays_so(followed):
    book = Book(("10.0.0.1", 80))
    names = followed(book)
    began = time.monotonic()
    book.addresses = ()
    until(lambda: names.told()[0]["problem"])
    assert urls(names) == ["http://10.0.0.1:80"]
    until(lambda: not urls(names))
    assert time.monotonic() - began >= 0.3
    book.addresses = (("10.0.0.1", 80),)
    until(lambda: urls(names))


def test_a_directory_that_is_slow_at_first_holds_nobody_up_for_long():
    class Slow(Book):
        def find(self, named, mark):
            time.sleep(0.5)
            return super().find(named, mark)

    names = Names(lambda directory: Slow(("10.0.0.1", 80)))
    names.follow(snapshot(one(URL)), wait_s=0.05)
    assert urls(names) == []
    until(lambda: urls(names))
    names.close()


def test_a_name_that_no_route_has_is_asked_for_no_more(followed):
    book = Book(("10.0.0.1", 80))
    names = followed(book)
    names.forget_others(snapshot(one("http://10.0.0.9:80")))
    assert names.told() == []
    time.sleep(0.1)
    before = book.asked
    time.sleep(0.15)
    assert book.asked == before


def test_too_many_names_are_refused(followed):
    with pytest.raises(InvalidError, match="at most 256"):
        followed(Book(), *(f"dns:m{i}.test:80" for i in range(MOST + 1)))


def test_callers_follow_what_the_name_stands_for(two, tmp_path):
    file = tmp_path / "routes.json"
    replace_text(file, as_json(snapshot(one(URL))).decode())
    book = Book(at(two[0]))
    held = threading.Event()
    with Door(one(URL), finder=book) as door:
        follower = Follower(file, door.maker, door.front, door.names)
        follower.first()
        follower.start()
        assert door.ask("/x")[0] == 200
        two[0].act = lambda asked: (held.wait(10), asked.sock.sendall(SLOW))[1]
        with door.connect() as sock:
            sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            door.until(lambda: len(two[0].asked) == 2)
            place = door.front.table.places[two[0].url]
            book.addresses = (at(two[1]),)
            door.until(lambda: two[1].url in door.front.table.places)
            assert door.front.table.generation == 1
            assert {door.ask("/x")[0] for _ in range(5)} == {200}
            assert len(two[1].asked) == 5
            assert place.closed
            held.set()
            assert read_answer(sock)[0] == 200  # who was under way there is answered
        door.until(lambda: place.connections == 0)
        follower.close()


SLOW = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_an_arm_whose_name_has_nobody_is_answered_by_the_fallback(two):
    arms = (Arm("a", endpoints=(Endpoint(URL),)), Arm("b", endpoints=(Endpoint(two[0].url),)))
    route = Route("r", arms, (Span(0, 10_000, "a"),), fallback="b")
    with Door(route, finder=Book()) as door:
        assert door.ask("/x")[0] == 200
        assert door.route().fallbacks == 1
    with Door(one(URL), finder=Book()) as door:
        assert door.ask("/x")[0] == 503


def test_endpoints_that_are_gone_leave_their_sums():
    counts = Counts().route("r")
    for i in range(MOST_GONE + 10):
        counts.seat("a", f"http://10.0.0.{i}:80").tries = 1
        counts.seat("a", f"http://10.0.0.{i}:80").failures["cut"] = 2
    counts.forget_seats({("a", "http://10.0.0.0:80")})
    counts.forget_seats({("a", "http://10.0.0.0:80")})
    assert len(counts.seats) == MOST_GONE + 2
    assert ("a", "http://10.0.0.0:80") in counts.seats
    assert counts.seats["a", GONE].tries == 9
    assert counts.seats["a", GONE].failures["cut"] == 18
