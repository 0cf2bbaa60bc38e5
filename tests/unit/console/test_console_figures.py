"""The console's words and pictures: rates, spans, sparklines, figures of evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.console import charts, show
from modelworks.core.model import Evidence, Verdict

pytestmark = pytest.mark.unit


@given(st.lists(st.floats(0, 1e9), max_size=80))
def test_a_sparkline_stays_in_its_box(values):
    line, area = charts.sparkline(values, 60)
    points = [tuple(map(float, p.split(","))) for p in line.split()]
    assert len(points) == min(len(values), 60)
    assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in points)
    assert bool(area) == bool(values)


@pytest.mark.parametrize(
    ("span", "text"),
    [(None, "\u2013"), (0.00035, "0.35 ms"), (0.0421, "42 ms"), (0.2, "200 ms"), (2.5, "2.5 s")],
)
def test_seconds(span, text):
    assert show.seconds(span) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01, "0"), (0.5, "0.5"), (38.4, "38"), (12400, "12,400")]
)
def test_rate(value, text):
    assert show.rate(value) == text


def test_figures_of_evidence_leave_lists_out():
    evidence = Evidence(
        "parity",
        Verdict.PASSED,
        "x",
        {"max_absolute": 1.234567e-7, "rows": 5, "worst": [1], "ok": True, "why": "", "unit": "s"},
    )
    assert show.figures(evidence) == [
        ("max absolute", "1.23e-07"),
        ("rows", "5"),
        ("ok", "yes"),
        ("unit", "s"),
    ]
