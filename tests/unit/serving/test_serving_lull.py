"""The moment after a long call, in which an idle engine looks for those it has just answered."""

import pytest

from modelworks.serving.batcher.lull import Lull

pytestmark = pytest.mark.unit
CALL_NS = 6_400_000
GAP = CALL_NS // 64


def lull(rows=6, waiting=2):
    made = Lull(lambda _rows: CALL_NS)
    made.ended(rows, waiting)
    return made


def moment(made, arrivals, size=64, waiting=2):
    """How long a moment lasts and what waits at its end; `arrivals` are times."""
    now = 0
    while made.lasts(waiting + sum(at <= now for at in arrivals), size, now):
        now += GAP // 10
    return now, waiting + sum(at <= now for at in arrivals)


def test_it_lasts_until_all_are_back_who_were_there():
    taken, waiting = moment(lull(), [GAP // 2 * n for n in range(1, 7)])
    assert waiting == 8
    assert taken == pytest.approx(3 * GAP, rel=0.1)


def test_it_is_over_when_nobody_comes():
    assert moment(lull(), [])[0] == GAP


def test_whoever_comes_it_is_over_after_four_times_as_long():
    taken, _ = moment(lull(rows=1000), [GAP // 2 * n for n in range(1, 100)])
    assert taken == pytest.approx(4 * GAP, rel=0.1)


def test_no_moment_where_nobody_is_missing():
    assert moment(Lull(lambda _rows: CALL_NS), [])[0] == 0
    assert moment(lull(rows=1, waiting=1), [])[0] == 0
    assert moment(lull(), [], size=2)[0] == 0
    assert moment(lull(), [], size=3)[0] == GAP


def test_a_call_of_unknown_length_has_a_moment_of_half_a_millisecond():
    made = Lull(lambda _rows: float("inf"))
    made.ended(6, 2)
    assert made.lasts(2, 64, 0)
    assert made.lasts(2, 64, 499_999)
    assert not made.lasts(2, 64, 500_000)


def test_moments_in_vain_come_to_an_end_and_are_tried_again_now_and_then():
    made = lull()
    moments = []
    for _ in range(200):
        made.ended(6, 2)
        moments.append(moment(made, [])[0] > 0)
    assert all(moments[:4])
    assert 2 <= sum(moments[4:]) <= 4
    while not made.lasts(2, 64, 0):
        made.ended(6, 2)
    assert not made.lasts(8, 64, 1)  # they came
    made.ended(6, 2)
    assert moment(made, [])[0] == GAP


def test_callers_who_left_are_forgotten():
    made = lull()
    for _ in range(8):
        made.ended(1, 1)
    assert moment(made, [])[0] == 0
