"""The watch's loop: what fails or is slow stops nothing else; a killed run is repeated as one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from modelworks.control.watching import store
from modelworks.control.watching.alerting import Alerting
from modelworks.control.watching.duty import Done, DutyState
from modelworks.control.watching.parts import Parts
from modelworks.control.watching.runner import LONGEST_WAIT_S, Runner, due
from modelworks.control.watching.service import Watching
from modelworks.core.errors import UnavailableError
from modelworks.core.home import Home
from modelworks.core.series import Series
from modelworks.db.engine import open_database
from modelworks.monitor.alerts.service import Alerts
from modelworks.monitor.series.service import SeriesStore
from modelworks.protocol.manifest.alerts import load_alerts

START = 1_800_000_000


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> int:
        return int(self.now * 1e9)


class Fake:
    """A duty that counts its runs, and does what it is told."""

    every_s = 60.0
    deadline_s = 30.0

    def __init__(self, name="count", act=None):
        self.name = name
        self.runs = 0
        self._act = act

    def run(self, now, state):
        self.runs += 1
        if self._act is not None:
            self._act(now, state)
        count = state.get("count", 0) + 1
        found = Series("requests", {"model": "fraud"}, (now,), (float(count),))
        return Done([found], state={"count": count})


def fail(*_):
    raise UnavailableError("nobody answers")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scope(tmp_path):
    database = open_database(tmp_path / "watch.db")
    yield database.tenant("default")
    database.close()


def read(scope, clock):
    found = SeriesStore(scope, clock).select("requests", {}, START - 60, clock.now + 60)
    return [value for one in found for value in one.values]


def test_a_duty_runs_when_it_is_due_and_goes_on_where_it_was(scope, clock):
    duty = Fake()
    for _ in range(3):
        runner = Runner(scope, [duty], clock)  # as after a kill: nothing but the rows is left
        assert runner.tend(duty)
        assert not runner.tend(duty)
        clock.now += 60
    assert read(scope, clock) == [1, 2, 3]
    (state,) = runner.states()
    assert (state.name, state.failures, state.error) == ("count", 0, "")


def test_what_a_killed_run_found_is_not_half_kept(scope, clock, monkeypatch):
    duty = Fake()
    runner = Runner(scope, [duty], clock)
    runner.tend(duty)
    clock.now += 60

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            runner.tend(duty)
    assert read(scope, clock) == [1]
    assert Runner(scope, [duty], clock).tend(duty)
    assert read(scope, clock) == [1, 2]


def test_one_that_fails_stops_no_other_and_waits_longer_each_time(scope, clock):
    bad, good = Fake("bad", fail), Fake("good")
    runner = Runner(scope, [bad, good], clock)
    for _ in range(60):
        runner.tend(bad)
        runner.tend(good)
        clock.now += 60
    assert good.runs == 60
    assert 6 <= bad.runs <= 12
    states = {state.name: state for state in runner.states()}
    assert states["bad"].error == "nobody answers"
    assert states["bad"].failures == bad.runs
    with scope.read() as session:
        assert store.get(session, "good")[1] == {"count": 60}


def test_the_wait_after_failures_is_bounded():
    duty = Fake()
    known = DutyState("x", START * 10**9, 0, 40)
    assert due(duty, known) == (START + int(LONGEST_WAIT_S)) * 10**9
    slow = Fake()
    slow.every_s = 3600.0
    assert due(slow, DutyState("x", START * 10**9, 0, 40)) >= START * 10**9 + 900 * 10**9


def test_two_workers_share_no_run(scope, clock):
    inside, most = [], []

    def act(*_):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()

    duty = Fake(act=act)
    runners = [Runner(scope, [duty], clock) for _ in range(2)]
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            ran = list(pool.map(lambda r: r.tend(duty), runners * 2))
        assert sum(ran) == 1
        clock.now += 60
    assert max(most) == 1
    assert duty.runs == 5


def test_a_late_run_is_said_while_it_goes_on_and_stops_no_other(scope):
    over, begun = threading.Event(), threading.Event()

    def act(*_):
        begun.set()
        over.wait(30)

    slow, other = Fake("slow", act), Fake("other")
    slow.deadline_s, other.every_s = 0.0, 0.2
    runner = Runner(scope, [slow, other])
    runner.start()
    try:
        assert begun.wait(20)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            found = {state.name: state for state in runner.states()}
            if "slow" in found and other.runs >= 2:
                break
            time.sleep(0.05)
        assert "longer than 0 s" in found["slow"].error
        assert other.runs >= 2
    finally:
        over.set()
        runner.close()
    assert {state.name: state.error for state in runner.states()}["slow"] == ""


def test_the_duty_of_alerts_is_not_locked_out_by_its_own_lock(scope, clock):
    series = SeriesStore(scope, clock)
    found = Series("queue", {"model": "fraud"}, (clock.now,), (9.0,))
    series.append([found])
    alerts = Alerts(scope, series, clock=clock)
    rules = b"{kind: AlertRules, metadata: {name: r}, spec: {rules: [RULE]}}".replace(
        b"RULE", b"{name: Full, threshold: {series: queue, above: 5}}"
    )
    alerts.apply(load_alerts([("r.yaml", rules)]))
    duty = Alerting(alerts)
    assert Runner(scope, [duty], clock).tend(duty)
    assert [one.held.alert.rule for one in alerts.every()] == ["Full"]


ACTING = b"""
kind: AlertRules
metadata: {name: r}
spec: {rules: [{name: Full, threshold: {series: queue, above: 5}, actions: [undo]}]}
---
kind: AlertRouting
metadata: {name: all}
spec:
  receivers: [{name: nobody, notifiers: []}]
  route: {receiver: nobody}
  actions: [{name: undo, use_case: roll-back, arguments: {deployment: fraud}}]
"""


class Nobody:
    """Knows no model."""

    def show(self, ref):
        raise UnavailableError(ref)


def test_a_registered_use_case_is_called_once_for_each_firing(scope, clock, tmp_path):
    deploying = SimpleNamespace(one=None, runs=None)  # nobody is asked for alerts
    calls, parts = [], Parts(Home(tmp_path), deploying, None, None, lambda: None)

    def make(given):
        assert given is parts
        return lambda asked: calls.append(asked) or "rolled back"

    def level(value):
        watching.series.append([Series("queue", {"model": "fraud"}, (clock.now,), (value,))])

    def look():
        duties = watching._all(parts, 3600)  # a worker that starts anew
        Runner(scope, [duty := next(d for d in duties if d.name == "alerts")], clock).tend(duty)
        clock.now += 60

    watching = Watching(scope, Nobody(), None, clock=clock, use_cases={"roll-back": make})
    Alerts(scope, clock=clock).apply(load_alerts([("r.yaml", ACTING)]))
    for value in (9.0, 9.0, 9.0, 1.0, 9.0, 9.0):
        level(value)
        look()
    assert [one.alert.labels for one in calls] == [{"model": "fraud"}] * 2
    assert {one.alert.rule for one in calls} == {"Full"}
    assert [one.arguments for one in calls] == [{"deployment": "fraud"}] * 2
    assert calls[0].id != calls[1].id
    assert [one.message for one in Alerts(scope).calls()] == ["rolled back"] * 2
