"""Alerts kept in PostgreSQL: two processes' worth of ticks, values that JSON does not know."""

import pytest

from modelworks.core.series import Series
from modelworks.db.engine import open_database
from modelworks.monitor.alerts.kept import CallState
from modelworks.monitor.alerts.service import Alerts
from modelworks.monitor.alerts.written import WrittenSource
from modelworks.protocol.manifest.alerts import load_alerts

pytestmark = pytest.mark.real

MINUTE = 60 * 10**9
DOCUMENTS = """
kind: AlertRules
metadata: {name: r}
spec:
  rules:
    - {name: 'Inf', threshold: {series: x, above: 0, over: 1m}, for: 1m, actions: [undo]}
---
kind: AlertRouting
metadata: {name: all}
spec:
  receivers: [{name: team, notifiers: [{type: slack}]}]
  route: {receiver: team, group_wait: 0s}
  actions: [{name: undo, use_case: undo}]
"""


def test_alerts_live_through_restarts_in_postgresql(postgres_url):
    sent = []
    labels = {"model": "欺诈"}
    source = WrittenSource([Series("x", labels, [60.0, 120.0, 180.0], [float("inf")] * 3)])
    for minute in (1, 2, 3, 10):
        database = open_database(postgres_url)
        alerts = Alerts(
            database.tenant("t"),
            source,
            {"undo": lambda _asked: "done"},
            actor="ana",
            send=lambda *told: sent.append(told),
        )
        alerts.apply(load_alerts([("a.yaml", DOCUMENTS.encode())]))
        if minute == 3:
            assert alerts.acknowledge({"model": "欺诈"}, "看")[0].comment == "看"
        ticked = alerts.tick(minute * MINUTE)
        assert ticked.rules == 1
        database.close()
    assert [len(told[1].firing) for told in sent] == [1, 0]
    database = open_database(postgres_url)
    alerts = Alerts(database.tenant("t"))
    [listed] = alerts.every()
    assert (listed.held.alert.value, listed.held.alert.labels) == (float("inf"), labels)
    [call] = alerts.calls()
    assert (call.state, call.message) == (CallState.DONE, "done")
    made = alerts.silence({"model": "欺诈"}, 2**62, "x")
    assert alerts.expire(made.id).id == made.id
    assert Alerts(database.tenant("other")).every() == []
    database.close()
