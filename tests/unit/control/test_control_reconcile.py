"""The served list on disk follows the registry, whatever happens."""

import logging
import time

import pytest

from modelworks.control.reconcile import Reconciler
from modelworks.control.service import Factory
from modelworks.core.errors import UnavailableError
from modelworks.core.served import ServedList, ServedModel, read_served
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_writes_only_what_changed(home, tmp_path):
    path = home.run / "served.json"
    with Factory(home) as factory:
        keeper = Reconciler(factory.desired, path)
        assert keeper.tick()
        assert read_served(path) == ServedList(1, ())
        before = path.stat().st_mtime_ns
        assert not keeper.tick()
        assert path.stat().st_mtime_ns == before
        factory.publish(candidate(tmp_path / "work"))
        assert keeper.tick()
        assert [model.name for model in read_served(path).models] == ["fraud"]
        assert read_served(path).generation == 2


@pytest.mark.parametrize("harm", ["deleted", "garbage", "another"])
def test_a_spoilt_list_is_written_anew_and_does_not_go_back(home, tmp_path, harm):
    path = home.run / "served.json"
    with Factory(home) as factory:
        keeper = Reconciler(factory.desired, path)
        factory.publish(candidate(tmp_path / "work"))
        keeper.tick()
        factory.set_alias("fraud", "champion", "1.0.0")
        keeper.tick()
        good = read_served(path)
        if harm == "deleted":
            path.unlink()
        elif harm == "garbage":
            path.write_bytes(b"\xff{")
        else:
            path.write_text('{"generation": 7, "models": []}')
        assert keeper.tick()
        assert read_served(path).models == good.models
        assert read_served(path).generation == (8 if harm == "another" else good.generation)


def test_another_process_goes_on_where_the_last_one_ended(home, tmp_path):
    path = home.run / "served.json"
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "work"))
        Reconciler(factory.desired, path).tick()
        before = path.stat().st_mtime_ns
    with Factory(home) as factory:
        assert not Reconciler(factory.desired, path).tick()
        assert path.stat().st_mtime_ns == before


def test_an_error_is_said_once_and_tried_again(home, caplog):
    path = home.run / "served.json"
    calls = []

    def desired(previous):
        calls.append(previous)
        if len(calls) < 4:
            raise UnavailableError("the database is away")
        if len(calls) == 4:
            raise ZeroDivisionError
        return ServedList(1, (ServedModel("m", "1.0.0", "/p", "d"),))

    keeper = Reconciler(desired, path, period=0.001)
    with caplog.at_level(logging.INFO):
        keeper.start()
        keeper.start()
        until(path.exists)
        until(lambda: len(calls) > 6)
        keeper.close()
        keeper.close()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the served list is not up to date: the database is away",
        "the served list is not up to date: ZeroDivisionError",
        "the served list is kept up to date again",
    ]


def test_the_wait_grows_while_it_fails(home, monkeypatch):
    def desired(_):
        raise UnavailableError("away")

    keeper = Reconciler(desired, home.run / "served.json", period=0.5)
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 12:
            keeper._stop.set()

    monkeypatch.setattr(keeper._stop, "wait", wait)
    keeper._run()
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == 30.0
