"""Counts and quantiles out of a Prometheus exposition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.control.exposition import Counts, quantile, read

pytestmark = pytest.mark.unit

TEXT = """\
# HELP modelworks_requests_total x
modelworks_requests_total{model="",version="",outcome="invalid",code="4xx"} 9
modelworks_requests_total{model="m",version="1.0.0",outcome="success",code="2xx"} 90
modelworks_requests_total{model="m",version="1.0.0",outcome="failed",code="5xx"} 10
modelworks_requests_total{model="m",version="1.0.0",outcome="cancelled",code="none"} 5
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="total",le="0.001"} 50
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="total",le="0.01"} 90
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="total",le="+Inf"} 90
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="queue",le="+Inf"} 7
other_metric{model="m"} 3
other 3
"""


def test_an_exposition_is_counted_by_model_and_version():
    assert read(TEXT) == {
        ("m", "1.0.0"): Counts(105.0, 10.0, {0.001: 50.0, 0.01: 90.0, math.inf: 90.0})
    }


def test_quantiles_are_linear_within_a_bucket():
    buckets = {0.001: 50.0, 0.01: 90.0, math.inf: 90.0}
    assert quantile(buckets, 0.25) == pytest.approx(0.0005 * 0.9)
    assert quantile(buckets, 50 / 90) == pytest.approx(0.001)
    assert quantile(buckets, 70 / 90) == pytest.approx(0.0055)
    assert quantile(buckets, 1.0) == pytest.approx(0.01)


def test_quantiles_of_nothing_and_beyond_the_last_bound():
    assert quantile({}, 0.5) is None
    assert quantile({0.1: 0.0, math.inf: 0.0}, 0.5) is None
    assert quantile({0.1: 0.0, math.inf: 1.0}, 0.99) == 0.1


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_quantiles_rise_with_the_share_and_stay_between_the_bounds(counts, one, other):
    buckets = {0.001 * 2**i: float(sum(counts[: i + 1])) for i in range(len(counts))}
    low, high = (quantile(buckets, share) for share in sorted((one, other)))
    if not sum(counts):
        assert low is high is None
    else:
        assert 0 <= low <= high <= max(buckets) * (1 + 1e-9)


def test_a_server_that_began_anew_counts_from_zero():
    old, new = Counts(100, 1, {math.inf: 100.0}), Counts(3, 0, {math.inf: 3.0})
    assert new.since(old) == new
    assert old.since(new) == Counts(97, 1, {math.inf: 97.0})


@given(st.text(max_size=40) | st.sampled_from(TEXT.splitlines()).map(lambda t: t[:-3] + "x"))
def test_what_is_no_exposition_is_passed_over_or_refused(text):
    try:
        assert isinstance(read(text), dict)
    except ValueError as error:
        assert str(error)
