"""What every test may ask for, and the time that each area took."""

import os
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

import containers
import properties  # noqa: F401 - loads the profile that property tests run with
import store_servers
from modelworks.core.home import Home, Stores

TESTS = Path(__file__).resolve().parent
# Pytest keeps the modules whose asserts it rewrote, whatever the environment says: to rewrite all
# of them takes each of its processes some ten seconds.
sys.dont_write_bytecode = False


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty data folder."""
    return Home(tmp_path / "home").create()


@pytest.fixture(scope="session")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file with 24 MB of weights, made once."""
    from modelworks.testing import onnx_models

    path = tmp_path_factory.mktemp("heavy") / "heavy.onnx"
    return onnx_models.heavy(path, layers=6, width=1024)


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL server."""
    with store_servers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server."""
    with store_servers.s3() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server():
    """A Google Cloud Storage server."""
    with store_servers.gcs() as server:
        yield server


@pytest.fixture(scope="session")
def azure_server():
    """An Azure Blob Storage server."""
    with store_servers.azure() as server:
        yield server


@pytest.fixture(scope="session")
def bridged_docker():
    """A dockerd with a network of its own; a test removes what it makes."""
    with containers.docker_engine(bridge=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def host_docker():
    """A dockerd in this machine's network; a test removes what it makes."""
    with containers.docker_engine(bridge=False) as engine:
        yield engine


@pytest.fixture
def postgres_url(postgres_server):
    """The URL of a database of this test's own, with our tables."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite+folder", pytest.param("postgresql+s3", marks=pytest.mark.real)])
def stores(request) -> Stores:
    """Where a registry keeps its things: once on this machine alone, once in servers."""
    if request.param == "sqlite+folder":
        return Stores()
    buckets = request.getfixturevalue("s3_server")
    return buckets.stores(request.getfixturevalue("postgres_url"))


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


_KINDS = frozenset(
    {"unit", "contract", "real", "long", "story", "alone", "gpu", "llamacpp", "vllm"}
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A test without a mark is a unit test: one that no run selects would never be run."""
    for item in items:
        if not _KINDS.intersection(mark.name for mark in item.iter_markers()):
            item.add_marker(pytest.mark.unit)
