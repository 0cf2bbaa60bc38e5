"""Rules from written series to alerts: each case is a document as people write it."""

from pathlib import Path

import pytest

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.monitor.alerts.ruleset import Ruleset
from modelworks.monitor.alerts.trial import Trial
from modelworks.protocol.manifest.alerts import AlertRules, AlertTests, load_alerts

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parent


def failures(rules, tests, folder=FOLDER):
    """Lines of every test that fails."""
    text = f"kind: AlertRules\nmetadata: {{name: r}}\nspec:\n  rules:\n{indented(rules)}\n"
    text += f"---\nkind: AlertTests\nmetadata: {{name: t}}\nspec:\n  tests:\n{indented(tests)}\n"
    manifest = load_alerts([("case.yaml", text.encode())])
    trial = Trial(Ruleset(manifest.of(AlertRules)), None)
    [document] = manifest.of(AlertTests)
    return [line for test in document.spec.tests for line in trial.run(test, folder)]


def indented(text):
    return "\n".join(f"    {line}" for line in text.strip("\n").splitlines())


DAYS = " ".join(
    str({188: 5000}.get(h, 100 + (h * 7919) % 13 + (900 if 8 <= h % 24 <= 18 else 0)))
    for h in range(200)
)
LEVELS = " ".join(
    str({60: 1000}.get(h, (h * 7919) % 13 + (40 if h > 70 else 0))) for h in range(80)
)

