"""Non-inferiority of a rate on the same rows: exact at small counts, whatever the nuisance rate."""

import math

import numpy as np
import pytest
from scipy.stats import beta, multinomial

from modelworks.stats import paired

pytestmark = pytest.mark.unit
ALPHA = 0.05


@pytest.mark.parametrize(("rows", "drop"), [(20, 0.15), (32, 0.1)])
def test_a_drop_at_the_limit_is_refuted_in_at_most_its_share_of_cases(rows, drop):
    counts = [(b, c) for b in range(rows + 1) for c in range(min(rows - b, 12) + 1) if b <= c + 14]
    refuted = [at for at in counts if paired.p_value(*at, rows, drop, ALPHA) <= ALPHA]
    assert refuted
    for gains in (0.0, 0.01, 0.03, 0.07, 0.1):
        chances = [gains + drop, gains, 1 - 2 * gains - drop]
        law = multinomial(rows, chances)
        wrong = sum(float(law.pmf([b, c, rows - b - c])) for b, c in refuted)
        assert wrong <= ALPHA + 1e-9


def test_without_any_change_it_is_the_chance_that_no_row_shows_the_drop():
    for rows, drop in ((100, 0.02), (598, 0.005), (1000, 0.01)):
        found = paired.p_value(0, 0, rows, drop, ALPHA)
        never = (1 - drop) ** rows
        assert never < found < 1.02 * never + ALPHA / 500


def test_the_statistic_is_tangos():
    # Half of the squared statistic is close to the likelihood ratio's near the estimate; here it is
    # held against the likelihood's maximum, found by search.
    b, c, rows, drop = 12, 5, 120, 0.02
    rates = np.linspace(1e-6, 0.3, 300_001)
    likely = (
        b * np.log(rates + drop) + c * np.log(rates) + (rows - b - c) * np.log1p(-2 * rates - drop)
    )
    rate = rates[int(likely.argmax())]
    variance = rows * (2 * rate + drop - drop**2)
    wanted = (b - c - rows * drop) / math.sqrt(variance)
    assert float(paired.score(b, c, rows, drop)) == pytest.approx(wanted, abs=1e-3)


def test_the_bound_is_where_the_test_turns():
    for b, c, rows in ((0, 0, 300), (3, 1, 500), (2, 4, 200)):
        bound = paired.upper_bound(b, c, rows, ALPHA)
        assert bound > (b - c) / rows
        assert paired.p_value(b, c, rows, bound * 1.02 + 1e-5, ALPHA) <= ALPHA
        assert paired.p_value(b, c, rows, bound * 0.95 - 1e-5, ALPHA) > ALPHA


def test_of_very_many_rows_the_bound_is_the_normal_one():
    bound = paired.upper_bound(4000, 3900, 100_000, ALPHA)
    spread = math.sqrt(0.079) / math.sqrt(100_000)
    assert bound == pytest.approx(0.001 + 1.645 * spread, rel=0.02)


def test_so_many_rows_would_do_and_fewer_would_not():
    assert paired.rows_needed(0, 0, 100, 0.005, ALPHA) == 598
    needed = paired.rows_needed(3, 0, 755, 0.005, ALPHA)
    assert needed is not None
    share = needed / 755
    assert float(paired.score(3 * share, 0, needed, 0.005)) <= -1.644
    assert float(paired.score(3 * share * 0.8, 0, 0.8 * needed, 0.005)) > -1.6449
    assert paired.rows_needed(5, 0, 755, 0.005, ALPHA) is None
    assert paired.rows_needed(0, 0, 755, 0.0, ALPHA) is None


def test_a_rate_has_the_interval_of_clopper_and_pearson():
    for count, rows in ((0, 20), (3, 40), (40, 40), (700, 755)):
        low, high = paired.clopper_pearson(count, rows, ALPHA)
        first = beta.ppf(ALPHA / 2, count, rows - count + 1) if count else 0.0
        last = beta.ppf(1 - ALPHA / 2, count + 1, rows - count) if count < rows else 1.0
        assert (low, high) == pytest.approx((float(first), float(last)), abs=1e-9)


def test_nothing_is_known_of_no_rows():
    assert paired.p_value(0, 0, 0, 0.01) == 1.0
    assert paired.upper_bound(0, 0, 0, ALPHA) == 1.0
