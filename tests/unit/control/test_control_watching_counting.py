"""From what servers say they counted to windows of a minute."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.control.watching import counting
from modelworks.control.watching.asking import Server
from modelworks.control.watching.counting import Look, counters, started, windows
from modelworks.control.watching.requests import Requests

T = 1_800_000_000


class Exposed:
    """A server that counts."""

    def __init__(self, url="http://127.0.0.1:1", begun=T - 900, deployment=""):
        self.server = Server(url, deployment)
        self.begun = begun
        self.outcomes = {}
        self.seconds = []

    def met(self, count, seconds=0.002, outcome="success"):
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        self.seconds += [seconds] * count

    def text(self):
        lines = [f"modelworks_start_time_seconds {self.begun}"]
        labels = 'model="fraud",version="1.0.0"'
        for outcome, count in {"success": 0, **self.outcomes}.items():
            told = f'{labels},outcome="{outcome}",code="2xx"'
            lines.append(f"modelworks_requests_total{{{told}}} {count}")
        name = "modelworks_request_duration_seconds"
        taken = np.array(self.seconds)
        for stage in ("total", "queue", "compute"):
            part = f'{labels},stage="{stage}"'
            for bits in range(14, 35):
                bound = 2**bits / 1e9
                lines.append(f'{name}_bucket{{{part},le="{bound}"}} {(taken <= bound).sum()}')
            lines.append(f'{name}_bucket{{{part},le="+Inf"}} {len(taken)}')
            lines.append(f"{name}_sum{{{part}}} {taken.sum()}")
        lines.append(f"modelworks_model_memory_bytes{{{labels}}} 1048576")
        return "\n".join(lines)


def told(done):
    return {
        (s.name, s.labels.get("deployment", ""), t): v
        for s in done.series
        for t, v in zip(s.times, s.values, strict=True)
    }


def watched(*exposed):
    return Requests(lambda: [(one.server, one.text()) for one in exposed])


def test_differences_become_windows():
    one = Exposed()
    one.met(100)
    duty = watched(one)
    first = duty.run(T + 1, {})
    assert ("requests", "", T) not in told(first)  # what was before is nobody's minute
    one.met(50, 0.002)
    one.met(3, 0.5, "failed")
    one.met(2, 0.1, "rejected")
    one.met(1, 0.1, "invalid")
    second = told(duty.run(T + 61, first.state))
    at = T + 60
    assert second["requests", "", at] == 56
    assert second["errors", "", at] == 3
    assert second["rejected", "", at] == 2
    assert second["invalid", "", at] == 1
    assert 1 < second["latency_p50_ms", "", at] < 2.2
    assert 268 < second["latency_p99_ms", "", at] < 537
    assert second["latency_mean_ms", "", at] == pytest.approx((100 + 1500 + 300) / 56, rel=0.01)
    assert second["model_memory_bytes", "", at] == 1048576


def test_a_minute_without_requests_is_a_window_of_none():
    one = Exposed()
    duty = watched(one)
    state = duty.run(T + 1, {}).state
    found = told(duty.run(T + 61, state))
    assert found["requests", "", T + 60] == 0
    assert ("latency_p50_ms", "", T + 60) not in found


def test_the_same_minute_twice_counts_once():
    one = Exposed()
    duty = watched(one)
    state = duty.run(T + 1, {}).state
    one.met(5)
    done = duty.run(T + 61, state)
    again = duty.run(T + 62, done.state)
    assert again.state == done.state
    assert not list(again.series)
    assert told(duty.run(T + 62, state)) == told(done)  # a killed worker repeats itself


def test_a_server_that_began_anew_counts_from_zero():
    one = Exposed()
    one.met(100)
    duty = watched(one)
    state = duty.run(T + 1, {}).state
    fresh = Exposed(begun=T + 30)
    fresh.met(7)
    assert told(watched(fresh).run(T + 61, state))["requests", "", T + 60] == 7


def test_an_old_server_that_was_not_seen_before_does_not_burst_in():
    state = watched().run(T + 1, {}).state
    late = Exposed(begun=T - 9000)
    late.met(1_000_000)
    found = watched(late).run(T + 61, state)
    assert ("requests", "", T + 60) not in told(found)
    late.met(5)
    assert told(watched(late).run(T + 121, found.state))["requests", "", T + 120] == 5


def test_servers_add_up_and_deployments_stay_apart():
    one, two = Exposed("http://a"), Exposed("http://b")
    third = Exposed("http://c", deployment="eu")
    duty = watched(one, two, third)
    state = duty.run(T + 1, {}).state
    one.met(1, 0.001)
    two.met(99, 1.0)
    third.met(5)
    found = told(duty.run(T + 61, state))
    assert found["requests", "", T + 60] == 100
    assert found["requests", "eu", T + 60] == 5
    assert found["latency_p50_ms", "", T + 60] > 500


def test_what_a_worker_that_was_away_missed_is_spread():
    one = Exposed()
    duty = watched(one)
    state = duty.run(T + 1, {}).state
    one.met(100)
    found = told(duty.run(T + 181, state))
    parts = [found["requests", "", T + 60 * i] for i in (1, 2, 3)]
    assert parts == [33, 33, 34]


def test_a_server_that_lies_is_said_and_harms_no_other():
    one = Exposed()
    state = watched(one).run(T + 1, {}).state
    one.met(3)
    bad = Server("http://bad")
    told_by = [
        (bad, 'modelworks_requests_total{model="x",outcome="y"} -1'),
        (one.server, one.text()),
    ]
    done = Requests(lambda: told_by).run(T + 61, state)
    assert "http://bad" in done.said
    assert told(done)["requests", "", T + 60] == 3


@given(
    st.dictionaries(st.sampled_from(["requests", "errors"]), st.integers(0, 10**9)),
    st.integers(1, 90),
)
def test_nothing_is_lost_by_spreading(counts, minutes):
    now = {("m", "1.0.0", name, ""): float(value) for name, value in counts.items()}
    found = windows(Look("", 0, 0, {}), Look("", 0, minutes * 60, now), 0)
    assert [end for end, _ in found] == [60 * i for i in range(minutes + 1)][-len(found) :]
    for key, value in now.items():
        assert sum(one[key] for _, one in found) == value


def test_an_exposition_of_ours_is_read():
    one = Exposed()
    one.met(4, 0.003)
    found = counters(one.text())
    assert started(one.text()) == T - 900
    assert found["fraud", "1.0.0", "requests", ""] == 4
    assert sum(v for k, v in found.items() if k[2] == "latency_bucket") == 4
    assert found["fraud", "1.0.0", "latency_sum", ""] == pytest.approx(0.012)
    assert started("") == 0.0
    assert counting.counters("# nothing") == {}
