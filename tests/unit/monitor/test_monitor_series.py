"""Series: chunks hold what was put into them, appends are idempotent, hours come out of minutes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.core.errors import CorruptError, InvalidError
from modelworks.core.series import Series
from modelworks.db.engine import open_database
from modelworks.monitor.series import chunk, service
from modelworks.monitor.series.chunk import WINDOWS, Chunk
from modelworks.monitor.series.names import DAY, HOUR, MINUTE, PARTS, part_of
from modelworks.monitor.series.rollup import quantile
from modelworks.monitor.series.service import SeriesStore
from modelworks.monitor.series.sketches import SketchStore

NOW = 1_800_000_000 // DAY * DAY + 13 * HOUR + 30 * MINUTE


class Clock:
    """A clock that tests move."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scope(tmp_path):
    database = open_database(tmp_path / "series.db")
    yield database.tenant("default")
    database.close()


@pytest.fixture
def series(scope, clock) -> SeriesStore:
    return SeriesStore(scope, clock)


def one(name="requests", model="fraud", at=NOW, value=1.0, **labels):
    times = at if isinstance(at, list) else [at]
    values = value if isinstance(value, list) else [value] * len(times)
    return Series(name, {"model": model, **labels}, times, values)


def values(found):
    return {
        tuple(sorted(s.labels.items())): list(zip(s.times, s.values, strict=True)) for s in found
    }


# -- chunks


@settings(max_examples=15)
@given(
    st.dictionaries(
        st.tuples(
            st.text(max_size=8),
            st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=2).map(tuple),
        ),
        st.lists(
            st.one_of(
                st.floats(allow_infinity=False, width=32).filter(
                    lambda x: x == 0 or math.isnan(x) or 1e-30 < abs(x) < 1e30
                ),
                st.integers(-(2**52), 2**52).map(float),
            ),
            min_size=10,
            max_size=10,
        ),
        max_size=4,
    )
)
def test_a_chunk_comes_back(rows):
    put = {key: np.array(row * 24, dtype=float) for key, row in rows.items()}
    back = chunk.unpack(chunk.pack(Chunk(dict(put))), "x").rows
    assert back.keys() == put.keys()
    for key, row in put.items():
        np.testing.assert_allclose(back[key], row, rtol=2.0**-12)


def test_counts_are_exact_and_cheap():
    row = np.arange(WINDOWS) + 2.0**52
    row[17] = np.nan
    body = chunk.pack(Chunk({("requests", ()): row}))
    assert chunk.unpack(body, "x").rows["requests", ()].tolist()[:17] == row.tolist()[:17]
    assert np.array_equal(chunk.unpack(body, "x").rows["requests", ()], row, equal_nan=True)
    assert len(body) < 200


def test_distances_are_kept_to_fewer_digits_and_take_less_room():
    row = np.random.default_rng(0).random(WINDOWS)
    bodies = {name: chunk.pack(Chunk({(name, ()): row})) for name in ("drift", "quality")}
    for name, error in (("drift", 2.0**-8), ("quality", 2.0**-13)):
        back = chunk.unpack(bodies[name], "x").rows[name, ()]
        np.testing.assert_allclose(back, row, rtol=error)
        assert np.abs(back / row - 1).max() > error / 8
    assert len(bodies["drift"]) < 0.8 * len(bodies["quality"])


@pytest.mark.parametrize("cut", [0, 1, 5, 40])
def test_a_damaged_chunk_is_said(cut):
    body = chunk.pack(Chunk({("requests", ()): np.ones(WINDOWS)}))
    with pytest.raises(CorruptError, match=r"^here: "):
        chunk.unpack(body[:cut], "here")
    with pytest.raises(CorruptError, match=r"^here: "):
        chunk.unpack_bytes(body, "here")


def test_a_chunk_has_a_bound(monkeypatch):
    monkeypatch.setattr(chunk, "MOST", 2)
    held = Chunk()
    assert [held.put((name, ()), [0], [1.0]) for name in "abca"] == [True, True, False, True]


# -- appending and reading


