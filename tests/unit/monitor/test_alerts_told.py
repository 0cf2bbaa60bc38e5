"""Who is told, when, and of what: groups, repeats, silences, inhibition, escalation, routes."""

from pathlib import Path

import pytest

from modelworks.monitor.alerts.ruleset import Ruleset
from modelworks.monitor.alerts.trial import Trial
from modelworks.protocol.manifest.alerts import AlertRouting, AlertRules, AlertTests, load_alerts

pytestmark = pytest.mark.unit

RULES = """
kind: AlertRules
metadata: {name: r}
spec:
  rules:
    - {name: Slow, threshold: {series: slow, above: 0, over: 1m}, severity: critical}
    - {name: Odd, threshold: {series: odd, above: 0, over: 1m}}
    - {name: Down, threshold: {series: down, above: 0, over: 1m}, severity: critical,
       actions: [undo]}
---
kind: AlertRouting
metadata: {name: all}
spec:
  receivers: [{name: team}, {name: oncall}, {name: lead}, {name: log}]
  actions: [{name: undo, use_case: roll-back}]
  inhibit:
    - {source: {rule: Down}, target: {rule: "*"}, equal: [model]}
  route:
    receiver: team
    group_by: [model]
    group_wait: 1m
    group_interval: 5m
    repeat_interval: 30m
    routes:
      - {receiver: log, match: {model: noisy}, group_by: [], go_on: true}
      - receiver: oncall
        match: {severity: critical}
        group_wait: 0s
        escalate: [{after: 10m, receiver: lead, severity: critical}]
---
kind: AlertTests
metadata: {name: t}
spec:
  tests:
"""

CASES = {
    "a group waits, then tells what came meanwhile in one message": """
- name: t
  series:
    - {name: odd, labels: {model: a}, values: "0 1x9"}
    - {name: odd, labels: {model: a, version: "2"}, values: "0 0 1x9"}
    - {name: odd, labels: {model: b}, values: "0 0 1x9"}
  expect:
    - {at: 1m, messages: []}
    - {at: 2m, messages: [{receiver: team, firing: [Odd, Odd]}]}
    - {at: 3m, messages: [{receiver: team, firing: [Odd]}]}
""",
    "something new waits for the interval, nothing new for the repeat": """
- name: t
  series:
    - {name: odd, labels: {model: a}, values: "1x60"}
    - {name: odd, labels: {model: a, version: "2"}, values: "0x2 1x60"}
  expect:
    - {at: 1m, messages: [{receiver: team, firing: [Odd]}]}
    - {at: 5m, messages: []}
    - {at: 6m, messages: [{receiver: team, firing: [Odd, Odd]}]}
    - {at: 35m, messages: []}
    - {at: 36m, messages: [{receiver: team, firing: [Odd, Odd]}]}
""",
    "what ended is told once, and only to who knew of it": """
- name: t
  series:
    - {name: odd, labels: {model: a}, values: "1x9 0x20"}
    - {name: odd, labels: {model: b}, values: "1 0x30"}
  expect:
    - {at: 1m, messages: [{receiver: team, firing: [Odd]}]}
    - {at: 10m, messages: [{receiver: team, resolved: [Odd]}]}
    - {at: 29m, messages: []}
""",
    "routes: the first that matches, and those after it where it says so": """
- name: t
  series:
    - {name: slow, labels: {model: noisy}, values: "1x5"}
    - {name: odd, labels: {model: noisy}, values: "1x5"}
  expect:
    - at: 0m
      messages: [{receiver: oncall, firing: [Slow]}]
    - at: 1m
      messages: [{receiver: log, firing: [Slow, Odd]}]
""",
    "a silence: nobody is told of it while it is on, and of the end of what was told": """
- name: t
  series:
    - {name: slow, labels: {model: a}, values: "1x20"}
    - {name: slow, labels: {model: b}, values: "1x6 0x20"}
  silences:
    - {match: {model: a}, until: 10m}
    - {match: {model: "b*"}, since: 1m, until: 20m}
  expect:
    - {at: 0m, messages: [{receiver: oncall, firing: [Slow]}]}
    - {at: 9m, messages: [{receiver: oncall, resolved: [Slow]}]}
    - at: 10m
      messages: [{receiver: oncall, firing: [Slow]}, {receiver: lead, firing: [Slow]}]
""",
    "inhibition: while the model is down nothing else of it is told": """
- name: t
  series:
    - {name: down, labels: {model: a}, values: "1x4 0x9"}
    - {name: slow, labels: {model: a}, values: "1x12"}
    - {name: slow, labels: {model: b}, values: "1x12"}
  expect:
    - at: 0m
      messages: [{receiver: oncall, firing: [Down]}, {receiver: oncall, firing: [Slow]}]
      actions: [undo]
    - {at: 4m, messages: []}
    - {at: 5m, messages: [{receiver: oncall, firing: [Slow], resolved: [Down]}], actions: []}
""",
    "escalation, where nobody acknowledges": """
- name: nobody does
  series: [{name: slow, labels: {model: a}, values: "1x14 0x9"}]
  expect:
    - {at: 9m, messages: [{receiver: oncall, firing: [Slow]}]}
    - {at: 10m, messages: [{receiver: lead, firing: [Slow]}]}
    - at: 20m
      messages: [{receiver: oncall, resolved: [Slow]}, {receiver: lead, resolved: [Slow]}]
- name: somebody does, and nothing is repeated
  series: [{name: slow, labels: {model: a}, values: "1x80"}]
  acknowledge: [{at: 5m, match: {rule: Slow}}]
  expect:
    - {at: 0m, messages: [{receiver: oncall, firing: [Slow]}]}
    - {at: 80m, messages: []}
""",
    "an action is called once for each time it fires, and not while silenced": """
- name: t
  series: [{name: down, labels: {model: a}, values: "1x3 0 1x3 0 1x3"}]
  silences: [{match: {rule: Down}, since: 8m, until: 60m}]
  expect:
    - {at: 3m, actions: [undo]}
    - {at: 7m, actions: [undo]}
    - {at: 12m, actions: []}
""",
}


def failures(text):
    indented = "\n".join(f"    {line}" for line in text.strip("\n").splitlines())
    manifest = load_alerts([("case.yaml", (RULES + indented).encode())])
    trial = Trial(Ruleset(manifest.of(AlertRules)), manifest.of(AlertRouting)[0].spec)
    [document] = manifest.of(AlertTests)
    folder = Path(__file__).parent
    return [line for test in document.spec.tests for line in trial.run(test, folder)]


@pytest.mark.parametrize("case", CASES)
def test_who_is_told(case):
    assert failures(CASES[case]) == []


def test_a_message_that_does_not_come_is_shown():
    text = CASES["escalation, where nobody acknowledges"].replace("at: 9m", "at: 10m", 1)
    text = text.replace("- {at: 10m, messages: [{receiver: lead, firing: [Slow]}]}", "", 1)
    assert "  + to lead: firing Slow" in failures(text)
