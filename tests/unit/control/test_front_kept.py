"""The snapshot as it is kept: its generation, and what is looked at."""

import json
import threading

import pytest

from modelworks.client.endpoints import register
from modelworks.control.front.keeping import Keeper
from modelworks.control.front.places import Places
from modelworks.control.front.service import Front
from modelworks.control.front.sources import Reach
from modelworks.control.service import Factory
from modelworks.core.deployment import Observed, Phase, Replica
from modelworks.core.desired import Desired
from modelworks.core.errors import UnavailableError
from modelworks.core.home import Home
from modelworks.core.routes import BUCKETS, Arm, Endpoint, Route, Snapshot, Span
from modelworks.core.served import ServedList, ServedModel, write_served
from modelworks.gateway.follow import parse_snapshot

pytestmark = pytest.mark.unit


def route(name="fraud", url="http://a:1"):
    arms = (Arm("1.0.0", endpoints=(Endpoint(url),)),)
    return Route(name, arms, (Span(0, BUCKETS, "1.0.0"),), model=name)


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


def test_a_generation_rises_with_every_change_and_over_restarts(tmp_path):
    path, clock = tmp_path / "front.json", Clock()
    keeper = Keeper(path, clock)
    first = keeper.keep(lambda _: (route(),))
    assert first.generation == clock.now
    assert keeper.keep(lambda _: (route(),)) == first  # nothing changed
    clock.now -= 3600  # somebody has put the clock right
    second = keeper.keep(lambda before: (*before.routes, route("b")))
    assert second.generation == first.generation + 1
    again = Keeper(path, clock)
    assert again.keep(lambda _: second.routes) == second
    assert again.keep(lambda _: ()).generation == second.generation + 1


@pytest.mark.parametrize("damage", ["gone", "{", '{"generation": "x"}'])
def test_nor_does_it_fall_where_the_file_is_lost(tmp_path, damage):
    path, clock = tmp_path / "front.json", Clock()
    keeper = Keeper(path, clock)
    for number in range(5):
        last = keeper.keep(lambda _, number=number: (route(str(number)),))
    path.unlink() if damage == "gone" else path.write_text(damage)
    assert keeper.keep(lambda _: last.routes).generation == last.generation + 1
    path.unlink()
    clock.now += 60  # as long as a start takes, and less
    assert Keeper(path, clock).keep(lambda _: ()).generation > last.generation + 1


def test_two_writers_are_one(tmp_path):
    path = tmp_path / "front.json"
    found = []

    def write(name):
        keeper = Keeper(path)
        found.extend(
            keeper.keep(lambda _, n=number: (route(f"{name}-{n}"),)) for number in range(15)
        )

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.generation for one in found}) == 30  # no two are called alike
    newest = max(found, key=lambda one: one.generation)
    assert Keeper(path).last() == newest


def test_what_cannot_be_made_leaves_the_last_one_also_for_who_begins_then(tmp_path):
    made = [(route(),)]

    def sources(_before):
        if not made:
            raise UnavailableError("the database is away")
        return made[0]

    front = Front(sources, tmp_path / "front.json")
    assert front.told is None
    assert front.tick()
    assert not front.tick()
    told = front.told
    assert parse_snapshot(told.body).routes == (route(),)
    made.clear()
    with pytest.raises(UnavailableError):
        front.tick()
    assert front.told == told
    later = Front(sources, tmp_path / "front.json", period_s=60)
    later.start()
    later.close()
    assert later.told == told
    nothing = Front(sources, tmp_path / "none.json", period_s=60)
    nothing.start()
    nothing.close()
    assert nothing.told is None


def test_nothing_is_told_before_the_places_are_those_of_now(tmp_path):
    path, known, away = tmp_path / "front.json", [], []
    Keeper(path).keep(lambda _: (route(),))

    def sources(before):
        if away:
            raise UnavailableError("the database is away")
        return before.routes

    front = Front(sources, path, period_s=60, known=lambda: bool(known))
    assert not front.tick()
    away.append(1)
    front.start()
    assert front.told is None
    away.clear()
    known.append(1)
    assert front.tick()  # the same routes as ever, which nobody was told yet
    assert parse_snapshot(front.told.body).routes == (route(),)
    known.clear()
    assert not front.tick()
    assert front.told is not None
    front.close()


