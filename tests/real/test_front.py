"""A gateway follows `up`: models, a route of deployments, `up` killed and back, one that moves.

One installation, one gateway, one model of 4 KB in three deployments.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import urllib3
import yaml

from desk import Desk, until
from modelworks.testing import onnx_models
from store_servers import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
HTTP = urllib3.PoolManager(retries=False, timeout=10)
BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
USERS = 200


def deployment(name: str, version: str, port: int) -> dict:
    spec = {"model": f"m:{version}", "target": "local", "access": {"port": port}}
    return {
        "apiVersion": "modelworks/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": spec,
    }


def door(**weights: int) -> dict:
    backends = [{"deployment": name, "weight": weight} for name, weight in weights.items()]
    spec = {"backends": backends, "sticky": {"header": "X-User"}}
    return {
        "apiVersion": "modelworks/v1",
        "kind": "Route",
        "metadata": {"name": "door"},
        "spec": spec,
    }


def applied(desk: Desk, *documents: dict) -> None:
    (desk.folder / "modelworks.yaml").write_text(yaml.safe_dump_all(documents))
    desk.mw("apply")


def version_of(gateway: str, **headers: str) -> str:
    answer = HTTP.request("POST", f"{gateway}/v2/models/m/infer", json=BODY, headers=headers)
    assert answer.status == 200, answer.data
    return str(answer.json()["model_version"])


def homes(gateway: str) -> list[str]:
    """Who answers each of the users."""
    return [version_of(gateway, **{"X-User": f"user-{number}"}) for number in range(USERS)]


def state(admin: str) -> dict:
    return HTTP.request("GET", f"{admin}/-/state").json()


@contextmanager
def deployed(desk: Desk) -> Iterator[None]:
    """Whatever was applied meanwhile ends: it would outlive its folder for a while."""
    try:
        yield
    finally:
        desk.mw("delete", "-f", "modelworks.yaml", "--yes")


def test_a_gateway_goes_by_what_the_installation_has(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    file = onnx_models.identity(tmp_path / "m.onnx")
    for version in ("1.0.0", "2.0.0"):
        desk.mw("import", str(file), "--name", "m", "--version", version)
    ports = [str(free_port()) for _ in range(2)]
    up = ("up", "--no-watch", "--port", ports[0], "--control-port", ports[1])
    snapshot = f"http://127.0.0.1:{ports[1]}/api/v1/routes/snapshot"
    gateway = ("gateway", "--snapshot", snapshot, "--port", "0", "--admin-port", "0")
    with ExitStack() as stack:
        first = stack.enter_context(desk.running(*up))
        said = stack.enter_context(desk.running(*gateway)).said
        url, admin = said["url"], said["admin"]
        until("models of up answer", lambda: asked(url) == 200)

        stack.enter_context(deployed(desk))
        both = [deployment("a", "1.0.0", free_port()), deployment("b", "2.0.0", free_port())]
        applied(desk, *both, door(a=80, b=20))
        until("both answer", lambda: len(set(homes(url))) == 2)
        split = homes(url)
        assert 15 <= Counter(split)["2.0.0"] <= 70  # 40 are meant: 4 in a million are beyond
        assert homes(url) == split

        generation = state(admin)["generation"]
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(20)
        until("up has ended", lambda: not answers(snapshot))
        assert homes(url) == split

        stack.enter_context(desk.running(*up))
        until("it is back", lambda: answers(snapshot))
        assert HTTP.request("GET", snapshot).json()["generation"] >= generation
        moved = deployment("b", "2.0.0", free_port())
        applied(desk, both[0], moved, door(a=50, b=50))
        until("more go to b", lambda: Counter(homes(url))["2.0.0"] >= 60)
        assert state(admin)["generation"] > generation
        later = zip(split, homes(url), strict=True)
        assert all(now == "2.0.0" for was, now in later if was == "2.0.0")


def test_an_installation_that_begins_again_elsewhere_names_no_place_of_the_last_one(
    tmp_path: Path,
) -> None:
    """From its first answer on: what it still has of the last run is nobody's address now."""
    desk = Desk(tmp_path)
    desk.mw("import", str(onnx_models.identity(tmp_path / "m.onnx")), "--name", "m")
    ports = [str(free_port()) for _ in range(3)]
    snapshot = f"http://127.0.0.1:{ports[2]}/api/v1/routes/snapshot"
    for port in ports[:2]:
        up = ("up", "--no-watch", "--port", port, "--control-port", ports[2])
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(first_answer, f"{snapshot}?after=-1&wait=20")
            with desk.running(*up) as server:
                [route] = first.result(60)["routes"]
                server.drain()
        places = [place["url"] for arm in route["arms"] for place in arm["endpoints"]]
        assert places == [f"http://127.0.0.1:{port}"]


def first_answer(url: str) -> dict:
    """Of a control plane that is about to begin."""
    end = time.monotonic() + 40
    while time.monotonic() < end:
        with suppress(urllib3.exceptions.HTTPError):
            answer = HTTP.request("GET", url, timeout=30)
            if answer.status == 200:
                return answer.json()
        time.sleep(0.02)
    raise AssertionError("the control plane never answered")


def answers(url: str) -> bool:
    try:
        return HTTP.request("GET", url).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def asked(gateway: str) -> int:
    return HTTP.request("POST", f"{gateway}/v2/models/m/infer", json=BODY).status
