"""Ticks against a database: restarts, receivers that fail, actions, what people do."""

import threading

import pytest

from modelworks.core.alerts import AlertState
from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError
from modelworks.core.series import Series
from modelworks.db.engine import open_database
from modelworks.monitor.alerts.kept import CallState
from modelworks.monitor.alerts.service import Alerts
from modelworks.monitor.alerts.written import WrittenSource
from modelworks.protocol.manifest.alerts import load_alerts

pytestmark = pytest.mark.unit

MINUTE = 60 * 10**9
DOCUMENTS = b"""
kind: AlertRules
metadata: {name: r}
spec:
  rules:
    - name: Slow
      threshold: {series: slow, above: 0, over: 1m}
      for: 2m
      actions: [undo, call]
---
kind: AlertRouting
metadata: {name: all}
spec:
  receivers: [{name: team, notifiers: [{type: slack}, {type: webhook}]}]
  route: {receiver: team, group_wait: 0s, repeat_interval: 1h}
  actions:
    - {name: undo, use_case: roll-back, arguments: {to: before}}
    - {name: call, webhook: {url: "http://hooks.example/x"}, attempts: 2}
"""


class Told:
    """Notes what is sent; fails as it is told to."""

    def __init__(self):
        self.sent, self.fails = [], {}

    def __call__(self, kind, content, settings):
        self.sent.append((kind, content, dict(settings)))
        if kind in self.fails:
            raise self.fails[kind]


@pytest.fixture
def scope(tmp_path):
    database = open_database(tmp_path / "registry.db")
    yield database.tenant("t")
    database.close()


def source(*values):
    times = [float(60 * n) for n in range(len(values))]
    return WrittenSource([Series("slow", {"model": "a"}, times, [float(v) for v in values])])


def service(scope, told, values=(1,) * 200, **more):
    found = Alerts(scope, source(*values), actor="ana", send=told, **more)
    found.apply(load_alerts([("a.yaml", DOCUMENTS)]))
    return found


def test_a_restart_between_any_two_ticks_changes_nothing(scope):
    told, done = Told(), []
    cases = {"roll-back": lambda asked: done.append(asked) or "rolled back"}
    for minute in range(6):
        ticked = service(scope, told, use_cases=cases).tick(minute * MINUTE)
        assert (ticked.rules, ticked.pending, ticked.firing) == (
            1,
            int(minute < 2),
            int(minute >= 2),
        )
    [listed] = service(scope, told).every()
    assert listed.held.alert.fired_ns == 2 * MINUTE
    assert [kind for kind, _, _ in told.sent] == ["slack", "webhook", "webhook"]
    [asked] = done
    assert (asked.alert.rule, asked.arguments) == ("Slow", {"to": "before"})
    assert {one.state for one in service(scope, told).calls()} == {CallState.DONE}


def test_who_does_not_answer_is_told_later_and_the_other_is_not_told_twice(scope):
    told = Told()
    told.fails["slack"] = UnavailableError("busy", retry_after=90)
    alerts = service(scope, told, use_cases={"roll-back": lambda _: ""})
    for minute in (0, 1, 2, 3):
        ticked = alerts.tick(minute * MINUTE)
    assert (ticked.told, ticked.failed) == (0, 0)  # 90 s are not over
    assert [g.message for g in alerts.groups()] in (["busy", ""], ["", "busy"])
    del told.fails["slack"]
    assert alerts.tick(4 * MINUTE).told == 1
    kinds = [kind for kind, content, _ in told.sent if content.group == {"model": "a"}]
    assert kinds.count("slack") == 2
    assert [g.failures for g in alerts.groups()] == [0, 0]


def test_what_is_refused_is_not_told_again_and_shown(scope):
    told = Told()
    told.fails["slack"] = InvalidError("no such channel")
    alerts = service(scope, told, use_cases={"roll-back": lambda _: ""})
    for minute in range(10):
        alerts.tick(minute * MINUTE)
    assert [kind for kind, _, _ in told.sent].count("slack") == 1
    assert "no such channel" in [g.message for g in alerts.groups()]


def test_actions_are_tried_within_bounds_and_audited(scope):
    told = Told()
    told.fails["webhook"] = UnavailableError("away")
    alerts = service(scope, told, use_cases={})
    for minute in range(20):
        alerts.tick(minute * MINUTE)
    calls = {one.action: one for one in alerts.calls()}
    assert calls["undo"].state is CallState.FAILED
    assert "no use case 'roll-back' here (registered: none)" in calls["undo"].message
    assert calls["call"].state is CallState.FAILED
    assert calls["call"].attempts == 2
    assert calls["call"].message == "nobody answered 2 times: away"
    keys = [content.key for kind, content, s in told.sent if s.get("url")]
    assert keys == [calls["call"].id] * 2  # the same id: who is called can tell


def test_a_fault_of_a_plugin_or_use_case_ends_no_tick(scope):
    told = Told()
    told.fails["slack"] = ZeroDivisionError("secret")

    def broken(_asked):
        raise KeyError("x")

    alerts = service(scope, told, use_cases={"roll-back": broken})
    for minute in range(3):
        alerts.tick(minute * MINUTE)
    assert "ZeroDivisionError in the notifier" in [g.message for g in alerts.groups()]
    assert "KeyError in 'undo'" in [one.message for one in alerts.calls()]


