"""The control plane's app over a real registry, called in-process."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import StarletteDeprecationWarning

from modelworks.api.app import create_app
from modelworks.api.uploads import Limits
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.semver import Semver
from modelworks.testing.candidates import candidate

with warnings.catch_warnings():  # it would rather have a successor of the httpx that we pin
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient


@dataclass
class Plane:
    """A control plane and what stands behind it."""

    factory: Factory
    client: TestClient
    work: Path

    def put(self, name: str = "fraud", content: bytes = b"model", **more: Any):
        return self.factory.publish(candidate(self.work, content, name, **more))


@contextmanager
def opened(folder: Path) -> Iterator[Plane]:
    with Factory(Home(folder / "home")) as factory:
        watch = Watch(factory.home)
        app = create_app(factory, watch, hosts=("console.example",), limits=Limits(1 << 20, 1))
        with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
            yield Plane(factory, client, folder / "work")
        watch.close()


@pytest.fixture
def plane(tmp_path):
    with opened(tmp_path) as plane:
        yield plane


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """One for all tests that change nothing: it has `fraud:1.0.0`, which is `fraud@old`."""
    with opened(tmp_path_factory.mktemp("unchanged")) as plane:
        plane.put(alias="old")
        yield plane


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """One for tests of what is refused: `fraud:1.0.0`, the champion, and `fraud:2.0.0`."""
    with opened(tmp_path_factory.mktemp("refusing")) as plane:
        for version in ("1.0.0", "2.0.0"):
            plane.put("fraud", version.encode(), version=Semver.parse(version))
        plane.factory.set_alias("fraud", "champion", "1.0.0")
        yield plane
