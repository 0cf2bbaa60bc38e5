"""Docker, Compose and Swarm: their tables, held against every field of a manifest."""

import pytest

from modelworks.ext.targets.compose import ComposeTarget
from modelworks.ext.targets.docker import DockerTarget
from modelworks.ext.targets.swarm import SwarmTarget
from modelworks.testing.targets import TableCase, TargetTable


class TestDockerTable(TargetTable):
    @pytest.fixture(params=["bridge", "host"])
    def case(self, request, tmp_path):
        return TableCase(DockerTarget, DockerTarget().open({"network": request.param}, tmp_path))


class TestComposeTable(TargetTable):
    @pytest.fixture(params=["bridge", "host"])
    def case(self, request, tmp_path):
        return TableCase(ComposeTarget, ComposeTarget().open({"network": request.param}, tmp_path))


class TestSwarmTable(TargetTable):
    @pytest.fixture(params=["host", "ingress"])
    def case(self, request, tmp_path):
        common = {"access": {"expose": "public"}} if request.param == "ingress" else {}
        opened = SwarmTarget().open({"network": request.param}, tmp_path)
        return TableCase(SwarmTarget, opened, common)
