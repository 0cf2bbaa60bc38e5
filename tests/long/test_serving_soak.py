"""A million requests, every answer checked, while models and processes come and go."""

import sys

import pytest

from soak_movers import FACTORS, by_isolation
from soak_run import Plan, Soak

pytestmark = [pytest.mark.long, pytest.mark.timeout(1700)]
EVICTIONS = 25  # in threads, and in processes of their own
SHARE, LEAST = 0.05, 8e6  # of resident memory, and bytes: what it may grow by after its warm-up


def test_a_million_requests_and_constant_trouble(tmp_path):
    # Trouble takes its time, and a fast machine has its million soon: it goes on until all is done.
    plan = Plan(
        requests=1_000_000, every=6_000, bad=150, seconds=1500, acts=66, evictions=EVICTIONS
    )
    report = Soak(tmp_path, plan).run()
    sys.stdout.write(f"{report}\n")
    assert report.score.wrong == [], report
    assert report.left == [], report
    assert report.score.answered >= 1_000_000, report
    assert min(report.acts.values()) >= 10, report
    assert min(report.bad.values()) >= 100, report
    assert min(by_isolation(report.evictions).values()) >= EVICTIONS, report
    for name in FACTORS:
        assert report.score.statuses[name, 200] > 4 * report.score.statuses[name, 503], report
    for pid in report.watch.pids:
        grown, size = report.watch.growth(pid)
        assert grown < max(LEAST, SHARE * size), report