def test_acknowledged_while_a_tick_runs_stays_so(scope):
    told = Told()
    alerts = service(scope, told, use_cases={"roll-back": lambda _: ""})
    for minute in range(3):
        alerts.tick(minute * MINUTE)
    with pytest.raises(NotFoundError, match="no such alert fires"):
        alerts.acknowledge({"rule": "Other"})

    class Meddling(WrittenSource):
        def select(self, *arguments):
            Alerts(scope, actor="bob").acknowledge({"model": "a"}, "on it")
            return super().select(*arguments)

    one = Series("slow", {"model": "a"}, [180.0], [2.0])
    Alerts(scope, Meddling([one]), send=told).tick(3 * MINUTE)
    [listed] = alerts.every()
    assert (listed.held.acknowledged_by, listed.held.comment) == ("bob", "on it")
    assert listed.held.alert.value == 2.0


def test_silences_are_made_listed_and_ended(scope):
    told = Told()
    now = 100 * MINUTE
    alerts = Alerts(scope, source(*(1,) * 300), actor="ana", send=told, clock=lambda: now)
    alerts.apply(load_alerts([("a.yaml", DOCUMENTS)]))
    with pytest.raises(InvalidError, match="over before it begins"):
        alerts.silence({"model": "a"}, now, "x")
    with pytest.raises(InvalidError, match="all alerts would be silent"):
        alerts.silence({"model": "*"}, now + MINUTE, "x")
    made = alerts.silence({"model": "a"}, now + 50 * MINUTE, "training")
    for minute in (100, 102, 103):
        alerts.tick(minute * MINUTE)
    assert told.sent == []
    assert {one.state for one in alerts.calls()} == {CallState.SKIPPED}
    assert alerts.every()[0].quiet == f"silenced by {made.id}"
    with pytest.raises(NotFoundError, match="no silence begins with 'zz'"):
        alerts.expire("zz")
    assert alerts.expire(made.id[:13]).until_ns == now
    alerts.tick(104 * MINUTE)
    assert [kind for kind, _, _ in told.sent] == ["slack", "webhook"]


def test_alerts_of_rules_that_are_removed_end_and_are_told(scope):
    told = Told()
    alerts = service(scope, told, use_cases={"roll-back": lambda _: ""})
    for minute in range(3):
        alerts.tick(minute * MINUTE)
    alerts.remove("AlertRules", "r")
    with pytest.raises(NotFoundError):
        alerts.remove("AlertRules", "r")
    alerts.tick(30 * MINUTE)
    assert alerts.every()[0].held.alert.state is AlertState.RESOLVED
    assert told.sent[-1][1].resolved
    alerts.tick(60 * 48 * MINUTE)
    assert alerts.every() == []
    assert alerts.groups() == []


def test_two_routings_or_rules_of_one_name_are_refused_and_nothing_is_applied(scope):
    alerts = service(scope, Told())
    other = DOCUMENTS.replace(b"{name: all}", b"{name: b}").replace(b"{name: r}", b"{name: c}")
    with pytest.raises(InvalidError, match=r"two AlertRoutings, all, b|two rules 'Slow'"):
        alerts.apply(load_alerts([("b.yaml", other)]))
    assert [one["metadata"]["name"] for one in alerts.documents()] == ["all", "r"]


def test_one_evaluates_at_a_time(scope):
    inside, go = threading.Event(), threading.Event()

    class Slow(WrittenSource):
        def select(self, *arguments):
            inside.set()
            assert go.wait(20)
            return super().select(*arguments)

    first = Alerts(scope, Slow([]), send=Told())
    first.apply(load_alerts([("a.yaml", DOCUMENTS)]))
    thread = threading.Thread(target=first.tick, args=(0,))
    thread.start()
    assert inside.wait(20)
    assert Alerts(scope, source(1), send=Told()).tick(0).rules == 0
    go.set()
    thread.join(20)
    assert Alerts(scope, source(1), send=Told()).tick(MINUTE).rules == 1


def test_values_that_are_no_numbers_are_kept(scope):
    text = b"""
kind: AlertRules
metadata: {name: r}
spec:
  rules:
    - {name: Inf, threshold: {series: slow, above: 0, over: 1m}}
    - {name: Lost, threshold: {series: away, where: {model: x}, above: 0}, missing: fire}
"""
    alerts = Alerts(scope, source(float("inf")), send=Told())
    alerts.apply(load_alerts([("a.yaml", text)]))
    alerts.tick(0)
    found = {one.held.alert.rule: one.held.alert for one in alerts.every()}
    assert found["Inf"].value == float("inf")
    assert found["Lost"].labels == {"model": "x"}


def test_a_source_that_gives_no_more_at_once_is_asked_rule_by_rule(scope):
    text = b"""
kind: AlertRules
metadata: {name: r}
spec:
  rules:
    - {name: One, threshold: {series: slow, where: {model: a}, above: 0, over: 1m}}
    - {name: All, threshold: {series: slow, above: 0, over: 1m}}
"""

    class Small(WrittenSource):
        def select(self, name, labels, since, until):
            if "model" not in labels:
                raise InvalidError("too many points")
            return super().select(name, labels, since, until)

    alerts = Alerts(scope, Small([Series("slow", {"model": "a"}, [60.0], [1.0])]), send=Told())
    alerts.apply(load_alerts([("a.yaml", text)]))
    assert alerts.tick(MINUTE).firing == 1
