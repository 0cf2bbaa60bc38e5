"""The bar of drift's alarms in full: twenty years of two hundred features, hour by hour."""

import numpy as np
import pytest

import drift_weeks

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def test_at_most_five_percent_of_the_weeks_have_a_false_alarm():
    found = drift_weeks.calm(features=200, weeks=1044, rows=1000, seed=1)
    assert found.weeks == 1044
    assert found.alarmed <= 0.05 * found.weeks


@pytest.mark.parametrize("rows", [100, 1000, 10_000])
def test_drifts_of_the_table_are_found(rows):
    for planted in drift_weeks.PLANTED:
        found = drift_weeks.delays(planted, rows, features=200, trials=40, seed=2)
        if rows >= 1000:  # the table in docs/drift.md says what fewer rows cost
            assert np.isfinite(np.median(found)), planted
