"""Fifty random kills of a server, its workers too, under a load of jobs."""

import pytest

from jobs_killed import kills
from modelworks.testing import onnx_models as models
from store_servers import free_port

pytestmark = pytest.mark.long


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_kills_lose_nothing_and_record_nothing_twice(tmp_path, workers):
    path = models.double(tmp_path / "double.onnx")
    kills(path, tmp_path / "jobs", free_port(), 50, workers, seed=workers)
