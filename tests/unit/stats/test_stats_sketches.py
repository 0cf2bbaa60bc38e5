"""Sketches add up exactly, and survive the way to bytes and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import CorruptError
from modelworks.stats.sketches import Sketch, decode, encode, merge, moments, smallest
from properties import examples

NAMES = st.lists(st.tuples(st.text(max_size=20), st.integers(1, 1 << 20)), max_size=8)
SKETCHES = st.builds(
    lambda counts, first, second, names: Sketch(
        tuple(counts), first, second, smallest(_writable(names))
    ),
    st.lists(st.integers(0, 1 << 40), min_size=6, max_size=6),
    st.integers(-(1 << 50), 1 << 50),
    st.integers(0, 1 << 60),
    NAMES,
)


def _writable(names):
    return [(name.encode("utf-8", "replace").decode(), count) for name, count in names]


@given(SKETCHES, SKETCHES, SKETCHES)
@examples(60)
def test_merging_is_associative_and_commutative(one, two, three):
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, two) == merge(two, one)


@given(SKETCHES)
@examples(60)
def test_bytes_come_back(sketch):
    data = encode(sketch)
    assert decode(data) == (sketch, len(data))
    assert decode(b"xyz" + data + b"rest", 3) == (sketch, len(data) + 3)


@given(SKETCHES, st.integers(0, 200))
@examples(40)
def test_a_cut_sketch_is_told(sketch, length):
    data = encode(sketch)
    if length < len(data):
        with pytest.raises(CorruptError):
            decode(data[:length])


@given(st.binary(max_size=40))
@examples(80)
def test_any_bytes_are_a_sketch_or_corrupt(data):
    try:
        sketch, place = decode(data)
    except CorruptError:
        return
    assert place <= len(data)
    assert len(sketch.counts) >= 0


def test_a_number_without_end_is_told():
    with pytest.raises(CorruptError, match="does not end"):
        decode(b"\xff" * 60)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=20), min_size=1, max_size=4))
@examples(40)
def test_names_of_parts_are_those_of_the_whole(parts):
    whole = smallest((name, 1) for part in parts for name in part)
    merged = Sketch((0,))
    for part in parts:
        merged = merge(merged, Sketch((0,), named=smallest((name, 1) for name in part)))
    assert merged.named == whole


def test_moments_are_those_of_the_values():
    values = np.random.default_rng(0).normal(5, 2, 5000)
    sketch = Sketch((5000,), *moments(values, 4.0, 2.0))
    assert sketch.mean(5000) == pytest.approx((values.mean() - 4) / 2, abs=1e-4)
    assert sketch.deviation(5000) == pytest.approx(values.std() / 2, abs=1e-3)
    assert np.isnan(Sketch((0,)).mean(0))
    assert np.isnan(Sketch((0,)).deviation(0))


def test_an_hour_of_a_thousand_rows_takes_under_forty_bytes():
    rng = np.random.default_rng(1)
    counts = (*rng.multinomial(1000, [0.1] * 10).tolist(), 0, 1, 3, 0)
    assert len(encode(Sketch(counts, *moments(rng.normal(size=1000), 0.0, 1.0)))) < 40


def test_other_cells_are_refused():
    with pytest.raises(ValueError, match="sketches of 1 and of 2"):
        merge(Sketch((1,)), Sketch((1, 2)))
