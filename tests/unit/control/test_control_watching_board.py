"""At a glance: the last hour is found, of all models no more is read than one answer holds."""

import pytest

from modelworks.control.watching.board import HOURLY_S, board, standing
from modelworks.control.watching.ranking import ranking
from modelworks.core.alerts import Alert, AlertState, Severity
from modelworks.core.errors import InvalidError
from modelworks.core.series import Series
from modelworks.monitor.alerts.written import WrittenSource

pytestmark = pytest.mark.unit
NOW = 1_800_000_000 + 300.0  # five minutes past an hour whose window has not come yet
OWN = {"model": "fraud", "version": "1.0.0"}
ENDS = (NOW - 300 - 7200, NOW - 300 - 3600)


def drift(feature, *values, method="js"):
    labels = {**OWN, "feature": feature, "method": method}
    return Series("drift", labels, ENDS[-len(values) :], values)


class Asked:
    """A source that notes what it was asked."""

    def __init__(self, series):
        self._source, self.since = WrittenSource(series), {}

    def select(self, name, labels, since, until):
        self.since[name] = min(since, self.since.get(name, since))
        return self._source.select(name, labels, since, until)


def test_the_last_hour_is_found_before_the_next_one_has_come():
    (line,) = board(Asked([drift("age", 0.2, 0.4)]), "fraud", NOW - 3600, NOW).lines
    assert (line.drift, line.drifted) == (0.4, "age")


@pytest.mark.parametrize("model", ["", "fr*"])
def test_of_several_models_only_the_last_windows_of_features_are_read(model):
    source = Asked([drift("age", 0.4)])
    day = 86_400
    assert len(board(source, model, NOW - day, NOW).lines) == 1
    assert source.since["drift"] == source.since["quality"] == NOW - HOURLY_S
    assert source.since["requests"] == NOW - day
    board(source, "fraud", NOW - day, NOW)
    assert source.since["drift"] == NOW - day


def test_quality_is_that_of_all_rows():
    labels = {**OWN, "metric": "accuracy", "kind": "measured"}
    told = [
        Series("quality", {**labels, "slice": name}, ENDS, values)
        for name, values in (("*", (0.9, 0.8)), ("in.country=cn", (0.1, 0.1)))
    ]
    (line,) = board(WrittenSource(told), "", NOW - 3600, NOW).lines
    assert line.quality == {"accuracy measured": 0.8}


def test_alerts_that_stand_are_told_with_who_is_told():
    def alert(rule, state, model):
        return Alert(rule, {"model": model}, state, Severity.WARNING, 1.0, "x", 5)

    given = [
        standing(alert("Slow", AlertState.FIRING, "fraud"), "a1", "silenced by x", "ana"),
        standing(alert("Over", AlertState.RESOLVED, "fraud"), "a2"),
        standing(alert("Other", AlertState.PENDING, "churn"), "a3"),
    ]
    (one,) = board(WrittenSource([]), "fraud", NOW - 60, NOW, given).alerts
    assert (one.id, one.quiet, one.taken_by) == ("a1", "silenced by x", "ana")
    assert len(board(WrittenSource([]), "", NOW - 60, NOW, given).alerts) == 2


def test_features_rank_by_cost_then_by_distance():
    series = [drift("far", 0.9), drift("dear", 0.1), drift("near", 0.2)]
    series += [drift("dear", 1.5, method="evidence"), drift("gone", 0.3, method="psi")]
    for feature, loss in (("dear", 0.05), ("far", -0.01)):
        series.append(Series("drift_loss", {**OWN, "feature": feature}, ENDS[1:], (loss,)))
    series.append(Series("missing", {**OWN, "feature": "near"}, ENDS[1:], (0.5,)))
    found = ranking(WrittenSource(series), "fraud", NOW - 3600, NOW)
    assert [one.feature for one in found] == ["dear", "far", "near"]
    assert (found[0].loss, found[0].evidence, found[0].until) == (0.05, 1.5, ENDS[1])
    assert found[2].wrong == (("missing", 0.5),)


class Narrow:
    """A source whose answers hold so many seconds."""

    def __init__(self, series, most):
        self._source, self._most = WrittenSource(series), most

    def select(self, name, labels, since, until):
        if until - since > self._most:
            raise InvalidError("the answer would hold more", field="since")
        return self._source.select(name, labels, since, until)


def test_what_one_answer_does_not_hold_is_asked_for_in_parts():
    times = [NOW - 60 * n for n in range(600, -1, -1)]
    counts = [float(n) for n in range(601)]
    told = [
        Series("requests", OWN, times, counts),
        Series("latency_p99_ms", OWN, times, counts[::-1]),  # the last one is the lowest
    ]
    plain = board(WrittenSource(told), "fraud", NOW - 36_000, NOW)
    assert plain.lines[0].requests == sum(counts[1:])
    assert (plain.lines[0].rate, plain.lines[0].p99_ms) == (10.0, 0.0)
    assert board(Narrow(told, HOURLY_S), "fraud*", NOW - 36_000, NOW) == plain
    with pytest.raises(InvalidError, match="would hold more"):
        board(Narrow(told, 36_000 / 9), "fraud*", NOW - 36_000, NOW)