def test_an_odd_route_is_left_out_and_told_once(tmp_path, caplog):
    routes = (route("good"), route("odd", "memory://here"))
    front = Front(lambda _: routes, tmp_path / "front.json")
    front.tick()
    front.tick()
    assert [one.name for one in parse_snapshot(front.told.body).routes] == ["good"]
    [said] = [record.message for record in caplog.records if "odd" in record.message]
    assert "route 'odd'.arms[0].endpoints[0].url: 'memory://here'" in said


# -- what is looked at


class SlowTarget:
    """Answers when it is let."""

    name, nearby, settings = "slow", False, {}

    def __init__(self):
        self.let = threading.Event()
        self.asked = 0
        self.fails = False

    def open(self, settings, folder):
        return self

    def observe(self, name):
        self.asked += 1
        self.let.wait(20)
        if self.fails:
            raise RuntimeError("a fault of the plug-in")
        return Observed(f"http://{name}:1", (Replica("r", 1, Phase.READY),))


def until(true):
    end = threading.Event()
    for _ in range(2000):
        if true():
            return
        end.wait(0.005)
    raise AssertionError("not within ten seconds")


def test_a_slow_target_holds_nobody_up_and_is_asked_once_at_a_time(tmp_path, monkeypatch):
    target, clock = SlowTarget(), Clock()
    monkeypatch.setattr("modelworks.control.front.places.kind_of", lambda _: target)
    places = Places(tmp_path, clock=clock)
    wanted = [Desired("a", "slow", {}, {})]
    for _ in range(5):
        assert places.look(wanted)["a"].observed is None
        clock.now += 10
    until(lambda: target.asked)
    assert places.look(wanted)["a"].unseen == "nobody has looked yet"
    assert target.asked == 1
    target.let.set()
    until(lambda: places.look(wanted)["a"].observed is not None)
    assert not places.look(wanted)["a"].unseen
    target.fails = True
    clock.now += 10
    until(lambda: places.look(wanted)["a"].unseen)
    assert places.look(wanted)["a"].observed.url == "http://a:1"  # as it was seen last
    assert places.look([]) == {}
    places.close()


def test_the_first_looks_are_waited_for_where_it_is_asked(tmp_path, monkeypatch):
    target = SlowTarget()
    monkeypatch.setattr("modelworks.control.front.places.kind_of", lambda _: target)
    places = Places(tmp_path)
    wanted = [Desired("a", "slow", {}, {})]
    threading.Timer(0.1, target.let.set).start()
    assert places.look(wanted, 20)["a"].observed.url == "http://a:1"
    target.let.clear()
    other = [Desired("b", "slow", {}, {})]
    assert places.look(other, 0.05)["b"].unseen  # no longer than that
    target.let.set()
    places.close()


def test_what_an_installation_has_is_read_where_it_is_kept(tmp_path):
    home = Home(tmp_path / "home")
    with Factory(home) as factory:
        served = home.run / "served.json"
        model = ServedModel("fraud", "1.2.0", "/m", "d" * 64)
        write_served(served, ServedList(1, (model,)))
        front = factory.front(served, Reach("box.lan", public=True, awaited=True))
        front.tick()
        assert front.told is None  # `up` has not said yet where its server is
        [found] = Keeper(home.run / "front.json").last().routes
        assert found.arms == (Arm("1.2.0"),)
        entry = register(home, "up", "http://127.0.0.1:8000", "up", ())
        front.tick()
        [found] = parse_snapshot(front.told.body).routes
        there = (Endpoint("http://box.lan:8000"),)
        assert found.arms == (Arm("1.2.0", endpoints=there),)
        entry.unlink()  # it is started again
        write_served(served, ServedList(2, (model, ServedModel("b", "1.0.0", "/b", "e" * 64))))
        front.tick()
        routes = parse_snapshot(front.told.body).routes
        assert [(one.name, one.arms[0].endpoints) for one in routes] == [
            ("b", there),
            ("fraud", there),
        ]
        alone = factory.front(served, Reach())  # no `up` started it: nobody is waited for
        assert alone.tick()
        alone.close()
        (home.run / "routes.json").write_text("{")
        with pytest.raises(Exception, match="no snapshot of routes"):
            front.tick()
        kept = json.loads((home.run / "front.json").read_text())
        assert kept["generation"] == front.told.generation
        assert isinstance(parse_snapshot(front.told.body), Snapshot)
        front.close()
