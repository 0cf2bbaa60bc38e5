"""Files of alerts: every problem has a line, a path and a cure; what is written comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.protocol.manifest import ManifestError, schema
from modelworks.protocol.manifest.alerts import KINDS, AlertRules, load_alerts
from modelworks.protocol.manifest.alerts.fields import seconds_of, spelt_duration

pytestmark = pytest.mark.unit

RULES = """kind: AlertRules
metadata: {name: serving}
spec:
  rules:
    - name: Slow
      threshold: {series: latency_p99_ms, above: 200, over: 5m}
      for: 10m
      summary: "{model}: {value:.0f} ms"
"""


def loaded(text):
    return load_alerts([("alerts.yaml", text.encode())])


def rule(lines):
    return "kind: AlertRules\nmetadata: {name: a}\nspec:\n  rules:\n    - name: One\n" + "".join(
        f"      {line}\n" for line in lines.splitlines()
    )


@given(st.integers(0, 400 * 86_400))
def test_a_duration_is_read_as_it_is_written(seconds):
    assert seconds_of(spelt_duration(seconds)) == seconds


def test_what_was_read_is_written_so_that_it_reads_the_same():
    document = loaded(RULES).documents[0].document
    said = document.model_dump(mode="json", by_alias=True)
    assert said["spec"]["rules"][0]["for"] == "10m"
    assert AlertRules.model_validate(said) == document


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("for: 5m", "alerts.yaml:5:7: spec.rules[0]: one of threshold, trend"),
        (
            "threshold: {series: a, above: 1}\nabsent: {series: a}",
            "here is threshold and absent",
        ),
        ("threshold: {series: a}", "one of above and below is wanted"),
        ("threshold: {series: a, above: 1, below: 2}", "one of above and below is wanted"),
        ("threshold: {series: a, above: 5, clear: 6}", "clear is 6, over above: 5"),
        ("threshold: {series: a, above: 1}\nfor: 10", "for: numbers with w, d, h, m or s"),
        ("threshold: {series: a, above: 1}\nfor: 5x", "'5x' is no duration"),
        ("threshold: {series: a, above: 1}\nfro: 5m", "did you mean 'for'?"),
        ("threshold: {series: a, abov: 1}", "did you mean 'above'?"),
        ("threshold: {series: a, above: .nan}", "above"),
        ("threshold: {series: a, above: 1}\nsummary: '{a.b}'", "'{a.b}' is no hole"),
        ("threshold: {series: a, above: 1}\nsummary: '{value!r}'", "is no hole"),
        ("threshold: {series: a, above: 1}\nsummary: '{value:>99999}'", "is no hole"),
        ("threshold: {series: a, above: 1}\nsummary: '{value'", "braces that stand for themselves"),
        ("threshold: {series: a, above: 1}\nrunbook: 'javascript:x'", "runbook"),
        ("absent: {series: a, over: 1h, seen: 5m}", "seen is not longer than over"),
        ("absent: {series: a}\nmissing: keep", "says nothing of a rule with 'absent'"),
        ("burn_rate: {objective: 0.99}", "bad and total are wanted, or series and above"),
        ("burn_rate: {objective: 1.0, bad: a, total: b}", "objective"),
        (
            (
                "burn_rate: {objective: 0.9, bad: a, total: b, "
                "windows: [{long: 5m, short: 1h, burn: 2}]}"
            ),
            "short is not shorter than long",
        ),
        ("composite: {rule: Two}", "composite.rule: there is no rule 'Two'"),
        ("composite: {rule: One}", "composites go in a circle: One -> One"),
        ("composite: {not: {rule: One}}", "a rule that has to fire is wanted"),
        ("composite: {of: [{rule: One}], at_least: 2}", "at_least 2 of 1 is never true"),
        ("composite: {rule: One, all: [{rule: One}]}", "one of rule, all, any, not and of"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(lines, wanted):
    with pytest.raises(ManifestError) as caught:
        loaded(rule(lines))
    assert wanted in str(caught.value)
    assert all(problem.mark.line >= 4 for problem in caught.value.problems)


def test_rules_of_one_name_in_two_files_are_refused_and_both_places_told():
    with pytest.raises(ManifestError, match=r"b\.yaml:5:7.*already: a\.yaml:5:7"):
        load_alerts(
            [("a.yaml", RULES.encode()), ("b.yaml", RULES.replace("serving", "b").encode())]
        )


ROUTING = """kind: AlertRouting
metadata: {name: all}
spec:
  receivers: [{name: oncall, notifiers: [{type: slack, settings: {url_variable: SLACK}}]}]
  route: {receiver: oncall}
"""


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("route: {receiver: oncall}", "route: {receiver: onkall}", "did you mean 'oncall'?"),
        ("route: {receiver: oncall}", "route: {}", "the first route takes every alert"),
        (
            "route: {receiver: oncall}",
            (
                "route: {receiver: oncall, routes: [{receiver: x, escalate: "
                "[{after: 5m, receiver: y}]}]}"
            ),
            "spec.route.routes[0].escalate[0].receiver: there is no receiver 'y'",
        ),
        ("settings:", "setings:", "did you mean 'settings'?"),
        ("all}", "all}\n---\nkind: AlertRouting\nmetadata: {name: b}", "b"),
    ],
)
def test_routing_names_what_is_there(before, after, wanted):
    with pytest.raises(ManifestError) as caught:
        loaded(ROUTING.replace(before, after))
    assert wanted in str(caught.value)


def test_actions_are_looked_for_where_there_is_a_routing():
    rules = RULES + "      actions: [undo]\n"
    loaded(rules)
    with pytest.raises(ManifestError, match=r"rules\[0\]\.actions\[0\]: there is no action 'undo'"):
        loaded(rules + "---\n" + ROUTING)


def test_the_schema_holds_every_kind():
    found = schema(KINDS)
    assert {"AlertRules", "AlertRouting", "AlertTests"} <= found["$defs"].keys()
    assert "for" in found["$defs"]["Rule"]["properties"]


@pytest.mark.parametrize(
    ("series", "said", "wanted"),
    [
        ("latency_p99_ms", "", 300),
        ("drift", "", 7200),
        ("drift_loss", "", 7200),
        ("quality", "", 7200),
        ("quality", ", over: 1d", 86_400),
        ("drifting", "", 300),
    ],
)
def test_what_comes_once_an_hour_is_looked_for_longer(series, said, wanted):
    [one] = loaded(rule(f"threshold: {{series: {series}, above: 1{said}}}")).documents
    assert one.document.spec.rules[0].threshold.over == wanted
