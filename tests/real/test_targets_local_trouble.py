"""What only a plain machine has: processes that are killed, ports that are taken, files."""

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from local_place import place
from modelworks.core.deployment import Phase
from modelworks.core.errors import ConflictError, InvalidError
from modelworks.core.local_folder import Layout, replicas_of
from modelworks.core.processes import began
from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models
from modelworks.testing.target_life import Life
from modelworks.testing.target_traffic import call

pytestmark = pytest.mark.real
SOON_S = 40.0


def eventually(what, true):
    end = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return place(tmp_path_factory.mktemp("local") / "target", tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    def model(number):
        path = onnx_models.double(tmp_path_factory.mktemp("models") / "m.onnx", factor=1.0 + number)
        return ServedModel("fraud", f"{number}.0.0", str(path), "")

    return {number: model(number) for number in (1, 2)}


@pytest.fixture
def life(case, models):
    """A deployment that nothing is left of in the end."""
    life = Life(case, "mw-local", models)
    yield life
    life.opened.delete(life.name)
    assert not case.leftovers(life.name)


def pids(life):
    """Replica -> process."""
    layout = Layout(life.case.folder / life.name)
    return {mark.replica: pid for pid, mark in replicas_of(layout.folder).items()}


def environ_of(pid):
    lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(line.partition("=")[::2] for line in lines if line)


def test_a_supervisor_that_is_killed_is_missed_by_no_caller(life):
    goal = life.goal(1, 1, replicas=2)
    life.settle(goal)
    before = pids(life)
    traffic = life.traffic()
    with traffic.flowing():
        os.kill(Layout(life.case.folder / life.name).supervisor(), signal.SIGKILL)
        eventually("it is seen", lambda: life.observe().changed)
        seen = life.observe()
        assert "supervisor" in seen.changed[0]
        assert seen.ready(1) == 2
        traffic.until(2.0)
        assert life.settle(goal).ready(1) == 2
        assert pids(life) == before, "they were not taken over"
        life.settle(life.goal(2, 2, replicas=2))
        traffic.until(3.0)
    assert not traffic.failures, traffic.failures[:5]
    assert not set(before.values()) & set(pids(life).values())


def test_a_supervisor_that_hangs_is_replaced_by_the_next_apply(life):
    life.settle(life.goal(1, 1))
    before, layout = pids(life), Layout(life.case.folder / life.name)
    hanging = layout.supervisor()
    os.kill(hanging, signal.SIGSTOP)
    life.opened.apply(life.goal(1, 1, replicas=2))
    assert not began(hanging)
    assert layout.supervisor() != hanging
    assert life.settle(life.goal(1, 1, replicas=2)).ready(1) == 2
    assert before.items() <= pids(life).items()


def test_a_replica_that_is_killed_comes_back_and_says_why(life):
    life.settle(life.goal(1, 1, replicas=2))
    name, pid = min(pids(life).items())
    os.kill(pid, signal.SIGKILL)
    eventually("it failed", lambda: any(r.phase is Phase.FAILED for r in life.observe().replicas))
    [failed] = [one for one in life.observe().replicas if one.phase is Phase.FAILED]
    assert failed.name == name
    assert "SIGKILL" in failed.reason
    eventually("it is back", lambda: life.observe().ready(1) == 2)
    assert {one.name: one.restarts for one in life.observe().replicas}[name] == 1
    assert life.call() == 2.0


def test_one_that_hangs_is_not_ready_and_then_started_anew(life):
    said = {"probes": {"period_s": 1, "timeout_s": 1, "failures": 1}}
    life.settle(life.goal(1, 1, said=said))
    [pid] = pids(life).values()
    os.kill(pid, signal.SIGSTOP)
    eventually("it is seen", lambda: life.observe().replicas[0].phase is Phase.FAILED)
    assert "does not answer" in life.observe().replicas[0].reason
    eventually("it is ended", lambda: not began(pid))
    eventually("it is back", lambda: life.observe().ready(1) == 1)
    assert life.observe().replicas[0].restarts == 1


def test_a_port_that_is_taken_is_said_and_no_replica_starts_until_it_is_free(life):
    with socket.create_server(("127.0.0.1", life.case.port)):
        with pytest.raises(ConflictError, match=f"port {life.case.port} .* is taken") as caught:
            life.opened.apply(life.goal(1, 1))
        assert caught.value.field == "access.port"
        time.sleep(1)
        seen = life.observe()
        assert not seen.replicas
        assert str(life.case.port) in seen.reason
    life.settle(life.goal(1, 1))
    assert life.observe().reason == ""


def test_a_port_of_another_deployment_is_taken_too(life, models):
    life.settle(life.goal(1, 1))
    other = Life(life.case, "mw-same-port", models)
    try:
        with pytest.raises(ConflictError):
            other.opened.apply(other.goal(1, 2))
        assert {life.call() for _ in range(20)} == {2.0}
    finally:
        other.opened.delete(other.name)


def test_secrets_reach_the_server_and_no_file_that_others_read(life, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELWORKS_TEST_TOKEN", "open-sesame")
    monkeypatch.setenv("MODELWORKS_DATABASE", "postgresql://user:hidden@db/x")
    (tmp_path / "token").write_text("from a file")
    secrets = [
        {"name": "TOKEN", "source": {"variable": "MODELWORKS_TEST_TOKEN"}},
        {"name": "PLAIN", "source": {"file": str(tmp_path / "token")}},
        {"name": "LICENCE", "source": {"file": str(tmp_path / "token")}, "mount": True},
    ]
    said = {"secrets": secrets, "environment": {"OWN": "$HOME 'x'"}}
    life.settle(life.goal(1, 1, said=said))
    [pid] = pids(life).values()
    environ = environ_of(pid)
    assert (environ["TOKEN"], environ["PLAIN"]) == ("open-sesame", "from a file")
    assert environ["OWN"] == "$HOME 'x'"
    assert "MODELWORKS_DATABASE" not in environ
    layout = Layout(life.case.folder / life.name)
    assert Path(environ["LICENCE_FILE"]).read_text() == "from a file"
    for path in layout.secrets(1).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert layout.folder.stat().st_mode & 0o077 == 0
    assert "open-sesame" not in layout.wanted.read_text() + layout.status.read_text()
    life.settle(life.goal(2, 2))
    eventually("they went with their revision", lambda: not layout.secrets(1).exists())
    assert layout.served(2).exists()
    assert not layout.served(1).exists()


def test_a_secret_that_is_not_there_is_refused(life):
    secrets = [{"name": "TOKEN", "source": {"variable": "MODELWORKS_TEST_NOT_THERE"}}]
    with pytest.raises(InvalidError, match="MODELWORKS_TEST_NOT_THERE") as caught:
        life.opened.apply(life.goal(1, 1, said={"secrets": secrets}))
    assert caught.value.field == "secrets"
    assert life.opened.observe(life.name) is None


def test_cores(life):
    life.settle(life.goal(1, 1, said={"resources": {"cpu": 1, "cpu_limit": 1}}))
    [pid] = pids(life).values()
    assert len(os.sched_getaffinity(pid)) == 1
    with pytest.raises(InvalidError, match="this machine has") as caught:
        life.opened.apply(life.goal(2, 1, said={"resources": {"cpu": 1000}}))
    assert caught.value.field == "resources.cpu"


def test_one_that_holds_more_memory_than_it_may_is_ended(life):
    # The server itself may load nothing more at 64 MiB; here it is told that there is no limit.
    said = {
        "resources": {"cpu": 0.1, "memory": "64Mi"},
        "environment": {"MODELWORKS_SERVER_MEMORY_LIMIT": "none", "MALLOC_ARENA_MAX": "1"},
        "server": {"workers": 4},
    }
    assert "MiB and may hold 64 (resources.memory)" in life.fail(life.goal(1, 1, said=said))


def test_two_who_apply_at_once_harm_nobody(life, tmp_path):
    program = """
import pickle, sys
from modelworks.plugins.load import load
folder, goals = pickle.load(open(sys.argv[1], "rb"))
opened = load("targets", "local")().open({}, folder)
for goal in goals * 3:
    opened.apply(goal)
"""
    goals = [life.goal(1, 1), life.goal(2, 2)]
    running = []
    for number, order in enumerate((goals, goals[::-1])):
        file = tmp_path / f"{number}"
        file.write_bytes(pickle.dumps((life.case.folder, order)))
        running.append(subprocess.Popen([sys.executable, "-c", program, file]))
    assert [one.wait(120) for one in running] == [0, 0]
    life.settle(goals[0])
    assert life.call() == 2.0
    supervisors = [path for path in Path("/proc").glob("[0-9]*") if supervises(path, life)]
    assert len(supervisors) == 1


def supervises(process, life):
    try:
        words = (process / "cmdline").read_text().split("\0")
    except OSError:
        return False
    return "modelworks.apps.replicas" in words and str(life.case.folder / life.name) in words


def test_a_folder_that_was_removed_ends_everything(life):
    seen = life.settle(life.goal(1, 1))
    [pid] = pids(life).values()
    shutil.rmtree(life.case.folder / life.name)
    assert life.opened.observe(life.name) is None
    eventually("it ends", lambda: not began(pid))
    with pytest.raises(OSError, match="refused"):
        call(seen.url, "fraud", lambda: None)


def test_where_paths_are_too_long_for_sockets_they_lie_elsewhere(case, models, tmp_path):
    case = replace(case, folder=tmp_path / ("long" * 20))
    life = Life(case, "mw-long", models)
    life.settle(life.goal(1, 1))
    sockets = Layout(case.folder / life.name).sockets
    assert not sockets.is_relative_to(tmp_path)
    assert sockets.stat().st_mode & 0o077 == 0
    assert life.call() == 2.0
    life.opened.delete(life.name)
    assert not sockets.exists()
