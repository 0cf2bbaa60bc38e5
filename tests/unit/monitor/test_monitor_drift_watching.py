"""Looking every hour: few false alarms in years, and planted drifts found in time."""

import numpy as np
import pytest

import drift_weeks
from modelworks.core.series import Series
from modelworks.monitor.drift import window as windows
from modelworks.monitor.drift.build import build
from modelworks.monitor.drift.points import evidence_points
from modelworks.monitor.drift.watching import HOUR, Sums, Watch, begun
from modelworks.stats.sequential import Span

WEEK = Span("week", 168)


def test_spans_begin_with_the_hour_the_day_and_on_monday():
    monday = 4 * 24 * HOUR
    assert begun(HOUR, Span("hour", 1)) == 0
    assert begun(HOUR + 1, Span("hour", 1)) == HOUR
    assert begun(25 * HOUR, Span("day", 24)) == 24 * HOUR
    assert begun(monday + 1, WEEK) == monday
    assert begun(monday, WEEK) == monday - 168 * HOUR
    assert begun(monday + 168 * HOUR, WEEK) == monday


def test_sums_add_up_within_a_span_and_begin_anew():
    rng = np.random.default_rng(0)
    reference = build({"a": rng.normal(size=500)})
    sums = Sums()
    for hour in range(1, 27):
        window = windows.sketch(reference, {"a": rng.normal(size=10)})
        sums = sums.add(hour * HOUR, window)
    rows = {name: window.rows for name, window in sums.windows.items()}
    assert rows == {"hour": 10, "day": 20, "week": 260, "month": 260}


def test_the_feature_that_moved_is_the_alarm():
    rng = np.random.default_rng(1)
    reference = build({name: rng.normal(size=4000) for name in "abc"} | {"d": ["x", "y"] * 2000})
    watch, sums = Watch(reference), Sums()
    for hour in range(1, 13):
        columns = {name: rng.normal(size=500) for name in "abc"} | {"d": ["x", "y"] * 250}
        columns["b"] += 0.5 * (hour > 6)
        sums = sums.add(hour * HOUR, windows.sketch(reference, columns))
        found = watch.evidence(sums)
        assert not [one for one in found if one.alarm and (hour <= 6 or one.feature != "b")]
    assert found[0].feature == "b"
    assert found[0].alarm
    told = evidence_points(found, 7.0, {"model": "m"})
    labels = {"model": "m", "feature": "b", "method": "evidence"}
    assert told[0] == Series("drift", labels, (7.0,), (found[0].score,))
    assert told[-1].labels["feature"] == "*"
    assert evidence_points([], 7.0, {}) == []


def test_a_column_that_went_is_no_evidence():
    reference = build({"a": np.arange(400.0)})
    assert Watch(reference).evidence(Sums().add(HOUR, windows.sketch(reference, {"b": [1]}))) == []


def test_calm_weeks_have_no_alarm():
    found = drift_weeks.calm(features=60, weeks=4, rows=300, seed=3)
    assert found.weeks == 4
    assert found.alarmed == 0


@pytest.mark.parametrize("name", ["mean + 0.5 sd", "missing 5 %"])
def test_planted_drifts_are_found_within_their_delay(name):
    planted = next(one for one in drift_weeks.PLANTED if one.name == name)
    found = drift_weeks.delays(planted, rows=1000, features=200, trials=8, seed=4)
    assert np.median(found) <= 3
    assert max(found) <= 12
