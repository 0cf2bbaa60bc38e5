"""The story's part on what models do in use: recorded, compared, explained, judged, erased."""

import json

import pandas as pd

from desk import HTTP, Desk, until

_WHO = "ana@example.org"
_RULES = """
kind: AlertRules
metadata: {name: churn}
spec:
  rules: [{name: Slow, threshold: {series: latency_p99_ms, above: 200}, for: 5m}]
---
kind: AlertTests
metadata: {name: churn}
spec:
  rules: [alerts.yaml]
  tests:
    - name: slow for six minutes
      series: [{name: latency_p99_ms, labels: {model: churn}, values: 300x6}]
      expect:
        - {at: 5m, alerts: [{rule: Slow, labels: {model: churn}}]}
"""


def watch_what_it_does(desk: Desk) -> None:
    """Recorded by a policy, held against what it learnt from, explained; a person is forgotten."""
    policy = {"subject": "header:X-Who", "fields": [{"field": "header:X-Who", "act": "hash"}]}
    (desk.folder / "policy.json").write_text(json.dumps({"sample": 1.0, **policy}))
    known = pd.read_csv(desk.folder / "churn.csv")
    older = known.assign(age=known["age"] + 40)
    older.to_csv(desk.folder / "older.csv", index=False)
    words = ("serve", "churn:1.0.0", "--port", "0", "--record-policy", "policy.json")
    with desk.running(*words) as server:
        for number, rows in enumerate((known, older)):
            answer = HTTP.request(
                "POST",
                f"{server.said['url']}/predict/churn",
                json={"rows": rows.to_dict("records")},
                headers={"X-Request-Id": f"visit-{number}", "X-Who": _WHO if number else "bo"},
            )
            assert answer.status == 200, answer.data
        server.drain()
    until("records are in the store", lambda: _recorded(desk) == 2)
    assert _WHO not in desk.mw("records", "show", "visit-1", "--json").out

    desk.mw("reference", "build", "churn.csv", "-o", "churn.npz")
    drift = ("drift", "--reference", "churn.npz", "--json", "--check", "--current")
    desk.mw(*drift, "churn.csv")
    assert desk.mw(*drift, "older.csv", code=9).json["features"][0]["feature"] == "age"
    desk.mw("explain", "churn:1.0.0", "--csv", "older.csv", "--limit", "5", "--json")

    (desk.folder / "alerts.yaml").write_text(_RULES)
    desk.mw("alerts", "test", "alerts.yaml")
    (desk.folder / "told.csv").write_text("prediction,item,truth\nvisit-0,0,leaves\n")
    desk.mw(
        "feedback", "import", "told.csv", "--model", "churn", "--item", "item", "--truth", "truth"
    )

    desk.mw("records", "erase", _WHO, "--yes")
    assert _recorded(desk) == 1
    desk.mw("records", "show", "visit-1", code=3)


def _recorded(desk: Desk) -> int:
    """Requests in the store."""
    desk.mw("records", "compact")
    return sum(one["records"] for one in desk.mw("records", "list", "--json").json)
