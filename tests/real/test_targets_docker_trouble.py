"""What goes wrong on a real engine, and what the target `docker` says and does about it."""

import gc
import time
from dataclasses import replace

import pytest

from containers import docker_engine
from modelworks.core.deployment import Phase, Share
from modelworks.core.digest import of_file
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.served import ServedModel
from modelworks.ext.targets.docker import DockerTarget
from modelworks.testing import onnx_models
from modelworks.testing.target_life import Life
from target_images import case_on, handing_on

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
SOON_S = 60


@pytest.fixture(scope="module")
def engine():
    with docker_engine(bridge=True) as engine:
        yield handing_on(engine)


@pytest.fixture(scope="module")
def case(engine, tmp_path_factory):
    return case_on(engine, DockerTarget, tmp_path_factory.mktemp("docker"), {}, None)


@pytest.fixture
def life(case, tmp_path):
    path = onnx_models.double(tmp_path / "model.onnx", factor=2.0)
    life = Life(case, "mw-trouble", {1: ServedModel("fraud", "1.0.0", str(path), of_file(path))})
    try:
        yield life
    finally:
        life.opened.delete(life.name)
    assert not case.leftovers(life.name)


def until(what, life):
    end = time.monotonic() + SOON_S
    while not what(life.observe()):
        assert time.monotonic() < end, life.observe()
        time.sleep(0.1)
    return life.observe()


def other_image(life, number, name, **said):
    """A goal whose image is another."""
    goal = life.goal(number, 1, said=said)
    [share] = goal.shares
    life.known[number] = replace(share.revision, image=name)
    return replace(goal, shares=(Share(life.known[number], 1),))


def test_one_that_takes_too_much_memory_says_so(life):
    said = {
        "resources": {"cpu": 0.25, "memory": "16Mi"},
        # Else the server itself says that it is too little.
        "environment": {"MODELWORKS_SERVER_MEMORY_LIMIT": "none"},
    }
    life.opened.apply(life.goal(1, 1, said=said))
    seen = until(lambda seen: any(one.phase is Phase.FAILED for one in seen.replicas), life)
    assert "16 MiB of memory" in seen.replicas[0].reason
    assert "resources.memory" in seen.replicas[0].reason


def test_an_image_that_is_not_there_says_so(life):
    nowhere = f"127.0.0.1:9/models/fraud@sha256:{'ab' * 32}"
    with pytest.raises(InvalidError) as caught:
        life.opened.apply(other_image(life, 1, nowhere, image={"pull": "never"}))
    assert caught.value.field == "image.pull"
    with pytest.raises(UnavailableError, match="cannot be pulled now"):
        life.opened.apply(other_image(life, 2, nowhere))
    assert life.opened.observe(life.name) is None


@pytest.mark.parametrize(
    "change",
    [
        ["rm", "-f", "modelworks-mw-trouble-1-1"],
        ["stop", "-t", "1", "modelworks-mw-trouble-1-1"],
        ["pause", "modelworks-mw-trouble-1-1"],
        ["rm", "-f", "modelworks-mw-trouble-network-{port}-host"],
        ["restart", "-t", "1", "modelworks-mw-trouble-network-{port}-host"],
    ],
)
def test_what_was_changed_is_shown_and_put_right(life, engine, change):
    goal = life.goal(1, 1)
    life.settle(goal)
    engine.docker(*[word.format(port=life.case.port) for word in change])
    seen = until(lambda seen: seen.changed, life)
    assert "mw-trouble" in seen.changed[0] or "revision 1" in seen.changed[0]
    assert not life.settle(goal).changed
    assert life.call() == 2.0


def test_a_port_that_another_has_is_said(life, engine, tmp_path):
    with engine.network():
        taken = life.case.port
        other = Life(life.case, "mw-taker", life.models)
        other.settle(other.goal(1, 1))
    try:
        with pytest.raises(InvalidError) as caught:
            life.opened.apply(life.goal(1, 1))
        assert caught.value.field == "access.port"
        assert str(taken) in caught.value.message
    finally:
        other.opened.delete(other.name)


def test_secrets_are_in_no_inspection_and_only_the_server_reads_them(life, engine, tmp_path):
    (tmp_path / "token").write_text("open-sesame")
    secrets = [
        {"name": "TOKEN", "source": {"file": str(tmp_path / "token")}},
        {"name": "LICENCE", "source": {"file": str(tmp_path / "token")}, "mount": True},
    ]
    goal = life.goal(1, 1, said={"secrets": secrets})
    life.settle(goal)
    name = "modelworks-mw-trouble-1-1"
    assert "open-sesame" not in engine.docker("inspect", name)
    assert "TOKEN=open-sesame" in engine.docker("exec", name, "cat", "/proc/1/environ")
    modes = engine.docker("exec", name, "stat", "-c", "%a %u", "/run/secrets/LICENCE")
    assert modes.split() == ["400", "10001"]
    (tmp_path / "token").write_text("another")
    life.opened.apply(goal)
    assert engine.docker("exec", name, "cat", "/run/secrets/LICENCE") == "another"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the SDK leaves its socket to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_is_not_there_is_unavailable(tmp_path):
    opened = DockerTarget().open({"host": f"unix://{tmp_path}/none.sock"}, tmp_path)
    with pytest.raises(UnavailableError, match="does not answer"):
        opened.observe("mw-x")
    del opened
    gc.collect()
