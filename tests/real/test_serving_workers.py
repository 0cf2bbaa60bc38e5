"""Workers as processes: chosen by a calibration, told everywhere, and evenly loaded."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from modelworks.apps.server_calibrate import calibrate
from modelworks.apps.server_settings import AUTO, ServerSettings
from modelworks.core import codec
from modelworks.core.machine import Machine, this_machine
from modelworks.core.served import Isolation, ServedModel
from modelworks.serving.sizing import Sizing
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from soak_trouble import children_of, descendants_of

pytestmark = [pytest.mark.real, pytest.mark.alone]
SECONDS = 25.0  # three on a quiet machine


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def one_core():
    """A machine of one core, for a child process."""
    return ["taskset", "-c", str(min(os.sched_getaffinity(0)))]


def sizing_of(path, **settings):
    began = time.monotonic()
    found = calibrate(ServerSettings(file=str(path), workers=AUTO, **settings))
    assert time.monotonic() - began < SECONDS
    return found


def test_a_small_model_is_measured_and_the_choice_is_told_everywhere(tmp_path):
    path = models.double(tmp_path / "double.onnx")
    with Server(["--file", str(path), "--workers", "auto"]) as server:
        told = get(f"{server.url}/v2")
        sizing = codec.decode(Sizing, told["sizing"])
        assert sizing.calibrated
        assert sizing.threads == 1
        assert 1 <= sizing.workers <= this_machine().cores
        [model] = sizing.models
        assert 0 < model.speeds[0].ns_per_row < 1e6
        assert 1e3 < model.http_ns < 1e7
        assert sizing.reason in server.log
        config = get(f"{server.url}/v2/models/double/config")
        assert config["instance_group"][0]["count"] == sizing.workers
        if sizing.workers > 1:
            assert len(children_of(server.pid)) == sizing.workers
        assert told["name"] == "modelworks"


def test_on_one_core_there_is_one_worker(tmp_path):
    path = models.double(tmp_path / "double.onnx")
    with Server(["--file", str(path), "--workers", "auto"], one_core()) as server:
        sizing = get(f"{server.url}/v2")["sizing"]
        assert (sizing["workers"], sizing["threads"]) == (1, 1)
        assert "take turns" in sizing["reason"]
        assert children_of(server.pid) == []


def test_memory_for_one_worker_only_gives_threads_a_chance(tmp_path):
    path = models.heavy(tmp_path / "heavy.onnx", layers=24, width=768)
    found = calibrate(ServerSettings(file=str(path), workers=AUTO), Machine(2, 2.0, 150_000_000))
    assert found.workers == 1
    assert {option.threads for option in found.options} <= {1, 2}
    assert {option.workers for option in found.options if option.fits} == {1}


def test_threads_that_were_set_stay(tmp_path):
    found = sizing_of(models.heavy(tmp_path / "heavy.onnx"), threads=2)
    assert found.threads == 2


def test_what_cannot_be_measured_leaves_one_worker_with_the_reason(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    found = sizing_of(tmp_path / "bad.onnx")
    assert (found.workers, found.threads, found.calibrated) == (1, 1, False)
    assert "not an ONNX file" in found.reason
    path = models.double(tmp_path / "own.onnx")
    own = ServedModel("own", "1.0.0", str(path), "", isolation=Isolation.PROCESS)
    listed = serve_list(tmp_path / "served.json", [own])
    found = calibrate(ServerSettings(served=str(listed), workers=AUTO))
    assert "process of its own" in found.reason
    assert not calibrate(
        ServerSettings(served=str(tmp_path / "none.json"), workers=AUTO)
    ).calibrated


def test_the_processes_that_measured_are_gone(tmp_path):
    before = set(descendants_of(os.getpid()))
    sizing_of(models.double(tmp_path / "double.onnx"))
    assert set(descendants_of(os.getpid())) <= before


def test_a_server_killed_while_it_calibrates_leaves_no_process(tmp_path):
    path = models.heavy(tmp_path / "heavy.onnx", layers=24, width=768)
    command = [sys.executable, "-m", "modelworks.apps.server", "--file", str(path)]
    with subprocess.Popen([*command, "--workers", "auto", "--port", "0"]) as process:
        end = time.monotonic() + 20
        while not (probes := children_of(process.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        assert probes
        process.kill()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in probes) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in probes)


def connections_of(pid):
    """Sockets that a process holds."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += "socket" in str(entry.readlink())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("count", [2, 8])
def test_connections_are_spread_evenly_over_the_workers(tmp_path, count):
    path = models.double(tmp_path / "double.onnx")
    with Server(["--file", str(path), "--workers", "2"]) as server:
        host, port = server.address.split(":")
        workers = children_of(server.pid)
        empty = [connections_of(pid) for pid in workers]
        for _ in range(5):
            clients = [socket.create_connection((host, int(port)), 10) for _ in range(count)]
            end = time.monotonic() + 10
            while time.monotonic() < end:
                held = [connections_of(p) - e for p, e in zip(workers, empty, strict=True)]
                if sum(held) == count and max(held) - min(held) <= 2 and min(held) >= 1:
                    break  # else one may still be on its way from worker to worker
                time.sleep(0.02)
            assert max(held) - min(held) <= 2
            assert min(held) >= 1
            for client in clients:
                client.close()
            end = time.monotonic() + 10
            while [connections_of(p) for p in workers] != empty and time.monotonic() < end:
                time.sleep(0.02)


def test_settings_that_were_decided_are_those_of_the_workers(tmp_path):
    path = models.double(tmp_path / "double.onnx")
    with Server(["--file", str(path), "--workers", "2", "--threads", "3"]) as server:
        sizing = codec.decode(Sizing, get(f"{server.url}/v2")["sizing"])
        assert sizing == replace(sizing, workers=2, threads=3, calibrated=False, reason="as set")
