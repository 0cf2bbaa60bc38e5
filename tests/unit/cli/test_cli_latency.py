"""The text of explain-latency: durations and the bars of the waterfall."""

import pytest

from modelworks.cli.latency_text import _bar, duration

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "-"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 us"),
        (85_300, "85.3 us"),
        (2_450_000, "2.45 ms"),
        (12e9, "12 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(ns, text):
    assert duration(ns) == text


def test_bars_stand_behind_each_other_and_fill_the_line():
    begin, line = 0.0, [" "] * len(_bar(0, 1))
    for share in (0.1, 0.25, 0.0, 0.65):
        bar = _bar(begin, share)
        assert len(bar) == len(line)
        assert (bar.strip() == "") == (share == 0)
        line = ["#" if new == "#" else old for new, old in zip(bar, line, strict=True)]
        begin += share
    assert set(line) == {"#"}


def test_a_share_at_the_end_stays_within_the_line():
    assert len(_bar(1.2, 0.3)) == len(_bar(0, 1))
