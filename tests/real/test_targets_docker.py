"""The target `docker` on real engines: with a bridge, and in the machine's own network."""

import pytest

from containers import docker_engine
from modelworks.ext.targets.docker import DockerTarget
from modelworks.testing.targets import TargetContract
from target_images import case_on

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def bridged():
    with docker_engine(bridge=True) as engine:
        yield engine


@pytest.fixture(scope="module")
def hosted():
    with docker_engine(bridge=False) as engine:
        yield engine


def less_memory(engine):
    def disturb(names):
        one = next(name for name in names if "network" not in name)
        engine.docker("update", "--memory=300m", "--memory-swap=300m", one)

    return disturb


class TestBridge(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, bridged, tmp_path_factory):
        folder = tmp_path_factory.mktemp("docker")
        return case_on(bridged, DockerTarget, folder, {}, less_memory(bridged))


class TestHost(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, hosted, tmp_path_factory):
        folder = tmp_path_factory.mktemp("docker")
        return case_on(hosted, DockerTarget, folder, {"network": "host"}, less_memory(hosted))
