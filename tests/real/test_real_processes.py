"""`serve` and `up` as real processes: signals, kills, ports, restarts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from onnx import TensorProto, helper, save

from modelworks.client.data import DataPlane
from modelworks.client.endpoints import listed
from modelworks.control.exposition import quantile, read
from modelworks.core.home import Home

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 10.0])],
    )
    path = tmp_path_factory.mktemp("model") / "line.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(made, path)
    return path


class Process:
    """`modelworks ... --json` beside the test."""

    def __init__(self, home: Home, temporary: Path, *words: str, prelude: str = "") -> None:
        code = f"{prelude}\nimport sys\nfrom modelworks.cli.main import main\nsys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ
            | {"MODELWORKS_HOME": str(home.root), "MODELWORKS_URL": "", "TMPDIR": str(temporary)},
            text=True,
        )
        self.said: dict[str, Any] = json.loads(self.process.stdout.readline())

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """`TMPDIR` of the processes; nothing may stay there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def start(home: Home, temporary: Path) -> Iterator[Callable[..., Process]]:
    begun: list[Process] = []

    def begin(*words: str, prelude: str = "") -> Process:
        begun.append(Process(home, temporary, *words, prelude=prelude))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.process.terminate()
            try:
                one.process.wait(60)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        one.process.stdout.close()
    assert list(temporary.iterdir()) == []


def _children(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.process.pid).children()


