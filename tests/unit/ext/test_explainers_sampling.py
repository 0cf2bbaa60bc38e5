"""Sampled values: exact sums, honest standard errors, bounded calls."""

import numpy as np
import pytest

from modelworks.ext.explainers.permutation import PermutationExplainer


def tangled(rows):
    """Products of features: walks of different orders say different things."""
    return rows[:, 0] * rows[:, 1] + rows[:, 2] * rows[:, 3] * rows[:, 4] + rows[:, 5]


def explain(rows, background, **options):
    return PermutationExplainer().explain(tangled, rows, background, options)


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 9)), rng.normal(size=(16, 9))


def test_sampled_values_sum_up_exactly(tables):
    rows, background = tables
    found = explain(rows, background, samples=18 * 16)
    total = found.values.sum(axis=1) + tangled(background).mean()
    assert total == pytest.approx(tangled(rows), abs=1e-9)
    assert found.error.shape == found.values.shape


def test_a_background_of_more_rows_than_walks_is_drawn_from(tables):
    rows, background = tables
    found = explain(rows, background, samples=18 * 4)
    assert found.values.sum(axis=1) + found.base == pytest.approx(tangled(rows), abs=1e-9)


def test_the_truth_lies_within_the_standard_errors(tables):
    """Of nine in ten at least: two standard errors of 16 walks cover about 0.94."""
    rows, background = tables
    truth = explain(rows, background, samples=len(background) << 9)
    assert truth.error is None
    found = explain(rows, background, samples=18 * 16)
    moved = found.error > 1e-9
    near = np.abs(found.values - truth.values) <= 2 * found.error + 1e-9
    assert near[moved].mean() > 0.9
    assert moved.mean() > 0.5


def test_no_more_calls_than_asked_for(tables):
    rows, background = tables
    found = explain(rows, background, samples=18 * 16)
    assert found.calls <= len(rows) * 18 * 16 + len(background)


def test_classes_are_explained_each(tables):
    rows, background = tables

    def two(table):
        one = 1 / (1 + np.exp(-tangled(table)))
        return np.stack([1 - one, one], axis=1)

    found = PermutationExplainer().explain(two, rows, background, {"samples": 18 * 16})
    assert found.values.shape == (30, 9, 2)
    assert found.base.shape == (2,)
    assert found.values[..., 0] == pytest.approx(-found.values[..., 1], abs=1e-9)


def test_one_feature_is_the_whole_difference():
    rows, background = np.array([[3.0]]), np.array([[1.0], [2.0]])
    found = PermutationExplainer().explain(lambda x: x[:, 0], rows, background, {})
    assert found.values.tolist() == [[1.5]]
