"""Which samples of the past an hour is compared with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.series import Series
from modelworks.monitor.alerts.learned import HOUR, _hour, _seasonal
from modelworks.monitor.alerts.samples import Row

pytestmark = pytest.mark.unit
START = 1_790_000_000 // HOUR


@given(
    st.lists(st.integers(0, 20 * 24 * 60), unique=True, max_size=300),
    st.integers(-30 * 24, 30 * 24),
    st.sampled_from([24, 168]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_they_are_those_of_the_hour_and_its_neighbours(minutes, hour, season, off):
    times = [START * HOUR + 60 * minute + off for minute in sorted(minutes)]
    row = Row(Series("n", {}, times, [float(n) for n in range(len(times))]))
    here = START + hour
    near = {(here + further) % season for further in (-1, 0, 1)}
    wanted = [
        value
        for time, value in zip(row.times, row.values, strict=True)
        if _hour(time) % season in near
    ]
    assert _seasonal(row, here, season) == wanted


def test_a_sample_on_the_hour_belongs_to_the_one_before():
    times = [float(START * HOUR + n * HOUR) for n in range(-2, 4)]
    row = Row(Series("n", {}, times, [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]))
    assert _seasonal(row, START, 24) == [0.0, 1.0, 2.0]
