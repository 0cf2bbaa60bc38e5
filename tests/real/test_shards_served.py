"""A model in stages, and copies side by side, behind a real server."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.instances import parsed
from modelworks.core.seams import EngineOptions
from modelworks.core.served import ServedModel
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.testing import onnx_models as models
from modelworks.testing import pass_models
from modelworks.testing.pass_cases import with_steps
from modelworks.testing.servers import Server, serve_list
from shards import cut

pytestmark = pytest.mark.real
WIDTH = 64


def call(address, method, path, data=None):
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, data)
        answer = connection.getresponse()
        content = answer.read()
        found = json.loads(content) if content[:1] in b"{[" and content else content
        return answer.status, found
    finally:
        connection.close()


def body(rows):
    inputs = [
        {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    ]
    return json.dumps({"inputs": inputs}).encode()


def ask(server, model, rows):
    return call(server.address, "POST", f"/v2/models/{model}/infer", body(rows))


def output(answer):
    [found] = answer["outputs"]
    return np.array(found["data"], np.float32).reshape(found["shape"])


def children(pid):
    found, todo = set(), [pid]
    while todo:
        for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            try:
                some = {int(one) for one in task.read_text().split()}
            except OSError:
                continue
            todo += some - found
            found |= some
    return found


def stage_processes(server):
    """Of the server's descendants, those that run a stage."""
    found = []
    for pid in children(server.pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"modelworks.sandbox.worker_child" in command:
            found.append(pid)
    return found


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about in time")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("served")
    models.heavy(place / "model.onnx", layers=6, width=WIDTH)
    cut(place, place / "cut", stages=3)
    return place


@pytest.fixture
def server(folder, tmp_path):
    lines = [
        ServedModel("whole", "1.0.0", str(folder / "model.onnx"), "sha256:1"),
        ServedModel(
            "pipeline", "1.0.0", str(folder / "cut"), "sha256:2", format="stages", engine="stages"
        ),
        ServedModel(
            "copies", "1.0.0", str(folder / "model.onnx"), "sha256:3", instances=parsed("cpu*2")
        ),
    ]
    with Server(["--served", str(serve_list(tmp_path / "served.json", lines))]) as started:
        yield started


def test_many_at_once_get_what_the_whole_gives(server):
    """Stages and copies, each asked by eight callers whose requests share calls."""
    random = np.random.default_rng(3)
    given = [random.random((rows, WIDTH), dtype=np.float32) for rows in (1, 2, 5, 1, 3, 1, 8, 1)]
    wanted = [output(ask(server, "whole", rows)[1]) for rows in given]
    wrong = []

    def check(model, place):
        for _ in range(15):
            status, answer = ask(server, model, given[place])
            close = status == 200 and np.allclose(
                output(answer), wanted[place], rtol=1e-5, atol=1e-6
            )
            if not close:
                wrong.append((model, place, status, answer))

    every = [(model, place) for model in ("pipeline", "copies") for place in range(len(given))]
    threads = [threading.Thread(target=check, args=one) for one in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(stage_processes(server)) == 3
    status, _ = ask(server, "pipeline", np.ones((1, WIDTH + 1), np.float32))
    assert status == 400


def test_a_killed_stage_makes_the_model_unready_and_it_comes_back(server):
    rows = np.ones((2, WIDTH), np.float32)
    assert ask(server, "pipeline", rows)[0] == 200
    pids = stage_processes(server)
    os.kill(pids[1], signal.SIGKILL)
    until(lambda: pids[1] not in stage_processes(server) and len(stage_processes(server)) == 3)
    until(lambda: ask(server, "pipeline", rows)[0] == 200)
    assert ask(server, "whole", rows)[0] == 200
    assert set(stage_processes(server)) & set(pids) == set(pids) - {pids[1]}


def test_unloading_ends_every_stage(server):
    assert call(server.address, "POST", "/v2/repository/models/pipeline/unload", b"{}")[0] == 200
    assert until(lambda: stage_processes(server) == []) is True
    rows = np.ones((1, WIDTH), np.float32)
    assert ask(server, "pipeline", rows)[0] == 503
    assert call(server.address, "POST", "/v2/repository/models/pipeline/load", b"{}")[0] == 200
    assert ask(server, "pipeline", rows)[0] == 200


def test_one_folder_is_served_without_a_list(folder):
    with Server(["--file", str(folder / "cut"), "--name", "big"]) as started:
        rows = np.ones((1, WIDTH), np.float32)
        assert ask(started, "big", rows)[0] == 200
        started.terminate()
        assert started.wait() == 0
        assert stage_processes(started) == []


def test_no_room_for_the_sum_of_the_stages_is_refused(folder, tmp_path):
    """None of them is started: the estimate is of all together."""
    line = ServedModel(
        "pipeline", "1.0.0", str(folder / "cut"), "sha256:2", format="stages", engine="stages"
    )
    listed = serve_list(tmp_path / "served.json", [line])
    with Server(["--served", str(listed), "--memory-limit", "200MB"]) as started:
        status, answer = ask(started, "pipeline", np.ones((1, WIDTH), np.float32))
        assert status == 503
        assert "needs" in json.dumps(answer)
        assert stage_processes(started) == []


def test_steps_before_the_model_run_before_the_first_stage(tmp_path):
    """The steps lie above the stages, and calls share them one after the other."""
    source = with_steps(pass_models.mlp(tmp_path / "plain"), tmp_path / "steps")
    into = cut(source.folder, tmp_path / "cut")
    line = ServedModel(
        "steps",
        "1.0.0",
        str(into),
        "sha256:4",
        format="stages",
        engine="stages",
        signature=source.signature,
    )
    with Server(["--served", str(serve_list(tmp_path / "served.json", [line]))]) as started:
        rows = pass_models.matrix_rows(3)["x"]
        inputs = [{"name": "sent", "shape": [3, 64], "datatype": "FP32", "data": rows.tolist()}]
        data = json.dumps({"inputs": inputs}).encode()
        status, answer = call(started.address, "POST", "/v2/models/steps/infer", data)
        assert status == 200, answer
        whole = OnnxRuntimeEngine().load(tmp_path / "plain", EngineOptions())
        np.testing.assert_allclose(output(answer), whole.infer({"x": rows})[0], rtol=1e-5)
        whole.close()


def test_the_command_serves_two_copies_of_a_pipeline(folder, tmp_path):
    """Three processes a copy: each copy is a pipeline."""
    command = [sys.executable, "-m", "modelworks.cli.main", "serve", "--json", "--port", "0"]
    command += ["--file", str(folder / "cut"), "--name", "big", "--instances", "cpu*2"]
    environment = {**os.environ, "MODELWORKS_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        told = json.loads(process.stdout.readline())
        address = told["url"].removeprefix("http://")
        rows = np.ones((1, WIDTH), np.float32)
        assert call(address, "POST", "/v2/models/big/infer", body(rows))[0] == 200
        assert len(stage_processes(process)) == 6
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()
    assert process.returncode in {0, 143}