def test_what_is_appended_is_read_by_labels(series):
    series.append([one(version="1.0.0"), one(version="2.0.0", value=2), one(model="other")])
    found = series.select("requests", {"model": "fraud"}, NOW - 60, NOW)
    assert [s.labels["version"] for s in found] == ["1.0.0", "2.0.0"]
    assert values(series.select("requests", {"version": "2*"}, NOW - 60, NOW)) == {
        (("model", "fraud"), ("version", "2.0.0")): [(NOW, 2.0)]
    }
    assert len(series.select("requests", {"model": "o*r"}, NOW - 60, NOW)) == 1
    assert series.select("errors", {}, NOW - 60, NOW) == []


def test_times_are_exclusive_below_and_inclusive_above(series):
    series.append([one(at=[NOW - 60, NOW, NOW + 60], value=[1, 2, 3])])
    (found,) = series.select("requests", {}, NOW - 60, NOW)
    assert list(found.times) == [NOW]
    (found,) = series.select("requests", {}, NOW - 61, NOW + 59)
    assert list(found.values) == [1, 2]


def test_appending_twice_is_as_once_and_the_last_word_counts(series):
    for _ in range(2):
        series.append([one(at=[NOW - 60, NOW], value=[1, 2])])
    series.append([one(at=NOW, value=7)])
    (found,) = series.select("requests", {}, 0 + NOW - 600, NOW)
    assert list(zip(found.times, found.values, strict=True)) == [(NOW - 60, 1), (NOW, 7)]


def test_chunks_follow_one_another(series):
    at = [NOW - 60 * i for i in range(3 * WINDOWS)][::-1]
    series.append([one(at=at, value=list(map(float, range(len(at)))))])
    (found,) = series.select("requests", {}, NOW - 60 * len(at), NOW)
    assert list(found.times) == at
    assert list(found.values) == list(range(len(at)))


def test_tenants_do_not_meet(scope, series, clock):
    series.append([one()])
    other = SeriesStore(scope.database.tenant("other"), clock)
    assert other.select("requests", {}, NOW - 60, NOW) == []


# -- longer windows


def test_an_hour_that_is_over_adds_counts_and_takes_percentiles_from_added_buckets(series):
    end = NOW // HOUR * HOUR
    times = [end - HOUR + 60 * i for i in range(1, 61)]
    # 59 minutes of one fast request each, one minute of a thousand slow ones.
    fast = [one("latency_bucket", at=times[:59], value=1, le="0.001")]
    slow = [one("latency_bucket", at=times[59], value=1000, le="1.0")]
    sums = [one("latency_sum", at=times, value=[0.0005] * 59 + [800.0])]
    medians = [one("latency_p50_ms", at=times, value=[0.5] * 59 + [750])]
    counts = [
        one(at=times, value=[1.0] * 59 + [1000]),
        one("missing", at=times[:2], value=[0, 0.5]),
    ]
    series.append(fast + slow + sums + medians + counts)
    read = {
        name: series.read(name, {}, end - HOUR, end, HOUR)[1][0]
        for name in ("requests", "latency_p50_ms", "latency_p99_ms", "latency_mean_ms", "missing")
    }
    assert all(list(found.times) == [end] for found in read.values())
    told = {name: found.values[0] for name, found in read.items()}
    assert told["requests"] == 1059
    # The hour's median lies among the slow requests; the mean of the medians would be 13 ms.
    assert told["latency_p50_ms"] == pytest.approx(500 + 500 * (529.5 - 59) / 1000, rel=1e-3)
    assert told["latency_mean_ms"] == pytest.approx(800_029.5 / 1059, rel=1e-3)
    assert told["missing"] == 0.25


def test_an_hour_is_made_when_it_is_over_and_anew_for_late_windows(series, clock):
    end = NOW // HOUR * HOUR + HOUR
    series.append([one(at=end - 60)])
    assert series.read("requests", {}, 0, end, HOUR)[1] == []
    clock.now = end + 5
    series.append([one(at=end)])
    assert series.read("requests", {}, 0, end, HOUR)[1][0].values == [2]
    series.append([one(at=end - 120, value=10)])
    assert series.read("requests", {}, 0, end, HOUR)[1][0].values == [12]


