"""Curves as pictures: inside their frame, no peak lost, cut where nothing was measured."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.console import plots
from modelworks.control.watching.curves import clock_ticks
from modelworks.measure.charts import Chart, Curve

pytestmark = pytest.mark.unit
NUMBERS = st.floats(-1e9, 1e9, allow_subnormal=False).map(lambda value: round(value, 3))


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.integers(1, 10**9))
def test_curves_stay_in_their_frame(values, begin):
    points = tuple((float(begin + 60 * n), value) for n, value in enumerate(values))
    drawn = plots.plot(Chart("T", "UTC", "", (Curve("a", points),)))
    pairs = [
        tuple(pair.split()) for pair in re.findall(r"[ML](-?[\d.]+ -?[\d.]+)", drawn.curves[0].path)
    ]
    assert len(pairs) == len(values)
    for x, y in pairs:
        assert plots.LEFT <= float(x) <= plots.WIDTH - plots.RIGHT
        assert plots.TOP - 0.1 <= float(y) <= plots.HEIGHT - plots.BOTTOM + 0.1
    assert (drawn.curves[0].low, drawn.curves[0].high) == (min(values), max(values))


@given(NUMBERS, NUMBERS)
def test_ticks_enclose_the_values_and_are_few(one, other):
    low, high = sorted((one, other))
    ticks = plots.y_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    slack = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(
    ("low", "high", "first"),
    [(0.0, 5.0, 0.0), (3.0, 5.0, 0.0), (0.9, 0.95, 0.9), (-2.0, 1.0, -2.0)],
)
def test_an_axis_begins_at_zero_unless_values_lie_close_together(low, high, first):
    assert plots.y_ticks(low, high)[0] == pytest.approx(first)
    assert plots.y_ticks(low, high, zero=True)[0] <= 0


def test_thinning_keeps_peaks_and_the_last_point():
    points = [(float(n), 1.0) for n in range(5000)]
    points[3210], points[777] = (3210.0, 99.0), (777.0, -7.0)
    kept = plots.thinned(points)
    assert len(kept) <= 400
    assert {(3210.0, 99.0), (777.0, -7.0), (4999.0, 1.0)} <= set(kept)
    assert kept == sorted(kept)
    assert plots.thinned(points[:300]) == points[:300]


def test_a_missing_window_is_a_hole():
    points = [(float(60 * n), 1.0) for n in range(10) if n not in {4, 5}]
    assert [len(part) for part in plots.whole_parts(points)] == [4, 4]
    assert plots.whole_parts(points[:1]) == [points[:1]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0421, "0.0421"),
        (12.5, "12.5"),
        (1240, "1,240"),
        (3.1e6, "3.1M"),
        (2e-6, "2.0e-06"),
    ],
)
def test_figures(value, text):
    assert plots.figure(value) == text


@pytest.mark.parametrize(
    ("span", "first"),
    [
        (3600, "13:00"),
        (86_400, "18:00"),
        (7 * 86_400, "09 Nov"),
        (300 * 86_400, "26 Jan 2023"),
    ],
)
def test_the_clocks_ticks_are_round_and_few(span, first):
    until = 1_700_056_800  # 2023-11-15 14:00 UTC
    ticks = clock_ticks(until - span, until)
    assert 2 <= len(ticks) <= 7
    assert ticks[0][1] == first
    assert all(until - span <= time <= until and time % 60 == 0 for time, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)
