"""The histogram beside numpy's own percentiles, and its bounds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError
from modelworks.measure.histogram import RESOLUTION, Histogram
from properties import examples

pytestmark = pytest.mark.unit
TIMES = st.lists(st.integers(0, 2**42 - 1), min_size=1, max_size=300)
PERCENTS = (0.1, 1, 50, 90, 99, 99.9, 100)
FEW = examples(40)


def filled(values) -> Histogram:
    found = Histogram()
    found.record(values)
    return found


@FEW
@given(TIMES)
def test_percentiles_are_numpys_nearest_rank_within_the_resolution(values):
    found = filled(values)
    for percent in PERCENTS:
        true = int(np.percentile(values, percent, method="inverted_cdf"))
        shown = found.percentile(percent)
        assert true <= shown <= true * (1 + RESOLUTION)


@pytest.mark.parametrize("spread", ["lognormal", "exponential", "pareto"])
def test_many_from_a_heavy_tail(spread):
    generator = np.random.default_rng(1)
    made = {
        "lognormal": lambda: generator.lognormal(12, 1.5, 300_007),
        "exponential": lambda: generator.exponential(3e6, 300_007),
        "pareto": lambda: generator.pareto(1.5, 300_007) * 1e5,
    }[spread]().astype(np.int64)
    found = filled(made)
    latency = found.latency()
    assert latency.count == 300_007
    assert latency.mean == pytest.approx(made.mean() / 1e9)
    assert latency.max == made.max() / 1e9
    for percent, shown in ((50, latency.p50), (99, latency.p99), (99.9, latency.p999)):
        true = np.percentile(made, percent, method="inverted_cdf") / 1e9
        assert true <= shown <= true * (1 + RESOLUTION)
    assert latency.beyond_p99 <= 3000
    assert latency.beyond_p999 <= 300


@FEW
@given(TIMES, TIMES)
def test_merging_is_recording_both(left, right):
    merged = filled(left)
    merged.merge(filled(right))
    assert merged.document() == filled([*left, *right]).document()


@FEW
@given(TIMES)
def test_its_document_is_the_whole_of_it(values):
    found = filled(values)
    again = Histogram.of(json.loads(json.dumps(found.document())))
    assert again.latency() == found.latency()
    assert again.buckets() == found.buckets()
    assert sum(count for _, count in found.buckets()) == len(values)


def test_memory_does_not_grow():
    found = Histogram()
    size = found.counts.nbytes
    found.record(np.arange(1_000_000))
    found.record([2**50, -5])
    assert found.counts.nbytes == size < 200_000
    assert found.count == 1_000_002
    assert found.max == 2**50


def test_small_values_are_exact_and_negative_ones_zero():
    found = filled([-1, 0, 1, 2, 1023])
    assert found.buckets() == [(0, 2), (1, 1), (2, 1), (1023, 1)]
    assert (found.within(-1), found.within(0), found.within(1022), found.within(1023)) == (
        *(0, 2, 4),
        5,
    )


def test_nothing_recorded():
    found = Histogram()
    found.record([])
    assert found.percentile(99) == 0
    assert found.latency().max == 0
    assert found.buckets() == []


def test_another_layout_is_refused():
    with pytest.raises(InvalidError, match="10 are wanted"):
        Histogram.of({"bits": 7, "places": [], "counts": []})
