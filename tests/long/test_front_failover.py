"""A deployment behind a route is killed whole, under load: its twin answers, and it comes back."""

import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
import urllib3
import yaml

from desk import Desk, until
from modelworks.core.local_folder import Layout
from modelworks.testing import onnx_models
from store_servers import free_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
HTTP = urllib3.PoolManager(maxsize=4, retries=False, timeout=10)
BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


def manifest() -> list[dict]:
    head = {"apiVersion": "modelworks/v1"}
    both = [
        head
        | {"kind": "Deployment", "metadata": {"name": name, "labels": {"modelworks.io/zone": zone}}}
        | {"spec": {"model": "m:1.0.0", "target": "local", "access": {"port": free_port()}}}
        for name, zone in (("a", "eu"), ("b", "us"))
    ]
    backends = [{"deployment": name, "weight": 50} for name in "ab"]
    return [
        *both,
        head | {"kind": "Route", "metadata": {"name": "door"}, "spec": {"backends": backends}},
    ]


def kill(folder: Path) -> None:
    """Supervisor and replicas, so that nothing of the deployment is left."""
    layout = Layout(folder)
    status = json.loads(layout.status.read_text())
    for pid in (layout.supervisor(), *status["pids"].values()):
        os.kill(pid, signal.SIGKILL)


def test_a_deployment_that_is_killed_costs_no_request(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    file = onnx_models.identity(tmp_path / "m.onnx")
    desk.mw("import", str(file), "--name", "m", "--version", "1.0.0")
    (tmp_path / "modelworks.yaml").write_text(yaml.safe_dump_all(manifest()))
    counts: Counter = Counter()
    ended = threading.Event()

    with desk.running("up", "--no-watch", "--port", "0", "--control-port", "0") as up:
        snapshot = f"{up.said['control']}/api/v1/routes/snapshot"
        gateway = ("gateway", "--snapshot", snapshot, "--port", "0", "--admin-port", "0")
        with desk.running(*gateway, "--zone", "eu") as front:
            url = f"{front.said['url']}/v2/models/m/infer"

            def ask() -> None:
                while not ended.is_set():
                    counts[HTTP.request("POST", url, json=BODY).status] += 1

            def places() -> list[int]:
                routes = HTTP.request("GET", snapshot).json()["routes"]
                return [len(arm["endpoints"]) for arm in routes[0]["arms"]]

            try:
                desk.mw("apply")
                until("both are known", lambda: places() == [2, 2])
                until(
                    "the gateway knows", lambda: HTTP.request("POST", url, json=BODY).status == 200
                )
                threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
                for thread in threads:
                    thread.start()
                until("callers are answered", lambda: counts[200] > 300)
                kill(tmp_path / "home" / "targets" / "local" / "a")
                until("it is seen", lambda: places() == [1, 1])
                until("up has started it again", lambda: places() == [2, 2], 60)
                more = counts[200] + 300
                until("callers are answered", lambda: counts[200] > more)
                ended.set()
                for thread in threads:
                    thread.join(20)
            finally:
                ended.set()
                desk.mw("delete", "-f", "modelworks.yaml", "--yes")
    assert set(counts) == {200}, counts
