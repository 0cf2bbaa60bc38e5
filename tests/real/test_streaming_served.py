"""A Python folder that generates, imported and served by real processes: streams through them."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import psutil
import pytest

from generating_served import Answer
from modelworks.cli.main import main
from modelworks.client.data import DataPlane
from modelworks.core.codec import encode
from modelworks.core.errors import CrashedError, LimitedError, UnavailableError
from modelworks.core.native import NativeModel, write_native
from modelworks.core.routes import Arm, Limit, Route, Shadow, Snapshot
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.routes import spans
from modelworks.testing.servers import Server, serve_list

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
CODE = """
import itertools, os, time

def load(folder):
    return 0.002

def generate(pause, text, sampling):
    if text == "slow":
        pause = 0.2
    if text == "stay":
        yield f"{os.getpid()} "
        while True:
            time.sleep(0.01)
            yield ""
    for word in itertools.cycle(text.split() or ["nothing"]):
        time.sleep(pause)
        yield word + " "
"""
SIGNATURE = Signature(
    (TensorSpec("text_input", Datatype.BYTES, (None,)),),
    (TensorSpec("text_output", Datatype.BYTES, (None,)),),
)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """A served list with the model `story`."""
    folder = tmp_path_factory.mktemp("story")
    (folder / "model").mkdir()
    (folder / "model" / "model.py").write_text(CODE)
    write_native(folder, NativeModel("python", "model", SIGNATURE))
    model = ServedModel(
        *("story", "1.0.0", str(folder), "sha256:0"), format="native", engine="native", trusted=True
    )
    return serve_list(tmp_path_factory.mktemp("list") / "served.json", [model])


@pytest.fixture
def serve(listed):
    """Start a server of it."""
    begun = []

    def start(*arguments):
        begun.append(Server(["--served", str(listed), *arguments]))
        return begun[-1]

    yield start
    for server in begun:
        with server:
            pass


def plane_of(server, key=""):
    return DataPlane(server.url, key=key)


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)
    return found


def metric(server, name, **labels):
    """One sample of `/metrics`; 0 where there is none."""
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(name + "{") and all(one in line for one in wanted)
    )


def opened(server):
    return metric(server, "modelworks_generations_open")


def test_imported_by_its_owners_word_and_asked_by_the_command(home, tmp_path, monkeypatch, capsys):
    """No signature is given: a folder that generates takes a text."""
    folder = tmp_path / "story"
    folder.mkdir()
    (folder / "model.py").write_text(CODE.replace("0.002", "0.0"))  # hundreds of rows are tried
    monkeypatch.setenv("MODELWORKS_HOME", str(home.root))
    assert main(["import", str(folder), "--name", "story", "--trust"]) == 0, capsys.readouterr()
    capsys.readouterr()
    code = "import sys\nfrom modelworks.cli.main import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, "serve", "story", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            words = ["generate", "story", "a tale of", "--url", url, "--max-tokens", "4"]
            assert main(words) == 0
            assert capsys.readouterr().out == "a tale of a \n"
            [row] = DataPlane(url).predict("story", [{"text_input": "one"}])["predictions"]
            assert "one one" in str(row)
        finally:
            process.terminate()
            process.wait(60)


def test_pieces_come_as_they_are_made(serve):
    server = serve()
    plane = plane_of(server)
    events = plane.generate_stream("story", "stay", max_tokens=1_000_000)
    assert next(events)["text_output"]
    assert opened(server) == 1  # it is still at work
    events.close()
    until(lambda: opened(server) == 0)
    assert plane.generate("story", "one two", max_tokens=3)["text_output"] == "one two one "
    plane.close()


def test_any_worker_tells_of_all(serve):
    server = serve("--workers", "2")
    socks = []
    for _ in range(16):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        _send(sock, "stay", max_tokens=1_000_000)
        socks.append((sock, Answer(sock)))
    until(lambda: opened(server) == 16)
    for sock, answer in socks[:10]:
        answer.close()
        sock.close()
    until(lambda: opened(server) == 6)
    until(lambda: metric(server, "modelworks_generations_total", end="left") == 10)
    pids = {int(next(answer.events())["text_output"]) for _, answer in socks[10:]}
    assert len(pids) in {1, 2}
    for sock, answer in socks[10:]:
        answer.close()
        sock.close()
    until(lambda: opened(server) == 0)


def _send(sock, text, verb="generate_stream", headers="", **more):
    body = json.dumps({"text_input": text, **more}).encode()
    head = f"POST /v2/models/story/{verb} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    sock.sendall(f"{head}{headers}\r\n".encode() + body)


def test_a_models_process_that_is_killed_ends_its_streams_and_comes_again(serve):
    server = serve()
    plane = plane_of(server)
    events = plane.generate_stream("story", "stay", max_tokens=1_000_000)
    pid = int(next(events)["text_output"])
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(CrashedError, match="process ended"):
        list(events)

    def again():
        try:
            return plane.generate("story", "one", max_tokens=1)["text_output"] == "one "
        except (UnavailableError, CrashedError):
            return False

    until(again)
    plane.close()


def test_a_worker_that_is_killed_breaks_its_streams_off(serve):
    server = serve("--workers", "2")
    plane = plane_of(server)
    events = plane.generate_stream("story", "stay", max_tokens=1_000_000)
    pid = int(next(events)["text_output"])
    worker = psutil.Process(pid).parent()
    while "modelworks.apps.server" not in " ".join(worker.cmdline()):
        worker = worker.parent()
    worker.kill()
    with pytest.raises(UnavailableError, match="broke"):
        list(events)
    until(lambda: not psutil.pid_exists(pid))  # the model's process does not outlive it
    assert plane.generate("story", "one", max_tokens=1)["text_output"] == "one "
    plane.close()


def test_sigterm_lets_a_stream_end(serve):
    server = serve("--drain-seconds", "30")
    plane = plane_of(server)
    events = plane.generate_stream("story", "slow", max_tokens=6)
    next(events)
    server.terminate()
    assert len(list(events)) == 5
    assert server.wait(30) == 0
    plane.close()


def test_a_drain_that_is_over_cuts_a_stream(serve):
    server = serve("--drain-seconds", "0.5")
    plane = plane_of(server)
    events = plane.generate_stream("story", "stay", max_tokens=1_000_000)
    next(events)
    server.terminate()
    with pytest.raises(UnavailableError):
        list(events)
    assert server.wait(30) == 0
    plane.close()


def test_keys_and_the_access_log(serve, tmp_path, monkeypatch, home, capsys):
    monkeypatch.setenv("MODELWORKS_HOME", str(home.root))
    file, log = tmp_path / "keys", tmp_path / "log"
    assert main(["keys", "add", "shop", "--role", "predict", "--file", str(file)]) == 0
    key = next(word for word in capsys.readouterr().out.split() if word.startswith("mw_"))
    server = serve("--keys", str(file), "--access-log", str(log))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        _send(sock, "one", max_tokens=2)
        answer = Answer(sock)
        assert answer.status == 401
        answer.json()
        _send(
            *(sock, "slow", "generate_stream"),
            f"Authorization: Bearer {key}\r\nX-Request-Id: n-7\r\n",
            max_tokens=3,
        )
        answer = Answer(sock)
        assert answer.status == 200
        assert answer.headers["x-request-id"] == "n-7"
        assert len(list(answer.events())) == 3
        answer.close()
    lines = until(lambda: [x for x in log.read_text().splitlines() if "n-7" in x])
    line = json.loads(lines[0])
    assert (line["status"], line["model"]) == (200, "story")
    assert line["bytes_out"] > 150
    assert line["duration_us"] > 500_000  # of the whole stream


def test_routes_split_limit_and_copy_it(serve, tmp_path):
    """A name that only routes know; each fourth request is one too many for its limit."""
    arms = (Arm("one", "story", "1.0.0"), Arm("copy", "story", "1.0.0"))
    shares = spans((), {"one": 1.0, "copy": 0.0})
    found = Route(
        *("tale", arms, shares),
        model="tale",
        shadows=(Shadow("copy", 1.0),),
        limit=Limit(rate=0.001, burst=3),
    )
    file = tmp_path / "routes.json"
    file.write_bytes(orjson.dumps(encode(Snapshot(1, (found,)))))
    server = serve("--routes", str(file))
    plane = plane_of(server)
    events = list(plane.generate_stream("tale", "one two", max_tokens=2))
    assert [event["text_output"] for event in events] == ["one ", "two "]
    assert events[0]["model_name"] == "story"
    for _ in range(2):
        assert plane.generate("tale", "one", max_tokens=1)["text_output"] == "one "
    with pytest.raises(LimitedError):
        plane.generate("tale", "one", max_tokens=1)
    plane.close()
    # Three asked, and three copies for nobody.
    until(lambda: metric(server, "modelworks_generations_total", end="length") >= 6)


def test_nothing_is_left_of_two_thousand(serve):
    """Half of them are left in the middle; memory, files and tasks stay as they were."""
    server = serve()
    process = psutil.Process(server.pid)

    def some(count):
        for place in range(count):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
                _send(
                    sock, "stay" if place % 2 else "one", max_tokens=1 if not place % 2 else 10**6
                )
                answer = Answer(sock)
                events = answer.events()
                next(events)
                if not place % 2:
                    assert list(events) == []
                answer.close()
        until(lambda: opened(server) == 0)

    some(200)
    files, memory = process.num_fds(), process.memory_info().rss
    threads = [threading.Thread(target=some, args=(450,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: process.num_fds() <= files)
    assert process.memory_info().rss < memory + 12 * 1024 * 1024
    assert metric(server, "modelworks_generations_total", end="left") == 1000
    assert Path(f"/proc/{server.pid}").exists()
