"""The target `compose` on a real engine: with a published port, and in the engine's own network."""

import pytest

from containers import COMPOSE, docker_engine, program
from modelworks.ext.targets.compose import ComposeTarget
from modelworks.testing.targets import TargetContract
from target_images import case_on, handing_on

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engine():
    program(COMPOSE, "docker-compose")
    with docker_engine(bridge=True) as engine:
        yield handing_on(engine)


def removed(engine):
    return lambda names: engine.docker(
        "rm", "-f", next(name for name in names if "network" not in name)
    )


class TestBridge(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, engine, tmp_path_factory):
        folder = tmp_path_factory.mktemp("compose")
        return case_on(engine, ComposeTarget, folder, {}, removed(engine))


@pytest.mark.long  # the contract holds in the engine's own network in every run
class TestHost(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, engine, tmp_path_factory):
        folder = tmp_path_factory.mktemp("compose")
        return case_on(engine, ComposeTarget, folder, {"network": "host"}, removed(engine))
