"""What containers record on a real engine: taken in, found by the same hash, and erased."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from containers import COMPOSE, docker_engine, program
from modelworks.control.records.forms import Forms
from modelworks.control.records.service import Records, lines_of
from modelworks.core.digest import of_file
from modelworks.core.home import Home
from modelworks.core.records import Scan
from modelworks.core.served import ServedModel
from modelworks.ext.targets.compose import ComposeTarget
from modelworks.ext.targets.docker import DockerTarget
from modelworks.testing import onnx_models
from modelworks.testing.target_life import Life
from target_images import case_on, handing_on

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
ANA, BOB = "ana-7", "bob-8"
SAID = {
    "monitoring": {
        "records": {
            "sample": 1,
            "subject": "header:X-User",
            "fields": [{"field": "header:X-User", "act": "hash"}],
        }
    }
}
SOON_S = 60.0
USER = 1234
_AS_USER = """
import json, pickle, sys, time
from modelworks.control.records.service import Records, lines_of
from modelworks.core.home import Home
from modelworks.core.records import Scan
from modelworks.ext.targets.docker import DockerTarget
settings, folder, wanted = pickle.load(sys.stdin.buffer)
folder.mkdir(parents=True)
opened = DockerTarget().open(settings, folder)
opened.apply(wanted)
while not (seen := opened.observe(wanted.name)).ready(1):
    time.sleep(0.2)
print(seen.url, flush=True)
sys.stdin.buffer.readline()
opened.delete(wanted.name)
verbs = Records(Home.of_target(folder))
verbs.compact()
lines = [line for batch in verbs.scan(Scan()) for line in lines_of(batch)]
print(json.dumps({line["id"]: line["revision"] for line in lines}))
print(json.dumps([path.name for path in Home.of_target(folder).recorded.iterdir()]))
"""


@pytest.fixture(scope="module")
def engine():
    with docker_engine(bridge=True) as engine:
        yield handing_on(engine)


@pytest.fixture(params=[DockerTarget, ComposeTarget], ids=lambda kind: kind.name)
def life(request, engine, tmp_path):
    kind = request.param
    if kind is ComposeTarget:
        program(COMPOSE, "docker-compose")
    home = Home(tmp_path / "home").create()
    case = case_on(engine, kind, tmp_path / "work", {}, None)
    case = replace(case, folder=home.targets / kind.name)
    path = onnx_models.double(tmp_path / "model.onnx", factor=2.0)
    model = ServedModel("fraud", "1.0.0", str(path), of_file(path))
    life = Life(case, f"mw-{kind.name}-rec", {1: model})
    try:
        yield life
    finally:
        life.opened.delete(life.name)


def ask(engine, url, name, user):
    entry = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    body = json.dumps({"id": name, "inputs": [entry]}).encode()
    request = urllib.request.Request(f"{url}/v2/models/fraud/infer", body, {"X-User": user})
    with engine.network(), urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def stored(verbs, count):
    """So many records, by their id, once they are in the store."""
    end = time.monotonic() + SOON_S
    while (count := count - verbs.compact().records) > 0:
        assert time.monotonic() < end, f"{count} are missing"
        time.sleep(0.3)
    return {line["id"]: line for batch in verbs.scan(Scan()) for line in lines_of(batch)}


def test_a_worker_finds_what_containers_record_and_erases_it(life, engine):
    home = Home.of_target(life.case.folder)
    verbs = Records(home)
    seen = life.settle(life.goal(1, 1, said=SAID))
    for number in range(4):
        ask(engine, seen.url, f"r{number}", (ANA, BOB)[number % 2])
    time.sleep(1.0)  # what is answered is written by then
    [killed] = [one.name for one in seen.replicas]
    engine.docker("kill", killed)
    life.settle(life.goal(1, 1, said=SAID))
    ask(engine, seen.url, "after", ANA)
    found = stored(verbs, 5)
    assert {one["revision"] for one in found.values()} == {f"{life.name}/1"}
    hashed = Forms(home.records).hashed(ANA)
    assert {name for name, one in found.items() if one["subject"] == hashed} == {
        *("r0", "r2", "after")
    }
    assert found["r1"]["out.y"] == [2.0, 4.0, 6.0]

    ask(engine, seen.url, "last", ANA)
    time.sleep(1.0)  # it lies in a segment under way by then
    assert verbs.erase(ANA).records == 4
    assert set(stored(verbs, 0)) == {"r1", "r3"}
    life.opened.delete(life.name)
    verbs.compact()
    assert list(home.recorded.iterdir()) == []


def test_who_is_not_root_and_may_use_the_engine_takes_in_what_it_recorded(engine, tmp_path):
    who = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"]
    if subprocess.run([*who, "--", sys.executable, "-c", ""], check=False, cwd="/").returncode:
        pytest.skip(f"another user may not run {sys.executable}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        (place / "home").mkdir()
        os.chown(place / "home", USER, USER)
        engine.folder.chmod(0o755)
        (engine.folder / "docker.sock").chmod(0o666)
        case = case_on(engine, DockerTarget, tmp_path / "work", {}, None)
        path = onnx_models.double(tmp_path / "model.onnx", factor=2.0)
        model = ServedModel("fraud", "1.0.0", str(path), of_file(path))
        goal = Life(case, "mw-user-rec", {1: model}).goal(1, 1, said=SAID)
        told = pickle.dumps((case.settings, place / "home" / "targets" / "docker", goal))
        process = subprocess.Popen(
            [*who, "--", sys.executable, "-B", "-c", _AS_USER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
            cwd="/",
        )
        with process.stdin, process.stdout:
            process.stdin.write(told)
            process.stdin.flush()
            url = process.stdout.readline().decode().strip()
            for number in range(3):
                ask(engine, url, f"r{number}", ANA)
            process.stdin.write(b"\n")
            process.stdin.flush()
            found, left = (json.loads(line) for line in process.stdout.read().splitlines())
        assert process.wait(30) == 0
    assert found == {f"r{number}": "mw-user-rec/1" for number in range(3)}
    assert left == []


def test_a_container_can_change_nothing_but_its_segments(life, engine):
    home = Home.of_target(life.case.folder)
    seen = life.settle(life.goal(1, 1, said=SAID))
    [name] = [one.name for one in seen.replicas]
    for command in (
        "rm /var/lib/modelworks/records/hash.key",
        "touch /var/lib/modelworks/records/x",
        "cat /var/lib/modelworks/records/../../../../etc/shadow",
    ):
        assert engine.docker("exec", name, "sh", "-c", f"{command} && echo done", check=False) == ""
    folder = home.recorded / life.name
    assert sorted(path.name for path in folder.iterdir()) == ["hash.key", "segments"]
    assert (folder / "segments").stat().st_uid == 10001
