"""An installation that was watched for some hours: what pages of the watch have to show."""

import time
from collections.abc import Iterator

from modelworks.control.service import Factory
from modelworks.control.watching import store
from modelworks.control.watching.duty import DutyState
from modelworks.core.series import Series
from modelworks.monitor.alerts.service import Alerts
from modelworks.protocol.manifest.alerts import load_alerts

EVIL = "<script>alert(1)</script>"
RULES = b"""
kind: AlertRules
metadata: {name: watched}
spec:
  rules:
    - name: Slow
      threshold: {series: latency_p99_ms, above: 40, over: 5m}
      severity: critical
      summary: "{model} is slow: <script>alert(1)</script>"
      runbook: https://wiki.example/slow
    - name: Moved
      threshold: {series: drift, where: {feature: income, method: js}, above: 0.2, over: 3h}
---
kind: AlertRouting
metadata: {name: all}
spec:
  receivers: [{name: nobody}]
  route: {receiver: nobody}
"""


def fill(factory: Factory, *, looked_s: float = 20.0) -> None:
    """Two models, one of them in trouble: slow, moved, silenced for its drift.

    Args:
        factory: empty.
        looked_s: the worker's last look was so long ago.
    """
    now = int(time.time()) // 60 * 60
    watching = factory.watching
    watching.series.append(list(_minutes(now)))
    watching.series.append(list(_hours(now // 3600 * 3600)), 3600)
    alerts = Alerts(factory._scope, watching.series, actor="ana")
    alerts.apply(load_alerts([("rules.yaml", RULES)]))
    alerts.tick(now * 10**9)
    alerts.silence({"rule": "Moved"}, (now + 86_400) * 10**9, "a known campaign")
    looked = int((time.time() - looked_s) * 1e9)
    with factory._scope.write() as session:
        for name, error in (("requests", ""), ("compaction", f"the disk is full {EVIL}")):
            store.put(session, DutyState(name, looked, 10**7, bool(error), error), {})


def _minutes(now: int) -> Iterator[Series]:
    times = [float(now - 60 * n) for n in range(180, -1, -1)]
    gap = range(60, 75)  # a server was away
    for model, p99 in (("fraud", 55.0), ("churn", 12.0)):
        labels = {"model": model, "version": "1.0.0"}
        kept = [time for n, time in enumerate(times) if n not in gap]
        yield Series("requests", labels, kept, [float(60 + n % 17) for n in range(len(kept))])
        yield Series("errors", labels, kept, [float(n % 50 == 0) for n in range(len(kept))])
        yield Series("latency_p50_ms", labels, kept, [2.0] * len(kept))
        yield Series("latency_p99_ms", labels, kept, [p99 + n % 5 for n in range(len(kept))])
    yield Series("host_cpu_share", {}, times, [0.4] * len(times))


def _hours(now: int) -> Iterator[Series]:
    times = [float(now - 3600 * n) for n in range(5, -1, -1)]
    own = {"model": "fraud", "version": "1.0.0"}
    for feature, end, loss in (("age", 0.12, 0.031), ("income", 0.34, 0.004), (EVIL, 0.02, 0.0)):
        labels = {**own, "feature": feature}
        rising = [end * n / 5 for n in range(6)]
        yield Series("drift", {**labels, "method": "js"}, times, rising)
        yield Series("drift", {**labels, "method": "evidence"}, times, [end - 0.2] * 6)
        yield Series("drift_loss", labels, times, [loss] * 6)
    yield Series("missing", {**own, "feature": "age"}, times, [0.25] * 6)
    quality = {**own, "metric": "accuracy", "kind": "measured", "slice": "*"}
    yield Series("quality", quality, times, [0.95, 0.95, 0.94, 0.93, 0.92, 0.91])
