"""The control plane as a process: it announces itself, serves every verb, and ends as it should."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from modelworks.client.http import HttpTransport
from modelworks.control.service import Factory
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.imports import ImportOptions, ImportRequest
from modelworks.core.served import read_served
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.real


def start(home, tmp_path, *more):
    announce = tmp_path / f"announce-{time.monotonic_ns()}.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "modelworks.apps.control", "--home", str(home.root)),
            *("--port", "0", "--announce", str(announce), *more),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, announce


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def control(home, tmp_path):
    process, announce = start(home, tmp_path)
    try:
        until(lambda: announce.exists() or process.poll() is not None)
        found = json.loads(announce.read_text())
        assert found["url"] == f"http://127.0.0.1:{found['port']}"
        yield process, found["url"]
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.fixture
def transport(control):
    transport = HttpTransport(control[1])
    yield transport
    transport.close()


@pytest.fixture
def model(tmp_path):
    """A linear model as ONNX."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(np.ones((3, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "linear.onnx"
    save(made, path)
    return path


def test_both_transports_say_the_same(home, transport, model, monkeypatch):
    monkeypatch.setattr("modelworks.client.git.position", lambda _: ("abc", "trunk"))
    steps = []
    made = transport.import_model(
        ImportRequest(model, "linear", alias="champion", labels={"team": "risk"}, run="r1"),
        steps.append,
    )
    assert made.ref == "linear:1.0.0"
    assert steps
    with Factory(home) as factory:
        again = factory.import_model(ImportRequest(model, "linear"), steps.append)
        assert again.ref == "linear:1.1.0"
        assert again.artifact == made.artifact
        assert {e.kind for e in again.evidence} == {e.kind for e in made.evidence} != set()
        assert made.lineage.source_name == again.lineage.source_name == "linear.onnx"
        assert made.lineage.source_digest == again.lineage.source_digest != ""
        assert made.lineage.run == "r1"
        for lineage in (made.lineage, again.lineage):  # the user's folder, not the server's
            assert (lineage.git_commit, lineage.git_branch) == ("abc", "trunk")
        for ask in (
            lambda t: t.models(),
            lambda t: t.versions("linear"),
            lambda t: t.show("linear@champion"),
            lambda t: t.compare("linear:1.0.0", "linear:1.1.0"),
            lambda t: t.history("linear"),
            lambda t: t.alias_at("linear", "champion", made.created_ns + 10**9),
            lambda t: t.verify("linear"),
        ):
            assert ask(transport) == ask(factory)
        moved = transport.set_alias("linear", "challenger", "1.1.0", "why")
        assert moved in factory.models()[0].aliases
        transport.remove_alias("linear", "challenger")
        assert transport.annotate("linear", ("a",), {"b": "c"}) == factory.show("linear")
        assert transport.delete("linear:1.1.0") == ["linear:1.1.0"]
        assert transport.collect() == factory.collect()
        mistakes = [
            (NotFoundError, lambda t: t.show("nobody")),
            (InvalidError, lambda t: t.show("Nobody!")),
            (ConflictError, lambda t: t.delete("linear")),
            (NotFoundError, lambda t: t.alias_at("linear", "champion", 5)),
            (InvalidError, lambda t: t.set_alias("linear", "champion", "x")),
        ]
        for kind, act in mistakes:
            said = []
            for side in (transport, factory):
                with pytest.raises(kind) as caught:
                    act(side)
                said.append((caught.value.message, caught.value.field))
            assert said[0] == said[1]


def test_files_that_are_no_models(transport, tmp_path):
    for name, content in {
        "empty.onnx": b"",
        "text.joblib": b"hello",
        "cut.onnx": b"\x08\x08\x12",
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InvalidError) as caught:
            transport.import_model(ImportRequest(path, "bad", options=ImportOptions()))
        assert "\n" not in caught.value.message
    assert transport.models() == []


def test_the_served_list_follows(home, control, tmp_path):
    path = home.run / "served.json"
    assert read_served(path).models == ()  # written before it announced itself
    with Factory(home) as factory:  # another process publishes
        factory.publish(candidate(tmp_path / "work"))
        until(lambda: [m.version for m in read_served(path).models] == ["1.0.0"])
        factory.publish(candidate(tmp_path / "work", alias="champion"))
        until(lambda: [m.aliases for m in read_served(path).models] == [("champion",)])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked(control, number):
    process, _ = control
    process.send_signal(number)
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""


def test_what_is_under_way_is_finished_first(home, control, transport, model):
    process, _ = control
    answers = []
    steps = []

    def work():
        answers.append(transport.import_model(ImportRequest(model, "linear"), steps.append).ref)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: list(home.run.glob("upload-*")))
    process.terminate()
    thread.join(60)
    assert answers == ["linear:1.0.0"]
    assert process.wait(timeout=30) == 0
    kept = {path.name for path in home.run.iterdir()}
    assert kept == {"served.json", "front.json", "front.lock"}


def test_it_ends_with_its_parent(home, tmp_path):
    announce = tmp_path / "announce.json"
    script = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'modelworks.apps.control', *sys.argv[1:]]\n"
        "child = subprocess.Popen(command)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    arguments = [
        "--home",
        str(home.root),
        "--port",
        "0",
        "--announce",
        str(announce),
        "--with-parent",
    ]
    parent = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    try:
        until(announce.exists)
        parent.kill()
        parent.communicate(timeout=30)
        until(lambda: not running(child))
    finally:
        if running(child):
            os.kill(child, signal.SIGKILL)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_port_that_is_taken_is_one_line(home, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process, announce = start(home, tmp_path, "--port", str(taken.getsockname()[1]))
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("error: cannot listen on 127.0.0.1 port")
    assert said.count("\n") == 1
    assert not announce.exists()


def test_a_home_that_cannot_be_opened_is_one_line(home, tmp_path):
    home.database.write_bytes(b"no database" * 500)
    process, _ = start(home, tmp_path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("error: database ")
    assert said.count("\n") == 1
