"""A real listener on a loop in a thread, for every test that wants one."""

import contextlib
from collections.abc import Iterator

import pytest

from edge_served import SMALL, Served


@pytest.fixture(scope="package")
def served() -> Iterator[Served]:
    with Served(SMALL) as it:
        yield it


@pytest.fixture
def serve():
    """Start one with limits of the test's own."""
    with contextlib.ExitStack() as stack:
        yield lambda limits, *, uvloop=True: stack.enter_context(Served(limits, uvloop=uvloop))
