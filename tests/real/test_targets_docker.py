"""The target `docker` on a real engine: with a published port, and in the engine's own network."""

import pytest

from containers import docker_engine
from modelworks.ext.targets.docker import DockerTarget
from modelworks.testing.targets import TargetContract
from target_images import case_on, handing_on

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engine():
    with docker_engine(bridge=True) as engine:
        yield handing_on(engine)


def less_memory(engine):
    def disturb(names):
        one = next(name for name in names if "network" not in name)
        engine.docker("update", "--memory=300m", "--memory-swap=300m", one)

    return disturb


class TestBridge(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, engine, tmp_path_factory):
        folder = tmp_path_factory.mktemp("docker")
        return case_on(engine, DockerTarget, folder, {}, less_memory(engine))


@pytest.mark.long  # the contract holds in the engine's own network in every run
class TestHost(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, engine, tmp_path_factory):
        folder = tmp_path_factory.mktemp("docker")
        return case_on(engine, DockerTarget, folder, {"network": "host"}, less_memory(engine))
