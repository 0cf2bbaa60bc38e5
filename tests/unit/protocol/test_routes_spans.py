"""Shares become buckets fairly, and no more callers move than have to."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError
from modelworks.core.routes import BUCKETS, Span
from modelworks.protocol.routes import spans

pytestmark = pytest.mark.unit


def owners(found):
    assert found[0].first == 0
    assert found[-1].end == BUCKETS
    assert [span.end for span in found[:-1]] == [span.first for span in found[1:]]
    return [span.arm for span in found for _ in range(span.first, span.end)]


def test_five_to_ten_percent_moves_five_percent_in_two_spans():
    five = spans((), {"old": 0.95, "new": 0.05})
    ten = spans(five, {"old": 0.9, "new": 0.1})
    assert ten == (Span(0, 9000, "old"), Span(9000, 10000, "new"))
    moved = [(a, b) for a, b in zip(owners(five), owners(ten), strict=True) if a != b]
    assert moved == [("old", "new")] * 500
    assert spans(ten, {"old": 1.0}) == (Span(0, BUCKETS, "old"),)
    assert spans(ten, {"old": 0.95, "new": 0.05}) == five  # those who came last go first


def test_a_third_arm_takes_from_the_one_that_shrinks_only():
    before = spans((), {"a": 0.8, "b": 0.2})
    after = spans(before, {"a": 0.7, "b": 0.2, "c": 0.1})
    moved = Counter((a, b) for a, b in zip(owners(before), owners(after), strict=True) if a != b)
    assert moved == {("a", "c"): 1000}


def test_thirds_are_rounded_by_largest_remainder():
    third = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
    counts = Counter(owners(spans((), third)))
    assert counts == {"a": 3334, "b": 3333, "c": 3333}
    assert spans(spans((), third), third) == spans((), third)


shares = st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any)


def named(parts, order):
    total = sum(parts)
    return {f"arm{order[i]}": part / total for i, part in enumerate(parts)}


@given(st.lists(st.tuples(shares, st.permutations(range(6))), min_size=2, max_size=6))
def test_every_change_is_the_least_one(steps):
    before = spans((), named(*steps[0]))
    for parts, order in steps[1:]:
        wanted = named(parts, order)
        after = spans(before, wanted)
        was, now = owners(before), owners(after)
        had, has = Counter(was), Counter(now)
        for arm, share in wanted.items():
            assert abs(has[arm] - share * BUCKETS) < 1
        moved = sum(a != b for a, b in zip(was, now, strict=True))
        assert moved == sum(max(0, has[arm] - had[arm]) for arm in has)
        assert all(a.arm != b.arm for a, b in pairwise(after))
        assert spans(after, wanted) == after
        before = after


@pytest.mark.parametrize(
    ("before", "wanted", "message"),
    [
        ((), {"a": 0.5}, "not 1"),
        ((), {}, "not 1"),
        ((), {"a": 1.5, "b": -0.5}, "0 to 1"),
        ((), {"a": float("nan")}, "0 to 1"),
        ((Span(0, 10, "a"),), {"a": 1.0}, "without gaps"),
        ((Span(0, 10, "a"), Span(20, BUCKETS, "a")), {"a": 1.0}, "without gaps"),
    ],
)
def test_what_is_no_share_is_refused(before, wanted, message):
    with pytest.raises(InvalidError, match=message):
        spans(before, wanted)
