"""Two clusters behind one gateway: one dies whole and comes back; one stands still."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from certificates import Authority
from gateway_process import Callers, Gateway
from gateway_served import as_json, one, snapshot
from modelworks.core.routes import Arm, Endpoint, Retries, Route, Span
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server
from store_servers import free_port

pytestmark = pytest.mark.real

INFER = "/v2/models/m/infer"
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
).encode()
TRIES = "modelworks_gateway_endpoint_tries_total"


class Cluster:
    """Servers at addresses of their own, which they have again after a start."""

    def __init__(self, count, arguments, scheme="http"):
        self.arguments = arguments
        self.ports = [free_port() for _ in range(count)]
        self.urls = [f"{scheme}://localhost:{port}" for port in self.ports]
        self.servers = []

    def start(self):
        commands = [[*self.arguments, "--port", str(port)] for port in self.ports]
        with ThreadPoolExecutor(len(commands)) as pool:
            self.servers = list(pool.map(Server, commands))
        return self

    def kill(self):
        for server in self.servers:
            server.process.kill()
        self.__exit__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.__exit__(None, None, None)
        self.servers = []


def tries(gateway, cluster):
    found = gateway.metrics()
    return sum(v for k, v in found.items() if TRIES in k and any(u in k for u in cluster.urls))


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_cluster_dies_whole_and_comes_back(tmp_path):
    model = onnx_models.identity(tmp_path / "m.onnx")
    authority = Authority(tmp_path)
    files = authority.pair("localhost")
    plain = ["--file", str(model), "--name", "m"]
    tls = [*plain, "--tls-cert", str(files.certificate), "--tls-key", str(files.key)]
    with Cluster(2, tls, "https") as ours, Cluster(1, tls, "https") as theirs:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Cluster.start, (ours, theirs)))
        ends = [Endpoint(url, "a") for url in ours.urls]
        ends += [Endpoint(url, "b") for url in theirs.urls]
        route = Route("r", (Arm("r/1", endpoints=tuple(ends)),), (Span(0, 10_000, "r/1"),))
        routes = tmp_path / "routes.json"
        routes.write_bytes(as_json(snapshot(replace(route, model="m"))))
        told = ["--zone", "a", "--upstream-ca", str(authority.certificate)]
        with (
            Gateway(routes, *told, "--check-seconds", "0.3") as gateway,
            Callers(gateway.port, INFER, BODY) as callers,
        ):
            callers.until(200)
            assert tries(gateway, theirs) == 0  # as long as one of our own zone is well
            ours.kill()
            callers.until(300)
            assert tries(gateway, theirs) >= 200
            ours.start()
            before = tries(gateway, ours)
            until(lambda: tries(gateway, ours) > before + 50)
            until(lambda: all(place["ready"] for place in gateway.state()["endpoints"]))
            there = tries(gateway, theirs)
            callers.until(200)
            assert tries(gateway, theirs) - there <= 4  # who was under way
        assert callers.errors == []
        assert set(callers.statuses) == {200}


def hedges_won(gateway):
    return gateway.metrics()['modelworks_gateway_hedges_won_total{route="r"}']


def test_a_server_that_stands_still_is_overtaken_by_a_second_try(tmp_path):
    model = onnx_models.identity(tmp_path / "m.onnx")
    with Cluster(2, ["--file", str(model), "--name", "m"]) as both:
        both.start()
        route = one(*both.urls, model="m", hedge_ms=40, retries=Retries(budget=1.0))
        routes = tmp_path / "routes.json"
        routes.write_bytes(as_json(snapshot(route)))
        still = both.servers[0].process
        with (
            Gateway(routes, "--check-seconds", "60") as gateway,
            Callers(gateway.port, INFER, BODY) as callers,
        ):
            callers.until(100)
            before = hedges_won(gateway)
            still.send_signal(signal.SIGSTOP)
            try:
                # Others are answered while one waits: how many answers that takes is chance.
                until(lambda: hedges_won(gateway) >= before + 10)
            finally:
                still.send_signal(signal.SIGCONT)
        assert callers.errors == []
        assert set(callers.statuses) == {200}
