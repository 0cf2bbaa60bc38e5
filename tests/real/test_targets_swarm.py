"""The target `swarm` on a real one of one node, in the node's network.

The routing mesh is not tested for real: it wants IPVS of the kernel.
"""

import pytest

from containers import docker_engine
from modelworks.ext.targets.swarm import SwarmTarget
from modelworks.testing.targets import TargetContract
from target_images import case_on, handing_on

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engine():
    with docker_engine(bridge=True) as engine:
        listen = ["--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1:12377"]
        engine.docker("swarm", "init", *listen)
        yield handing_on(engine)


class TestSwarm(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, engine, tmp_path_factory):
        def more_memory(names):
            service = names[0].partition(".")[0]
            engine.docker("service", "update", "-d", "--limit-memory=700m", service)

        folder = tmp_path_factory.mktemp("swarm")
        return case_on(engine, SwarmTarget, folder, {"network": "host"}, more_memory)
