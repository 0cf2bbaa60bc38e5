"""A gateway is replaced by another one: what the old one kept is read, and nobody is let fall."""

import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway_process import Callers, Gateway
from gateway_served import as_json, one, snapshot
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server
from store_servers import free_port

pytestmark = pytest.mark.real

KEPT = Path(__file__).parents[1] / "data" / "gateway" / "snapshot-0.1.json"
INFER = "/v2/models/m/infer"
BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    model = onnx_models.identity(tmp_path_factory.mktemp("upgrade") / "m.onnx")
    with Server(["--file", str(model), "--name", "m"]) as made:
        yield made


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_next_one_joins_and_the_old_one_drains(server, tmp_path, workers):
    routes = tmp_path / "routes.json"
    routes.write_bytes(as_json(snapshot(one(server.url, model="m"))))
    shared = ["--port", str(free_port()), "--share-port", "--workers", workers]
    with Gateway(routes, *shared) as old, Callers(old.port, INFER, BODY) as callers:
        callers.until(200)
        with Gateway(routes, *shared) as new:
            assert new.port == old.port
            callers.until(200)
            old.process.terminate()
            assert old.process.wait(30) == 0
            callers.until(300)
            end = time.monotonic() + 10
            while sum(v for k, v in new.metrics().items() if "endpoint_tries_total" in k) < 200:
                assert time.monotonic() < end  # numbers of other workers come a second late
                time.sleep(0.2)
            callers.stop()
    assert callers.errors == []
    assert set(callers.statuses) == {200}


def test_a_gateway_without_routes_does_not_join(tmp_path):
    shared = ["--port", str(free_port()), "--share-port"]
    with pytest.raises(RuntimeError, match=r"(?s)exit 4: .*cannot be read"):
        Gateway(tmp_path / "none.json", *shared)


class Control:
    """A control plane that gives one snapshot, or none at all."""

    def __init__(self):
        self.body = b""
        control = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                time.sleep(0.1)
                self.send_response(200 if control.body else 503)
                self.send_header("Content-Length", str(len(control.body)))
                self.end_headers()
                self.wfile.write(control.body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/v1/routes/snapshot"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def test_the_cache_of_an_earlier_one_is_gone_by_and_a_later_format_is_not(server, tmp_path):
    told = json.loads(KEPT.read_text())
    route = told["routes"][0]
    route |= {"host": "", "model": "m", "shadows": [], "spans": [{"first": 0, "end": 10_000}]}
    route["spans"][0]["arm"] = "fraud/1"
    route["arms"][0]["endpoints"][0]["url"] = server.url
    told |= {"keys": {}, "tokens": None}
    cache = tmp_path / "cache.json"
    cache.write_text(json.dumps(told))
    control = Control()
    with Gateway(control.url, "--cache", str(cache)) as gateway:
        assert ask(gateway) == 200  # the control plane is away
        state = gateway.state()
        assert state["generation"] == 41
        control.body = json.dumps(told | {"generation": 42, "epoch": 1}).encode()
        end = time.monotonic() + 20
        while "epoch" not in (gateway.state()["control_plane"]["problem"] or ""):
            assert time.monotonic() < end, gateway.state()
            time.sleep(0.1)
        assert (ask(gateway), gateway.state()["generation"]) == (200, 41)
        assert json.loads(cache.read_text())["generation"] == 41
        control.body = json.dumps(told | {"generation": 43}).encode()
        while gateway.state()["generation"] != 43:
            assert time.monotonic() < end, gateway.state()
            time.sleep(0.1)
        assert ask(gateway) == 200
    control.server.shutdown()
    control.server.server_close()


def ask(gateway) -> int:
    with urllib.request.urlopen(f"{gateway.url}{INFER}", BODY, timeout=10) as answer:
        return answer.status
