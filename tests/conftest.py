"""What every test may ask for, and the time that each area took."""

import os
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from modelworks.core.home import Home

TESTS = Path(__file__).resolve().parent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty data folder."""
    return Home(tmp_path / "home").create()


def area(nodeid: str) -> str:
    """`unit/edge` of `tests/unit/edge/test_x.py::test_y`, `real` of `tests/real/...`."""
    parts = nodeid.partition("::")[0].split("/")[1:-1]
    return "/".join(parts[:2]) if parts[:1] == ["unit"] else "/".join(parts[:1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Who took more than `budget.toml` gives."""
    took: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[area(report.nodeid)] += report.duration
    budget = tomllib.loads((TESTS / "budget.toml").read_text())
    over = {
        name: (seconds, budget.get(name, 0))
        for name, seconds in took.items()
        if seconds > budget.get(name, 0)
    }
    for name, (seconds, given) in sorted(over.items()):
        terminalreporter.write_line(f"over budget: {name} took {seconds:.0f} s of {given} s")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A missing real part is a skip that says what to install; with CI=true it is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:
        return
    if reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line("CI=true: a skipped test is a failure; see the reasons below")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
