"""Rules for Prometheus: what is said there, and what is refused with its reason."""

import pytest

import kubernetes_schemas
from modelworks.monitor.alerts.prometheus import export, prometheus_rule
from modelworks.monitor.alerts.promql import _regex
from modelworks.protocol.manifest.alerts import AlertRules, load_alerts

pytestmark = pytest.mark.unit

HEAD = "kind: AlertRules\nmetadata: {name: r}\nspec:\n  labels: {team: risk}\n  rules:\n"


def exported(rules):
    text = HEAD + "".join(f"    {line}\n" for line in rules.strip("\n").splitlines())
    manifest = load_alerts([("case.yaml", text.encode())])
    return export(manifest.of(AlertRules))


def test_what_is_written():
    found = exported("""
- name: Slow
  threshold: {series: latency_p99_ms, where: {model: "fr*"}, above: 200, by: mean}
  for: 10m
  keep_firing_for: 5m
  severity: critical
  summary: "{model} {{is}} {value:.1f}, over {bound}"
  annotations: {note: "{{{{ {value}"}
  runbook: https://runbooks.example/slow
""")
    assert found.refused == {}
    [group] = found.groups["groups"]
    assert group["rules"] == [
        {
            "alert": "Slow",
            "expr": 'avg_over_time(modelworks_latency_p99_ms{model=~"fr.*"}[4m59s999ms]) > 200.0',
            "for": "10m",
            "keep_firing_for": "5m",
            "labels": {"team": "risk", "severity": "critical"},
            "annotations": {
                "summary": '{{ $labels.model }} {is} {{ printf "%.1f" $value }}, over 200',
                "note": '{{ "{{" }} {{ printf "%.6g" $value }}',
                "runbook_url": "https://runbooks.example/slow",
            },
        }
    ]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("trend: {series: x, above: 1, within: 1h}", "no robust fit"),
        ("anomaly: {series: x}", "no median of the same hours"),
        ("change: {series: x}", "no CUSUM"),
        ("threshold: {series: x, above: 2, clear: 1}", "does not know whether it fires"),
        ("threshold: {series: x, above: 2}\nmissing: keep", "whose series is gone"),
        ("threshold: {series: x, above: 2}\nmissing: fire", "write an absent rule"),
        ("threshold: {series: x, above: 2}\nactions: [undo]", "calls none"),
        ("burn_rate: {series: x, above: 2, objective: 0.9}", "say how far apart"),
        ("composite: {any: [{rule: B}, {not: {rule: B}}]}", "only possible inside all"),
        ("composite: {of: [{rule: B, where: {a: b}}, {rule: C}], at_least: 2}", "different rules"),
        ("composite: {rule: T}", "it speaks of 'T', which cannot be said"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(rule, reason):
    lines = "\n".join(f"  {line}" for line in rule.splitlines())
    more = """
- {name: B, threshold: {series: x, above: 1}}
- {name: C, threshold: {series: x, above: 1}}
- {name: T, trend: {series: x, above: 1, within: 1h}}
"""
    found = exported(f"- name: A\n{lines}{more}")
    assert reason in found.refused["A"]
    assert [one["alert"] for one in found.groups["groups"][0]["rules"]] == ["B", "C"]


@pytest.mark.parametrize(
    ("text", "regex"),
    [
        ("a*b?", "a.*b."),
        ("a.b+c", "a\\.b\\+c"),
        ("[*]", "[*]"),
        ("[!a-c]x", "[^a-c]x"),
        ("[^a]", "[\\^a]"),
        ("[open", "\\[open"),
    ],
)
def test_patterns_become_expressions(text, regex):
    assert _regex(text) == regex


def test_the_operators_object_is_one():
    kubernetes_schemas.needs_crds()
    found = exported("""
- {name: Slow, threshold: {series: x, above: 200}, for: 10m, runbook: "https://r.example"}
- {name: Gone, absent: {series: x}}
""")
    rule = prometheus_rule(found, "modelworks", {"release": "prometheus"})
    assert kubernetes_schemas.problems(rule, "1.31") == []
    rule["spec"]["groups"][0]["rules"][0]["forr"] = "1m"
    assert kubernetes_schemas.problems(rule, "1.31")
