"""Our engine and promtool say the same of the same rules and series, minute by minute."""

import math
import random

import pytest
import yaml

from modelworks.core.alerts import AlertState
from modelworks.monitor.alerts.prometheus import export
from modelworks.monitor.alerts.ruleset import Ruleset
from modelworks.monitor.alerts.step import SECOND
from modelworks.monitor.alerts.written import source_of
from modelworks.protocol.manifest.alerts import AlertRules, AlertTests, load_alerts
from prometheus_server import promtool

pytestmark = pytest.mark.real

RULES = """
kind: AlertRules
metadata: {name: r}
spec:
  labels: {team: risk}
  rules:
    - {name: Last, threshold: {series: latency, above: 200}, summary: "{model} {value:.1f}"}
    - {name: Held, threshold: {series: latency, above: 200, over: 1m}, for: 3m}
    - name: Mean
      threshold: {series: latency, by: mean, over: 4m, above: 180}
      for: 2m
      summary: "{value:.6f}"
    - {name: Most, threshold: {series: latency, by: max, over: 10m, above: 280}}
    - {name: Least, threshold: {series: latency, by: min, over: 3m, below: 60}}
    - {name: Count, threshold: {series: latency, by: count, over: 10m, below: 8}}
    - {name: Lasting, threshold: {series: latency, above: 290, over: 1m}, keep_firing_for: 4m}
    - name: Ratio
      threshold: {series: errors, per: requests, by: sum, over: 5m, above: 0.05}
      summary: "{value:.9f} of {model}"
    - {name: Like, threshold: {series: latency, where: {model: "f[a-r]*d?"}, above: 100, over: 2m}}
    - {name: Gone, absent: {series: latency, where: {model: fraud1}, over: 3m}, for: 1m}
    - {name: AllGone, absent: {series: latency, where: {model: "*"}, over: 3m}}
    - {name: EachGone, absent: {series: latency, over: 3m, seen: 15m}}
    - name: Burns
      burn_rate:
        {bad: errors, total: requests, objective: 0.99,
         windows: [{long: 30m, short: 5m, burn: 3}, {long: 10m, short: 2m, burn: 8}]}
    - name: BurnsSlowly
      burn_rate:
        {series: compute, above: 100, every: 1m, objective: 0.9,
         windows: [{long: 30m, short: 5m, burn: 3.1}]}
    - {name: Both, composite: {all: [{rule: Last}, {rule: Ratio}]}}
    - {name: Either, composite: {any: [{rule: Mean}, {rule: Gone}]}}
    - {name: Unless, composite: {all: [{rule: Last}, {not: {rule: Ratio}}]}, for: 1m}
    - {name: Two, composite: {rule: Last, at_least: 2, on: [team]}}
    - {name: TwoOf, composite: {of: [{rule: Last}, {rule: Ratio}, {rule: Most}], at_least: 2}}
---
kind: AlertTests
metadata: {name: t}
spec:
  tests:
    - name: t
      series: SERIES
      expect: [{at: 90m, alerts: []}]
"""
MINUTES = 90


def _series(seed):
    """Random walks with gaps and stale marks."""
    chance = random.Random(seed)
    found = []
    for model in ("fraud1", "fraud2", "churn"):
        found += [
            {"name": "latency", "labels": {"model": model}, "values": _walk(chance, gaps=True)},
            {"name": "compute", "labels": {"model": model}, "values": _walk(chance, gaps=False)},
            {"name": "requests", "labels": {"model": model}, "values": _counts(chance, 0, 200)},
            {"name": "errors", "labels": {"model": model}, "values": _counts(chance, 0, 12)},
        ]
    return found


def _walk(chance, *, gaps):
    words, value = [], 150.0
    while len(words) < MINUTES:
        value = min(320.0, max(20.0, value + chance.uniform(-60, 60)))
        words.append(f"{value:.2f}")
        if gaps and chance.random() < 0.05:
            words += ["stale"] * chance.randrange(2) + ["_"] * chance.randrange(1, 8)
    return " ".join(words)


def _counts(chance, low, high):
    bad = chance.randrange(10, 50)
    return " ".join(
        str(chance.randrange(low, high * (4 if bad < n < bad + 25 else 1) + 1))
        for n in range(MINUTES)
    )


@pytest.mark.parametrize("seed", range(3))
def test_both_engines_fire_at_the_same_minutes(seed, tmp_path):
    text = RULES.replace("SERIES", yaml.safe_dump(_series(seed), default_flow_style=True))
    manifest = load_alerts([("case.yaml", text.encode())])
    documents = manifest.of(AlertRules)
    found = export(documents)
    assert found.refused == {}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(dict(found.groups), sort_keys=False))
    checked = promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert checked.returncode == 0, checked.stderr
    [test] = manifest.of(AlertTests)[0].spec.tests
    cases, fired = _evaluated(Ruleset(documents), test, tmp_path)
    assert len(fired) >= 16, fired  # else the series say little
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [_input(one) for one in test.series],
                "alert_rule_test": cases,
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    ran = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    last = next(one for one in reversed(cases) if one["exp_alerts"])
    last["exp_alerts"] = []
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    assert promtool("test", "rules", str(tmp_path / "test.yml")).returncode != 0


def _evaluated(rules, test, folder):
    """What our engine says of every minute and rule, as promtool's expectations."""
    source, held, cases, fired = source_of(test, folder), {}, [], set()
    for minute in range(MINUTES):
        held = rules.evaluate(source, held, (test.start + minute * 60) * SECOND).held
        for rule in rules.rules:
            firing = [
                one.alert
                for one in held.get(rule.name, {}).values()
                if one.alert.state is AlertState.FIRING
            ]
            fired |= {one.rule for one in firing}
            cases.append(
                {
                    "eval_time": f"{minute}m",
                    "alertname": rule.name,
                    "exp_alerts": [_expected(rule, one) for one in firing],
                }
            )
    return cases, fired


def _expected(rule, alert):
    labels = {**alert.labels, "severity": alert.severity.value}
    if not rule.summary:
        return {"exp_labels": labels, "exp_annotations": {"summary": _plain(rule, alert)}}
    return {"exp_labels": labels, "exp_annotations": {"summary": alert.summary}}


def _plain(rule, alert):
    if rule.composite is not None:  # there, all rules are named; here, those that fire
        return " and ".join(dict.fromkeys(_named(rule.composite)))
    if rule.burn_rate is not None:
        bound = rule.burn_rate.pairs()[0].burn
        head, _, _ = alert.summary.rpartition(", over")
        return f"{head}, over {bound:g}"
    return alert.summary


def _named(term):
    found = [term.rule] if term.rule else []
    for one in [*term.all, *term.any, *term.of, *([term.not_] if term.not_ else [])]:
        found += _named(one)
    return found


def _input(one):
    labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
    values = one.values
    assert not math.isinf(len(values))
    return {"series": f"modelworks_{one.name}{{{labels}}}", "values": values}
