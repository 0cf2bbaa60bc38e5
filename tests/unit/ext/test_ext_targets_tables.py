"""Docker, Compose and Swarm: their tables, held against every field of a manifest."""

import json
import subprocess
import sys

import pytest
import yaml

from modelworks.core.deployment import Share, Wanted
from modelworks.core.errors import InvalidError
from modelworks.ext.targets.compose import ComposeTarget
from modelworks.ext.targets.docker import DockerTarget
from modelworks.ext.targets.swarm import SwarmTarget
from modelworks.testing.target_fields import revision_of, spec_of
from modelworks.testing.targets import TableCase, TargetTable

FULL = {
    "environment": {"PRICE": "$5 and ${HOME}"},
    "secrets": [
        {"name": "TOKEN", "source": {"file": "/etc/token"}},
        {"name": "LICENCE", "source": {"variable": "L"}, "mount": True},
    ],
    "resources": {"cpu": 0.5, "cpu_limit": 2, "memory": "512Mi"},
    "access": {"keys": {"file": "/etc/keys"}, "expose": "public"},
}


class TestDockerTable(TargetTable):
    @pytest.fixture
    def case(self, tmp_path):
        return TableCase(DockerTarget, DockerTarget().open({}, tmp_path))


class TestComposeTable(TargetTable):
    @pytest.fixture
    def case(self, tmp_path):
        return TableCase(ComposeTarget, ComposeTarget().open({}, tmp_path))


class TestSwarmTable(TargetTable):
    @pytest.fixture
    def case(self, tmp_path):
        return TableCase(SwarmTarget, SwarmTarget().open({}, tmp_path))


def rendered(kind, folder, said, **settings):
    """The one object of two revisions (or of one, where the target rolls), and its text."""
    spec = spec_of(kind.name, said)
    revisions = [revision_of(spec, images=True, number=number) for number in (2, 1)]
    shares = tuple(Share(one, 2) for one in revisions[: 1 if kind.rolls else 2])
    return kind().open(settings, folder).render(Wanted("fraud", shares))


@pytest.mark.parametrize("network", ["bridge", "host"])
@pytest.mark.parametrize("said", [{}, FULL])
def test_a_compose_file_is_valid(tmp_path, said, network):
    [file] = rendered(ComposeTarget, tmp_path, said, network=network)
    (tmp_path / file.path).write_text(file.text)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"),
            tmp_path / file.path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_compose_puts_no_variables_in(tmp_path):
    [file] = rendered(ComposeTarget, tmp_path, FULL)
    service = yaml.safe_load(file.text)["services"]["r2"]
    assert service["environment"]["PRICE"] == "$$5 and $${HOME}"


@pytest.mark.parametrize("kind", [DockerTarget, ComposeTarget])
def test_two_revisions_join_one_network_and_nobody_publishes_but_it(tmp_path, kind):
    texts = "".join(one.text for one in rendered(kind, tmp_path, FULL))
    assert texts.count("127.0.0.1:8080") == 0
    assert texts.count("network-8080-public") >= 2
    published = "PortBindings" if kind is DockerTarget else "ports:"
    assert texts.count(published) == 1
    on_host = "".join(one.text for one in rendered(kind, tmp_path, {}, network="host"))
    assert published not in on_host
    assert "MODELWORKS_SERVER_HOST" in on_host
    assert "0.0.0.0" not in on_host


def test_every_container_is_held_to_the_same(tmp_path):
    bodies = [json.loads(one.text)["create"] for one in rendered(DockerTarget, tmp_path, FULL)]
    assert len(bodies) == 3
    for body in bodies:
        assert body["User"] == "10001:10001"
        assert body["HostConfig"]["ReadonlyRootfs"]
        assert body["HostConfig"]["CapDrop"] == ["ALL"]
        assert body["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
        assert body["HostConfig"]["Memory"] == body["HostConfig"]["MemorySwap"] > 0


@pytest.mark.parametrize("kind", [DockerTarget, ComposeTarget, SwarmTarget])
def test_a_network_and_a_host_that_cannot_be_are_refused(tmp_path, kind):
    with pytest.raises(InvalidError) as caught:
        kind().open({"network": "moon"}, tmp_path)
    assert caught.value.field == "target.settings.network"
    with pytest.raises(InvalidError) as caught:
        kind().open({"host": "ftp://x"}, tmp_path)
    assert caught.value.field == "target.settings.host"


def test_the_mesh_publishes_a_port_and_the_host_none(tmp_path):
    [mesh] = rendered(SwarmTarget, tmp_path, FULL, network="ingress")
    assert json.loads(mesh.text)["service"]["EndpointSpec"]["Ports"][0]["PublishedPort"] == 8080
    [host] = rendered(SwarmTarget, tmp_path, FULL)
    assert "EndpointSpec" not in json.loads(host.text)["service"]


@pytest.mark.parametrize("labels", [{"example.com/disk": "ssd"}, {"disk": ""}])
def test_swarm_has_no_constraint_for_some_labels(labels):
    can = SwarmTarget.capabilities["placement.node_labels"]
    assert can.refuses(labels, {})
    assert not can.refuses({"disk": "ssd"}, {})
