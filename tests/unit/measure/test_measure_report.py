"""What is shown: tables, documents, charts, one page that fetches nothing, a picture."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from modelworks.core import codec
from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.measure import charts, documents, page, picture, tables
from modelworks.measure.batches import Batches
from modelworks.measure.compare import Verdict
from modelworks.measure.duel import duel
from modelworks.measure.histogram import Histogram
from modelworks.measure.load import Load, Loaded
from modelworks.measure.noise import Interference
from modelworks.measure.observe import Point, Server
from modelworks.measure.svg import draw
from modelworks.measure.sweep import over_connections, over_rates, sweep
from modelworks.measure.target import parse_target

pytestmark = pytest.mark.unit
LOAD = Load(parse_target("http://h/"), [b"x"])
SPEED = {1: 1000.0, 8: 5000.0, 64: 6000.0}


def loaded(load: Load, speed: float, seed: int = 0, **told) -> Loaded:
    generator = np.random.default_rng(seed)
    histogram = Histogram()
    count = int(speed * 2)
    mean = load.connections / speed if load.rate is None else 0.001
    histogram.record((generator.gamma(4, mean / 4, count) * 1e9).astype(np.int64))
    known = {
        "connections": load.connections,
        "rate": load.rate,
        "seconds": 2.0,
        "answered": count,
        "rows": 1,
        "in_time": count,
        "latency": histogram,
        "service": histogram,
        "lag": Histogram(),
        "refused": Histogram(),
        "statuses": {200: count},
        "failures": {},
        "every": count,
        "series": ((0.5, count // 4), (1.0, count // 2), (1.5, 3 * count // 4)),
    }
    return Loaded(**{**known, **told})


def by_connections(load, _progress):
    return loaded(load, SPEED[load.connections])


def by_rate(load, _progress):
    speed = min(load.rate, 900.0)
    behind = {"unsent": 5, "waited": 300, "failures": {"timeout": 2}} if load.rate > 900 else {}
    return loaded(load, speed, **behind)


@pytest.fixture(scope="module")
def closed():
    return sweep(over_connections(LOAD, [64, 1, 8, 8]), by_connections, Server())


@pytest.fixture(scope="module")
def opened():
    return sweep(over_rates(LOAD, [100, 400, 2000]), by_rate, Server())


def test_sweeps_are_in_order_and_know_their_knee(closed, opened):
    assert [point.loaded.connections for point in closed.points] == [1, 8, 64]
    assert (closed.knee.place, closed.knee.saturation) == (1, 6000.0)
    assert [point.loaded.rate for point in opened.points] == [100, 400, 2000]
    assert opened.knee.place == 1


def test_an_interrupted_sweep_ends(closed):
    def generate(load, _progress):
        return loaded(load, 1000.0, interrupted=load.connections == 8)

    found = sweep(over_connections(LOAD, [1, 8, 64]), generate, Server())
    assert found.interrupted
    assert len(found.points) == 2
    with pytest.raises(InvalidError, match="points to sweep"):
        over_connections(LOAD, range(1, 100))


def test_tables(closed, opened):
    rows = [tables.row(point, closed.axis) for point in closed.points]
    assert all(len(row) == len(tables.columns(closed.axis)) for row in rows)
    assert rows[0][:2] == ["1", "1,000"]
    assert rows[0][-3:] == ["-", "-", "0"]
    head = tables.columns(opened.axis, 0.005)
    assert "in 5 ms/s" in head
    assert len(tables.row(opened.points[0], opened.axis, 0.005)) == len(head)
    told = "\n".join(tables.remarks(opened))
    assert "400/s is the last rate before 2000/s" in told
    assert "at 2000/s: 300 requests waited for a connection, 5 got none" in told
    assert "2 x timeout" in told
    assert "at most 0.2% too high" in told


def test_a_bottleneck_and_noise_are_said_once():
    def generate(load, _progress):
        return loaded(load, 1000.0, cpu=0.97)

    found = sweep(over_connections(LOAD, [1, 8]), generate, Server())
    points = tuple(Point(p.loaded, Interference(1, 0, 1.5, 9)) for p in found.points)
    told = tables.remarks(type(found)(found.axis, points, found.knee))
    assert "the generator was the bottleneck at 1 connections, 8 connections" in "\n".join(told)
    assert sum("other processes used 1.5 cores" in line for line in told) == 1


def test_documents_are_json_and_whole(closed):
    told = json.loads(json.dumps(codec.encode(documents.swept_document(closed))))
    assert told["axis"] == "connections"
    assert told["knee"] == 8
    assert told["saturation_requests_s"] == 6000.0
    point = told["points"][0]
    assert point["loop"] == "closed"
    again = Histogram.of(point["histogram"]).latency()
    assert again.p99 == point["latency"]["p99"]
    with_batches = Point(
        closed.points[0].loaded,
        Interference(1, 0, 0, 0),
        12.5,
        Batches(10, 5, 2.0, ((2, 5),), {"queue": 1.0}),
    )
    told = documents.point_document(with_batches, histogram=False)
    assert (told["cpu_us_a_prediction"], told["batches"]["mean"]) == (12.5, 2.0)
    assert "histogram" not in told


def test_bars_of_text_count_everything(closed):
    found = closed.points[1].loaded.latency
    lines = tables.histogram_lines(found)
    assert sum(int(line.split()[-1]) for line in lines) == found.count
    assert max(line.count("#") for line in lines) == 40
    assert tables.histogram_lines(Histogram()) == []
    one = Histogram()
    one.record([5, 5])
    assert sum(int(line.split()[-1]) for line in tables.histogram_lines(one)) == 2


def all_charts(closed, opened):
    return [*charts.of_sweep(closed), *charts.of_sweep(opened)]


def test_charts_are_well_formed_and_inside_their_frame(closed, opened):
    for chart in all_charts(closed, opened):
        root = ET.fromstring(draw(chart))
        assert root.get("aria-label") == chart.title
        places = [
            (float(one.get("cx")), float(one.get("cy")))
            for one in root.iter("{http://www.w3.org/2000/svg}circle")
        ]
        assert len(places) == sum(len(curve.points) for curve in chart.curves)
        assert all(69 <= x <= 601 and 33 <= y <= 269 for x, y in places)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points", [(), ((1.0, 1.0),), ((0.0, 0.0), (1.0, 0.0)), ((1.0, 1e-9), (2.0, 1e12))]
)
def test_strange_values_are_drawn(points, log):
    chart = charts.Chart("<T>", "x", "y", (charts.Curve("a&b", points),), log_x=log, log_y=log)
    text = draw(chart)
    ET.fromstring(text)
    assert "nan" not in text
    assert "<T>" not in text


def test_a_page_fetches_nothing_and_escapes_what_it_is_told(closed, opened):
    table = (["a<b"], [["<script>alert(1)</script>"]])
    text = page.page("<b>", ["<i>"], [table], ["&"], all_charts(closed, opened))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count("<svg") == 8
    for way in ("src=", "href=", "url(", "@import", "https://"):
        assert way not in text
    assert text.replace("http://www.w3.org/2000/svg", "").count("http://") == 0


def test_no_picture_without_its_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"modelworks\[plots\]"):
        picture.check()


def two_sides(ratio, spread=0.01, **told):
    """A generator whose other side is faster by a known ratio; every run is a little off."""
    generator = np.random.default_rng(5)
    facing = Load(parse_target("http://other/"), [b"x"])

    def generate(load, _progress):
        speed = 2000.0 * (ratio if load is facing else 1.0)
        seed = int(generator.integers(1 << 30))
        return loaded(load, speed * generator.lognormal(0, spread), seed, **told)

    return (LOAD, Server()), (facing, Server()), generate


def test_a_comparison_finds_the_ratio_and_its_own_noise():
    this, other, generate = two_sides(2.0)
    found = duel(this, other, generate, rounds=7, bar=0.85)
    assert found.ratios["throughput"].ratio == pytest.approx(0.5, rel=0.05)
    assert found.noise["throughput"].ratio == pytest.approx(1, rel=0.05)
    assert (found.judged, found.verdict) == ("throughput", Verdict.MISSED)
    assert duel(this, other, generate, rounds=7, bar=0.4).verdict is Verdict.MET
    head, rows = tables.medians(found)
    assert [row[0] for row in rows] == ["this", "other", "again"]
    assert len(head) == len(rows[0])
    told = json.loads(json.dumps(documents.compared_document(found)))
    assert told["verdict"] == "missed"
    assert len(told["rounds"]["again"]) == 7
    assert "0.5" in tables.ratio_lines(found)[0]
    for chart in charts.of_comparison(found):
        ET.fromstring(draw(chart))


def test_no_verdict_within_the_noise_of_few_rounds_with_failures_or_a_slow_generator():
    for told, rounds, ratio, spread, words in (
        ({}, 7, 1.0, 0.05, "A/A is off"),
        ({}, 4, 2.0, 0.01, "at least 5"),
        ({"failures": {"timeout": 1}}, 7, 2.0, 0.01, "requests failed"),
        ({"cpu": 0.99}, 7, 2.0, 0.01, "the generator, not the server"),
    ):
        this, other, generate = two_sides(ratio, spread, **told)
        found = duel(this, other, generate, rounds=rounds)
        assert found.verdict is Verdict.UNCERTAIN
        assert words in found.why


def test_an_interrupted_comparison_keeps_its_whole_rounds():
    this, other, generate = two_sides(2.0)
    count = iter(range(100))

    def until(load, progress):
        found = generate(load, progress)
        stop = next(count) == 7
        return loaded(load, 100.0, interrupted=True) if stop else found

    found = duel(this, other, until, rounds=9)
    assert {len(points) for points in found.points.values()} == {2}
    with pytest.raises(InvalidError, match="before the first round"):
        duel(this, other, lambda load, _: loaded(load, 1.0, interrupted=True), rounds=3)
