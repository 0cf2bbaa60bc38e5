"""What the watch has seen, over HTTP."""

import time

import pytest

from modelworks.core.series import Series

API = "/api/v1"
END = int(time.time()) // 60 * 60


@pytest.fixture
def seen(plane):
    """Two versions that were asked, and a feature that drifted."""
    times = [float(END - 60 * i) for i in (2, 1, 0)]
    told = []
    for version, counts in (("1.0.0", [60.0, 60.0, 0.0]), ("1.1.0", [0.0, 0.0, 120.0])):
        labels = {"model": "fraud", "version": version}
        told.append(Series("requests", labels, times, counts))
        told.append(Series("errors", labels, times, [1.0, 0.0, 0.0]))
        told.append(Series("latency_p99_ms", labels, times[-1:], [12.5]))
        for feature, value in (("age", 0.25), ("income", 0.125)):
            more = {**labels, "feature": feature, "method": "js"}
            told.append(Series("drift", more, times[-1:], [value]))
        quality = {**labels, "metric": "auc", "kind": "estimated", "slice": "*"}
        told.append(Series("quality", quality, times[-1:], [0.75]))
    told.append(Series("host_load", {}, times, [0.5, 0.5, 1.5]))
    plane.factory.watching.series.append(told)
    return plane


def test_series_are_answered_by_name_labels_and_time(seen):
    query = f"name=requests&model=fraud&since={END - 3600}&until={END}"
    answer = seen.client.get(f"{API}/series?{query}").json()
    assert answer["step"] == 60
    assert [one["labels"]["version"] for one in answer["series"]] == ["1.0.0", "1.1.0"]
    assert answer["series"][1]["values"] == [0.0, 0.0, 120.0]
    answer = seen.client.get(f"{API}/series?{query}&labels=version=1.1*").json()
    assert [one["labels"]["version"] for one in answer["series"]] == ["1.1.0"]
    answer = seen.client.get(f"{API}/series?{query}&step=86400").json()
    assert answer == {"step": 86400, "series": []}


def test_at_a_glance(seen):
    answer = seen.client.get(f"{API}/watch?since=1h").json()
    old, new = answer["lines"]
    assert (old["version"], old["requests"], old["rate"]) == ("1.0.0", 120.0, 0.0)
    assert (new["version"], new["requests"], new["rate"]) == ("1.1.0", 120.0, 2.0)
    assert (new["drifted"], new["drift"], new["p99_ms"]) == ("age", 0.25, 12.5)
    assert new["quality"] == {"auc estimated": 0.75}
    assert new["p50_ms"] is None
    assert answer["machine"] == {"host_load": 1.5}
    assert seen.client.get(f"{API}/watch?model=other").json()["lines"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("name=requests&since=5&until=4", "until"),
        ("name=requests&since=0&until=4&step=61", "step"),
        ("name=requests&since=0&until=4&labels=version", "labels"),
        ("name=requests&since=0&until=4&labels==x", "labels"),
        ("name=requests&since=0&until=4&bogus=1", "bogus"),
    ],
)
def test_what_cannot_be_is_named(unchanged, query, field):
    answer = unchanged.client.get(f"{API}/series?{query}")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize("since", ["1", "h", "nanh", "1y", "1s", "99999999w", "-1h"])
def test_a_length_of_time_that_is_none(unchanged, since):
    answer = unchanged.client.get(f"{API}/watch?since={since}")
    assert (answer.status_code, answer.json()["field"]) == (400, "since")


def test_it_is_described(unchanged):
    document = unchanged.client.get(f"{API}/openapi.json").json()
    assert {f"{API}/series", f"{API}/watch"} <= document["paths"].keys()
    board = document["components"]["schemas"]["Board"]
    assert board["properties"]["machine"]["additionalProperties"] == {"type": "number"}
