"""The soak's short form: the same trouble as in `tests/long`, for half a minute."""

import pytest

from soak_movers import FACTORS, by_isolation
from soak_run import Plan, Soak

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
GROWTH = 12e6  # bytes; a short run has warm-up in it
ACTS = {"swap", "load", "unload", "kill_worker", "kill_model", "rest"}


def test_twelve_thousand_requests_and_constant_trouble(tmp_path):
    report = Soak(tmp_path, Plan(requests=12_000, every=400, bad=80, seconds=150)).run()
    assert report.score.wrong == [], report
    assert report.left == [], report
    assert set(report.acts) == ACTS, report
    assert len(report.bad) >= 8
    for kind in "abcdn":
        assert report.score.statuses[kind, 200] > 20, report
    for name in FACTORS:
        assert report.score.statuses[name, 200] > 0, report
    assert min(by_isolation(report.evictions).values()) >= 1, report
    for pid in report.watch.pids:
        assert report.watch.growth(pid)[0] < GROWTH, report