CASES = {
    "a bound, after it held for long enough": (
        """
- name: Slow
  threshold: {series: latency, above: 200, over: 1m}
  for: 3m
  summary: "{model} {value:.0f} over {bound:.0f}"
""",
        """
- name: t
  series: [{name: latency, labels: {model: a}, values: "100x4 300x10 100x2"}]
  expect:
    - {at: 4m, alerts: []}
    - {at: 5m, alerts: [{rule: Slow, labels: {model: a}, state: pending}]}
    - {at: 7m, alerts: [{rule: Slow, labels: {model: a}, state: pending}]}
    - {at: 8m, alerts: [{rule: Slow, labels: {model: a}, summary: "a 300 over 200"}]}
    - {at: 15m, alerts: [{rule: Slow, labels: {model: a}}]}
    - {at: 16m, alerts: [{rule: Slow, labels: {model: a}, state: resolved}]}
""",
    ),
    "a pending one that is not true any more is forgotten and begins anew": (
        """
- name: Slow
  threshold: {series: latency, above: 200, over: 1m}
  for: 3m
""",
        """
- name: t
  series: [{name: latency, values: "300 300 100 300x3"}]
  expect:
    - {at: 2m, alerts: []}
    - {at: 5m, alerts: [{rule: Slow, state: pending}]}
    - {at: 6m, alerts: [{rule: Slow}]}
""",
    ),
    "hysteresis: what fires ends at the other bound": (
        """
- name: Full
  threshold: {series: disk, above: 90, clear: 80, over: 1m}
""",
        """
- name: t
  series: [{name: disk, values: "85 91 85 81 80 85"}]
  expect:
    - {at: 0m, alerts: []}
    - {at: 1m, alerts: [{rule: Full}]}
    - {at: 3m, alerts: [{rule: Full}]}
    - {at: 4m, alerts: []}
    - {at: 5m, alerts: []}
""",
    ),
    "under a bound, with hysteresis": (
        """
- name: Few
  threshold: {series: quality, below: 0.8, clear: 0.9, over: 1m}
""",
        """
- name: t
  series: [{name: quality, values: "0.85 0.7 0.85 0.95 0.85"}]
  expect:
    - {at: 0m, alerts: []}
    - {at: 2m, alerts: [{rule: Few}]}
    - {at: 3m, alerts: []}
    - {at: 4m, alerts: []}
""",
    ),
    "a share of another series, and nothing over nothing is not known": (
        """
- name: Failing
  threshold: {series: errors, per: requests, by: sum, over: 2m, above: 0.1}
""",
        """
- name: t
  series:
    - {name: errors, labels: {model: a}, values: "0 20 0 0 0"}
    - {name: requests, labels: {model: a}, values: "100 100 100 0 0"}
    - {name: errors, labels: {model: b}, values: "90x9"}
  expect:
    - {at: 0m, alerts: []}
    - {at: 1m, alerts: []}
    - {at: 2m, alerts: []}
    - {at: 4m, alerts: []}
""",
    ),
    "aggregates": (
        """
- {name: Mean, threshold: {series: x, by: mean, over: 3m, above: 3.9}}
- {name: Least, threshold: {series: x, by: min, over: 3m, above: 1.9}}
- {name: Most, threshold: {series: x, by: max, over: 3m, above: 5.9}}
- {name: Sum, threshold: {series: x, by: sum, over: 3m, above: 11.9}}
- {name: Count, threshold: {series: x, by: count, over: 3m, below: 3}}
""",
        """
- name: t
  series: [{name: x, values: "2 4 6 _"}]
  expect:
    - at: 2m
      alerts: [{rule: Mean}, {rule: Least}, {rule: Most}, {rule: Sum}]
    - at: 3m
      rules: [Count]
      alerts: [{rule: Count}]
""",
    ),
    "what is not measured ends by default, or stays, or is true": (
        """
- {name: Ends, threshold: {series: x, above: 1, over: 1m}}
- {name: Stays, threshold: {series: x, above: 1, over: 1m}, missing: keep}
- {name: Fires, threshold: {series: x, above: 9, over: 1m}, missing: fire}
- {name: Lasts, threshold: {series: x, above: 1, over: 1m}, keep_firing_for: 2m}
""",
        """
- name: t
  series: [{name: x, labels: {model: a}, values: "5 stale _ _"}]
  expect:
    - at: 0m
      alerts:
        - {rule: Ends, labels: {model: a}}
        - {rule: Stays, labels: {model: a}}
        - {rule: Lasts, labels: {model: a}}
    - at: 2m
      alerts:
        - {rule: Stays, labels: {model: a}}
        - {rule: Fires, labels: {model: a}}
        - {rule: Lasts, labels: {model: a}}
    - at: 3m
      rules: [Lasts]
      alerts: []
""",
    ),
    "absence of all, and of each that was seen": (
        """
- {name: Gone, absent: {series: x, where: {model: a}, over: 2m}}
- {name: EachGone, absent: {series: x, over: 2m, seen: 10m}}
""",
        """
- name: t
  series:
    - {name: x, labels: {model: a, version: "1"}, values: "1 1 _x20"}
    - {name: x, labels: {model: b}, values: "1x20"}
  expect:
    - {at: 2m, alerts: []}
    - at: 3m
      alerts:
        - {rule: Gone, labels: {model: a}}
        - {rule: EachGone, labels: {model: a, version: "1"}}
    - {at: 11m, rules: [EachGone], alerts: []}
    - {at: 11m, rules: [Gone], alerts: [{rule: Gone, labels: {model: a}}]}
""",
    ),
    "labels are patterns, and rules add their own": (
        """
- name: One
  threshold: {series: x, where: {model: "fr*"}, above: 1, over: 1m}
  labels: {team: risk}
  annotations: {note: "look at {model}, {nothing}"}
""",
        """
- name: t
  series:
    - {name: x, labels: {model: fraud}, values: "5"}
    - {name: x, labels: {model: churn}, values: "5"}
  expect:
    - {at: 0m, alerts: [{rule: One, labels: {model: fraud, team: risk}}]}
""",
    ),
    "a trend: time to the bound, and noise or a flat line are none": (
        """
- {name: FullSoon, trend: {series: disk, above: 100, over: 2h, within: 5h}}
""",
        """
- name: t
  series:
    - {name: disk, labels: {host: rises}, values: "50+0.1x60 99 56.2+0.1x60"}
    - {name: disk, labels: {host: falls}, values: "90-0.1x200"}
    - {name: disk, labels: {host: flat}, values: "99x200"}
    - {name: disk, labels: {host: few}, values: "98 99"}
  expect:
    - {at: 120m, alerts: []}
- name: sooner
  series:
    - {name: disk, labels: {host: rises}, values: "50+0.2x120"}
  expect:
    - at: 2h
      alerts:
        - rule: FullSoon
          labels: {host: rises}
          summary: "disk will be over 100 in 2h10m: it is 74"
""",
    ),
    "a burn rate: both windows, so that it ends soon after": (
        """
- name: Burns
  burn_rate: {bad: errors, total: requests, objective: 0.99}
- name: Slow
  burn_rate: {series: latency, above: 100, objective: 0.99}
""",
        """
- name: t
  series:
    - {name: requests, labels: {model: a}, values: "100x400"}
    - {name: errors, labels: {model: a}, values: "0x60 20x60 0x100"}
    - {name: latency, labels: {model: a}, values: "50x60 150x60 50x100"}
  expect:
    - {at: 60m, alerts: []}
    - {at: 70m, alerts: [{rule: Slow, labels: {model: a}}]}
    - at: 110m
      alerts: [{rule: Burns, labels: {model: a}}, {rule: Slow, labels: {model: a}}]
    - at: 155m
      rules: [Burns]
      alerts: []
""",
    ),
    "composites: all, any, not, so many, by the labels in common": (
        """
- {name: Drift, threshold: {series: drift, above: 0.2, over: 1m}}
- {name: Loss, threshold: {series: loss, above: 0.1, over: 1m}}
- {name: Holiday, threshold: {series: holiday, above: 0, over: 1m}}
- name: Both
  composite: {all: [{rule: Drift}, {rule: Loss}]}
- name: Either
  composite: {any: [{rule: Drift}, {rule: Loss}]}
- name: Unless
  composite: {all: [{rule: Drift}, {not: {rule: Holiday}}]}
- name: Two
  composite: {rule: Drift, at_least: 2}
- name: TwoOfThree
  composite: {of: [{rule: Drift}, {rule: Loss}, {rule: Holiday}], at_least: 2}
- name: OfFeature
  composite: {rule: Drift, where: {feature: "a*"}, on: [model, feature]}
- name: Higher
  composite: {all: [{rule: Both}, {rule: Two}]}
""",
        """
- name: t
  series:
    - {name: drift, labels: {model: m, feature: age}, values: "0.3"}
    - {name: drift, labels: {model: m, feature: pay}, values: "0.3"}
    - {name: drift, labels: {model: n, feature: pay}, values: "0.3"}
    - {name: loss, labels: {model: m}, values: "0.3"}
    - {name: holiday, labels: {model: n}, values: "1"}
  expect:
    - at: 0m
      rules: [Both, Either, Unless, Two, TwoOfThree, OfFeature, Higher]
      alerts:
        - {rule: Both, labels: {model: m}, summary: "Drift and Loss"}
        - {rule: Either, labels: {model: m}}
        - {rule: Either, labels: {model: n}}
        - {rule: Unless, labels: {model: m}}
        - {rule: Two, labels: {model: m}}
        - {rule: TwoOfThree, labels: {model: m}}
        - {rule: TwoOfThree, labels: {model: n}}
        - {rule: OfFeature, labels: {model: m, feature: age}}
        - {rule: Higher, labels: {model: m}}
""",
    ),
    "an anomaly: the same hours of other days, not the day's own height": (
        """
- name: Odd
  anomaly: {series: requests, season: hour-of-day, history: 7d, over: 1h, z: 6}
""",
        """
- name: t
  interval: 1h
  every: 1h
  series:
    - name: requests
      values: "VALUES"
  expect:
    - {at: 180h, alerts: []}
    - {at: 187h, alerts: []}
    - {at: 188h, alerts: [{rule: Odd}]}
    - {at: 189h, alerts: []}
""".replace("VALUES", DAYS),
    ),
    "a change of level, and no single sample": (
        """
- name: Moved
  change: {series: x, over: 5h, history: 2d, samples: 40, false_alarm_every: 100000}
""",
        """
- name: t
  interval: 1h
  every: 1h
  series:
    - name: x
      values: "VALUES"
  expect:
    - {at: 61h, alerts: []}
    - {at: 70h, alerts: []}
    - {at: 76h, alerts: [{rule: Moved}]}
""".replace("VALUES", LEVELS),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_fires_and_when(case):
    rules, tests = CASES[case]
    assert failures(rules, tests) == []


def test_a_test_that_is_wrong_says_what_is_otherwise():
    lines = failures(
        "- {name: Slow, threshold: {series: x, above: 1}}",
        """
- name: t
  series: [{name: x, labels: {model: a}, values: "5"}]
  expect:
    - {at: 0m, alerts: [{rule: Slow, labels: {model: b}, severity: critical}]}
    - {at: 1m, alerts: []}
""",
    )
    assert lines == [
        "at 0s, alerts:",
        '  - firing Slow{model="b"} critical: any summary',
        '  + firing Slow{model="a"} warning: x is 5, over 1',
        "at 1m, alerts:",
        '  + firing Slow{model="a"} warning: x is 5, over 1',
        "  - nothing",
    ]


def test_recorded_series_are_read_and_a_bad_line_is_named(tmp_path):
    rules = "- {name: Slow, threshold: {series: x, above: 1}}"
    test = """
- name: t
  recorded: found.jsonl
  start: 604800
  expect: [{at: 2m, alerts: [{rule: Slow, labels: {model: a}}]}]
"""
    times = "604800, 604860, 604920"
    series = f'"times": [{times}], "values": [0, null, 5]'
    line = f'{{"name": "x", "labels": {{"model": "a"}}, {series}}}'
    (tmp_path / "found.jsonl").write_text(line + "\n")
    assert failures(rules, test, tmp_path) == []
    (tmp_path / "found.jsonl").write_text(line + '\n{"name": "x", "times": [1, 0], "values": [1]}')
    with pytest.raises(InvalidError, match=":2: as many values"):
        failures(rules, test, tmp_path)
    (tmp_path / "found.jsonl").unlink()
    with pytest.raises(NotFoundError, match="No such file"):
        failures(rules, test, tmp_path)
