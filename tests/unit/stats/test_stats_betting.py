"""Betting on means: valid at every row, narrow, and the same in parts as in one."""

import math

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.stats.intervals import z_of
from modelworks.stats.sequences import betting, means


@pytest.mark.parametrize("law", ["beta", "rare"])
def test_a_mean_is_missed_no_more_often_than_declared_at_any_row(law):
    rng = np.random.default_rng(1)
    truth, missed, runs = (2 / 7 if law == "beta" else 0.02), 0, 100
    for _ in range(runs):
        rows = rng.beta(2, 5, 400) if law == "beta" else rng.binomial(1, 0.02, 400)
        missed += not betting.mean(rows, 0.2, 200).holds(truth)  # it never grows: the end is all
    assert missed <= runs * 0.2 + 3 * math.sqrt(runs * 0.2 * 0.8)


def test_the_interval_is_close_to_the_one_of_a_single_look():
    rng = np.random.default_rng(2)
    rows = rng.beta(10, 30, 5000)
    found = betting.mean(rows, 0.05, 4000)
    single = 2 * z_of(0.95) * rows.std() / math.sqrt(5000)
    assert found.holds(0.25)
    assert single < found.high - found.low < 2 * single


def test_rows_in_parts_give_what_they_give_at_once():
    rows = np.random.default_rng(3).beta(2, 5, 3000)
    parts = betting.begin(0.05)
    for start, end in ((0, 1), (1, 7), (7, 7), (7, 2000), (2000, 3000)):
        before = parts.between
        parts = parts.after(rows[start:end])
        assert before.low <= parts.low
        assert parts.high <= before.high
    assert parts.between == betting.mean(rows, 0.05)
    assert parts.rows == 3000


def test_pairs_that_are_alike_make_the_interval_narrower_than_sums_can():
    rng = np.random.default_rng(4)
    stable = rng.beta(2, 5, 2000)
    candidate = np.clip(stable + 0.02 + rng.normal(0, 0.02, 2000), 0, 1)
    found = betting.difference(stable, candidate, 0.05, 2000)
    sums = [(2000, v.sum(), (v * v).sum()) for v in (stable, candidate)]
    apart = means.difference(*sums, 0.05, 0.0, 1.0)
    assert found.holds(float((candidate - stable).mean()))
    assert found.low > 0.005
    assert found.high - found.low < (apart.high - apart.low) / 2


def test_what_lies_outside_is_refused():
    with pytest.raises(InvalidError, match="outside 0 to 1"):
        betting.mean([0.2, 1.4], 0.05)
    with pytest.raises(InvalidError, match="candidate: a value lies outside"):
        betting.difference([0.2], [-0.4], 0.05)
    assert betting.mean([], 0.05).high == 1.0