def _until(what: str, true: Callable[[], bool], seconds: float = 45.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def _answers(url: str) -> bool:
    plane = DataPlane(url)
    try:
        return plane.ready()
    finally:
        plane.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_file_is_served_without_a_registry_until_a_signal(start, home, model, number):
    missing = "import sys\nfor name in ('sqlalchemy', 'fastapi'):\n    sys.modules[name] = None"
    server = start("serve", "--file", str(model), "--name", "line", "--port", "0", prelude=missing)
    url = server.said["url"]
    plane = DataPlane(url)
    assert plane.predict("line", [[1, 2]])["predictions"] == [{"outputs": {"y": 21.0}}]
    assert plane.infer("line", {"x": [[3, 0]]})["y"].tolist() == [[3.0]]
    counts = read(plane.metrics())["line", "1.0.0"]
    assert (counts.requests, counts.failures) == (2.0, 0.0)
    assert quantile(counts.buckets, 0.5) > 0
    assert plane.statistics()[0]["name"] == "line"
    plane.close()
    assert [(e.url, e.kind, e.models) for e in listed(home)] == [(url, "serve", ("line",))]
    assert not home.database.exists()
    assert server.end(number) == 0
    assert listed(home) == []
    assert not _answers(url)


def test_a_container_without_a_writable_home_serves_a_file(start, home, model, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    hide = f"import os\nos.environ['MODELWORKS_HOME'] = {str(blocked / 'home')!r}"
    server = start("serve", "--file", str(model), "--port", "0", prelude=hide)
    assert server.said["models"] == ["line"]
    assert server.end(signal.SIGTERM) == 0


def test_workers_share_the_port(start, model):
    server = start("serve", "--file", str(model), "--port", "0", "--workers", "2")
    plane = DataPlane(server.said["url"])
    for _ in range(20):
        assert plane.predict("line", [[1, 1]])["predictions"] == [{"outputs": {"y": 11.0}}]
    plane.close()
    assert server.end(signal.SIGTERM) == 0


def test_no_server_outlives_a_killed_serve(start, home, model):
    server = start("serve", "--file", str(model), "--port", "0")
    children = _children(server)
    assert len(children) == 1
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    _until("the child is gone", lambda: not psutil.pid_exists(children[0].pid))
    assert listed(home) == []  # the entry of the dead is taken away


def test_a_server_that_dies_ends_serve_with_an_error(start, model):
    server = start("serve", "--file", str(model), "--port", "0")
    _children(server)[0].kill()
    assert server.process.wait(60) == 1
    said = json.loads(server.process.stdout.readline())
    assert said["kind"] == "crashed"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("serve", "--file", "{folder}/nope.onnx"), 3, "nope.onnx"),
        (("serve", "--file", "{folder}/empty.onnx", "--port", "0"), 4, "empty.onnx"),
        (("serve", "--file", "{model}", "--port", "{taken}"), 5, "taken"),
        (("serve", "--file", "{model}", "--port", "0", "--host", "192.0.2.1"), 4, "192.0.2.1"),
        (("serve", "--file", "{model}", "--port", "0", "--name", "A B"), 4, "A B"),
        (("serve", "nobody", "--port", "0"), 3, "nobody"),
        (("serve", "nobody@", "--port", "0"), 4, "alias"),
        (("up", "--port", "{taken}", "--control-port", "0"), 5, "taken"),
        (("up", "--port", "0", "--control-port", "{taken}"), 5, "taken"),
        (("up", "--port", "7777", "--control-port", "7777"), 5, "two ports"),
        (("up", "--allow-host", "http://box.lan"), 4, "http://box.lan"),
        (("up", "--allow-host", "box.lan:8080"), 4, "box.lan:8080"),
        (("predict", "m", "--url", "http://127.0.0.1:{refused}", "--rows", "[[1]]"), 6, "serve"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_begin_says_why(home, model, tmp_path, words, code, says):
    (tmp_path / "empty.onnx").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as refused:
        refused.bind(("127.0.0.1", 0))
        fill = {
            "folder": tmp_path,
            "model": model,
            "taken": taken.getsockname()[1],
            "refused": refused.getsockname()[1],
        }
        done = subprocess.run(
            [sys.executable, "-m", "modelworks.cli.main", *(w.format(**fill) for w in words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            env=os.environ | {"MODELWORKS_HOME": str(home.root), "MODELWORKS_URL": ""},
        )
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "Traceback" not in done.stderr


def test_up_restarts_what_dies_and_leaves_nothing_behind(start, home):
    names = ("--allow-host", "Box.lan", "--allow-host", "10.1.2.3")
    factory = start("up", "--port", "0", "--control-port", "0", *names)
    control, server = factory.said["control"], factory.said["server"]
    assert _answers(server)
    _until("control plane, server and worker", lambda: len(_children(factory)) == 3)
    before = {child.pid for child in _children(factory)}
    for child in _children(factory):
        child.kill()
    _until("three new children", lambda: len({c.pid for c in _children(factory)} - before) == 3)
    _until("the server answers again at its address", lambda: _answers(server))
    _until("the control plane answers again", lambda: _health(control))
    hosts = ("box.lan:8080", "10.1.2.3", "box.lan.evil", "192.168.0.9")
    assert [_status(control, host) for host in hosts] == [200, 200, 403, 403]
    _until("the watch sees it answer", lambda: [s["ready"] for s in _states(control)] == [True])
    assert [e.kind for e in listed(home)] == ["up"]
    children = _children(factory)
    assert factory.end(signal.SIGTERM) == 0
    assert not [child for child in children if child.is_running()]
    assert listed(home) == []
    again = start("up", "--port", "0", "--control-port", "0")  # the lock is free
    children = _children(again)
    again.end(signal.SIGKILL)
    _until("no child outlives it", lambda: not [c for c in children if psutil.pid_exists(c.pid)])
    assert start("up", "--port", "0", "--control-port", "0").said["server"]


def _status(control: str, host: str) -> int:
    import urllib3

    return urllib3.request("GET", control, headers={"Host": host}, retries=False).status


def _states(control: str) -> list[dict[str, Any]]:
    import urllib3

    return list(urllib3.request("GET", f"{control}/api/v1/endpoints", timeout=5).json())


def _health(control: str) -> bool:
    import urllib3

    try:
        return urllib3.request("GET", f"{control}/api/v1/health", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_a_signal_while_up_is_starting_ends_it(home):
    process = subprocess.Popen(
        [sys.executable, "-m", "modelworks.cli.main", "up", "--port", "0", "--control-port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"MODELWORKS_HOME": str(home.root)},
    )
    _until("its first child", lambda: bool(psutil.Process(process.pid).children()))
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    _until("no child is left", lambda: not [c for c in children if psutil.pid_exists(c.pid)])
