"""A shop of three deployments behind a gateway, and callers; for tests that go the whole way."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import urllib3
import yaml

from desk import Desk, get
from modelworks.testing import onnx_models
from store_servers import free_port

CALLERS = 4
PAUSE_S = 0.01


@dataclass
class Callers:
    """Who asks through the gateway, and what came of it.

    Attributes:
        url: of the gateway.
        statuses: of the answers; 0 = there was none.
        versions: that answered since the last look.
    """

    url: str
    statuses: Counter = field(default_factory=Counter)
    versions: Counter = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask, one request after the other, until the end."""
        chance = random.Random()
        pool = urllib3.PoolManager(retries=False, timeout=20)
        while not self.ended.wait(PAUSE_S):
            data = [chance.randrange(100)]
            body = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 1], "data": data}]}
            try:
                answer = pool.request("POST", f"{self.url}/v2/models/shop/infer", json=body)
            except urllib3.exceptions.HTTPError:
                self.statuses[0] += 1
                continue
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.versions[answer.json()["model_version"]] += 1

    def spared(self, version: str) -> bool:
        """Whether one answered nobody for a second: the gateway has taken up the change."""
        self.versions.clear()
        time.sleep(1)
        return bool(self.versions) and version not in self.versions

    @contextmanager
    def asking(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in threads:
                thread.join(30)


def deployment(name: str, version: str) -> dict:
    spec = {"model": f"shop:{version}", "target": "local", "access": {"port": free_port()}}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def manifest() -> str:
    backends = [
        {"deployment": name, "weight": weight}
        for name, weight in (("old", 100), ("bad", 0), ("good", 0))
    ]
    route = {"kind": "Route", "metadata": {"name": "door"}, "spec": {"backends": backends}}
    every = (deployment("old", "1.0.0"), deployment("bad", "2.0.0"), deployment("good", "3.0.0"))
    return yaml.safe_dump_all([{"apiVersion": "modelworks/v1", **one} for one in (*every, route)])


def rollout(candidate: str, *first: dict, bake: str = "1s") -> str:
    steps = [*first, {"share": "30%", "bake": bake, "sample": 30}, {"share": "100%"}]
    spec = {
        "route": "door",
        "stable": "old",
        "candidate": candidate,
        "steps": steps,
        "primary": {"metric": "error_rate", "margin": "10pp"},
        "minimum_sample": 50,
        "max_duration": "5m",
    }
    document = {"kind": "Rollout", "metadata": {"name": candidate}, "spec": spec}
    return yaml.safe_dump(document)


def given(desk: Desk) -> None:
    folder = desk.folder
    for version, size in (("1.0.0", 100), ("2.0.0", 80), ("3.0.0", 100)):
        factor = int(version[0]) * 10  # another model each
        path = onnx_models.look_up(folder / f"{version}.onnx", size, factor)
        desk.mw("import", str(path), "--name", "shop", "--version", version)
    (folder / "modelworks.yaml").write_text(manifest())
    (folder / "bad.yaml").write_text(rollout("bad"))
    copies = {"share": "0%", "bake": "1s", "sample": 20}
    (folder / "good.yaml").write_text(rollout("good", copies))
    desk.mw("apply")


def told(control: str, name: str) -> dict:
    return get(f"{control}/api/v1/rollouts/{name}")


def answers(url: str) -> bool:
    pool = urllib3.PoolManager(retries=False, timeout=5)
    body = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [1]}]}
    return pool.request("POST", f"{url}/v2/models/shop/infer", json=body).status == 200
