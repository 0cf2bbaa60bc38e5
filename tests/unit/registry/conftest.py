"""A registry on real stores of both kinds, with a clock that the test moves."""

from dataclasses import dataclass

import pytest

from modelworks.blobs.store import BlobStore
from modelworks.db.engine import open_database
from modelworks.registry.service import Registry


@dataclass
class Clock:
    now: int = 1_000_000_000_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database(home, stores):
    database = open_database(stores.database or home.database)
    yield database
    database.close()


@pytest.fixture
def blobs(home, stores):
    return BlobStore(stores.artifacts or home.blobs, stores.access)


@pytest.fixture
def registry(database, blobs, home, clock):
    return Registry(database.tenant(), blobs, home.cache, "ada", clock)
