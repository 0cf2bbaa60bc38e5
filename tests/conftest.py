"""What every test may ask for."""

import os
from pathlib import Path

import pytest

from modelworks.core.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty data folder."""
    return Home(tmp_path / "home").create()


def missing(part: str, install: str) -> None:
    """A real part is not there: a failure in CI, elsewhere a skip that says what to install."""
    message = f"{part} is not here; install it with: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