def test_the_last_hour_of_what_fell_silent_is_settled(series, clock):
    end = NOW // HOUR * HOUR + HOUR
    series.append([one(at=end - 600)])
    clock.now = end + HOUR + 5
    assert series.read("requests", {}, 0, end, HOUR)[1] == []
    series.settle(end)
    assert series.read("requests", {}, 0, end, HOUR)[1][0].values == [1]


def test_days_come_out_of_hours(series, clock):
    end = NOW // DAY * DAY
    clock.now = end + DAY + 10
    series.append([one(at=[end + HOUR, end + 5 * HOUR], value=[3, 4])], HOUR)
    assert series.read("requests", {}, 0, end + DAY, DAY)[1][0].values == [7]


def test_a_long_time_comes_in_longer_windows(series, clock):
    start = NOW // DAY * DAY - 70 * DAY
    hours = [start + 7 * DAY * i for i in range(1, 11)]
    series.append([one(at=hours)], HOUR)
    assert series.read("requests", {}, start, NOW)[0] == DAY
    step, (found,) = series.read("requests", {}, NOW - 30 * DAY, NOW)
    assert step == HOUR
    assert list(found.times) == hours[-5:]
    # Windows that are made as hours only are found whatever the time that is asked for.
    assert series.read("requests", {}, NOW - DAY, NOW)[0] == HOUR


def test_old_windows_go_and_longer_ones_stay(series, clock):
    day = NOW // DAY * DAY - 9 * DAY
    series.append([one(at=day + 60 * i) for i in range(1, 61)])
    series.append([one(at=NOW)])
    assert series.expire(NOW) == 1
    assert series.read("requests", {}, day, day + HOUR, MINUTE)[1] == []
    assert series.read("requests", {}, day, day + HOUR, HOUR)[1][0].values == [60]
    assert series.read("requests", {}, NOW - 60, NOW, MINUTE)[1][0].values == [1]


# -- bounds


def test_an_answer_has_a_bound(series, monkeypatch):
    series.append([one(at=[NOW - 60, NOW])])
    monkeypatch.setattr(service, "MAX_POINTS", 1)
    with pytest.raises(InvalidError, match="name a model") as caught:
        series.select("requests", {}, NOW - 600, NOW)
    assert caught.value.field == "since"
    monkeypatch.setattr(service, "MAX_CHUNKS", 0)
    with pytest.raises(InvalidError):
        series.read("requests", {}, NOW - 600, NOW, MINUTE)


def test_an_unknown_step_is_refused(series):
    with pytest.raises(InvalidError, match="60, 3600, 86400"):
        series.read("requests", {}, 0, NOW, 61)


@pytest.mark.parametrize(
    "name",
    [
        "requests",
        "latency_p99_ms",
        "latency_bucket",
        "drift_loss",
        "missing",
        "quality",
        "business",
        "host_cpu",
        "anything",
    ],
)
def test_every_name_has_a_part(name):
    assert part_of(name) in PARTS


@given(st.lists(st.integers(0, 50), min_size=5, max_size=5), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_that_holds_it(counts, share):
    cells = {2.0**i: float(n) for i, n in enumerate(counts)}
    if not sum(counts):
        return
    found = quantile(cells, share)
    below = sum(n for bound, n in cells.items() if bound <= found / 2)
    up_to = sum(n for bound, n in cells.items() if bound < found * 2)
    assert below <= share * sum(counts) + 1e-9 <= up_to + 1e-6


def test_beyond_the_last_bound_the_bound_is_the_answer():
    assert quantile({0.001: 1.0, math.inf: 9.0}, 0.99) == pytest.approx(17.18, rel=1e-3)


# -- sketches


def test_sketches_come_back_by_hour(scope):
    sketches = SketchStore(scope)
    end = NOW // HOUR * HOUR
    for hour in range(30):
        told = {("sketch", (("feature", f"f{i}"),)): bytes([hour, i]) * i for i in range(3)}
        sketches.put("fraud", end - HOUR * hour, told)
        sketches.put("fraud", end - HOUR * hour, told)
    found = list(sketches.read("fraud", end - 28 * HOUR, end))
    assert [at for at, _ in found] == [end - HOUR * i for i in range(28)][::-1]
    assert found[-1][1]["sketch", (("feature", "f2"),)] == bytes([0, 2]) * 2
    assert list(sketches.read("other", 0, end)) == []
