"""`/v1/models/NAME:predict` of a real server: alone, behind routes and keys, and in its records."""

import hashlib
import json
import time

import pytest
import urllib3

from modelworks.core.codec import encode
from modelworks.core.routes import Arm, Pass, Route, Snapshot
from modelworks.core.served import ServedModel
from modelworks.protocol.routes import spans
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list

pytestmark = pytest.mark.real
HTTP = urllib3.PoolManager(retries=False, timeout=20)
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
TWICE = [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]]


def ask(server, name, told, key=""):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = told if isinstance(told, bytes) else json.dumps(told)
    url = f"{server.url}/v1/models/{name}:predict"
    answer = HTTP.request("POST", url, body=body, headers=headers)
    return answer.status, answer.json()


def ready(server):
    end = time.monotonic() + 30
    while HTTP.request("GET", f"{server.url}/v2/health/ready").status != 200:
        assert time.monotonic() < end, "it did not become ready"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v1")
    double = str(models.double(folder / "double.onnx"))
    lines = [
        ServedModel("double", "1.0.0", double, "sha256:a", aliases=("champion",)),
        ServedModel("lazy", "1.0.0", double, "sha256:a", autoload=False),
    ]
    return serve_list(folder / "served.json", lines)


def test_it_answers_and_refuses(listed):
    with Server(["--served", str(listed)]) as server:
        ready(server)
        for name in ("double", "double@champion", "double%40champion"):
            assert ask(server, name, {"instances": ROWS}) == (200, {"predictions": TWICE})
        plain = HTTP.request("POST", f"{server.url}/predict/double", json={"rows": ROWS}).json()
        assert [next(iter(one["outputs"].values())) for one in plain["predictions"]] == TWICE
        for told, words in (
            (b"{", "no JSON"),
            ({"rows": ROWS}, "instances"),
            ({"instances": [[1.0]]}, "rows[0]"),
            ({"instances": ROWS, "inputs": 1}, "inputs"),
            (b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}", ""),
        ):
            status, answer = ask(server, "double", told)
            assert status == 400
            assert words in answer["error"]
        assert ask(server, "nobody", {"instances": ROWS})[0] == 404
        assert HTTP.request("GET", f"{server.url}/v1/models/double:predict").status == 405
        stats = HTTP.request("GET", f"{server.url}/v2/models/double/stats").json()
        assert stats["model_stats"][0]["inference_stats"]["success"]["count"] == 4


def test_routes_and_keys_hold_for_it(listed, tmp_path):
    route = Route("both", (Arm("only", "double", "1.0.0"),), spans((), {"only": 1}), model="both")
    keys = {hashlib.sha256(b"good").hexdigest(): Pass("good", models=("both",))}
    file = tmp_path / "routes.json"
    file.write_text(json.dumps(encode(Snapshot(1, (route,), keys))))
    with Server(["--served", str(listed), "--routes", str(file)]) as server:
        ready(server)
        assert ask(server, "both", {"instances": ROWS}, "good") == (200, {"predictions": TWICE})
        assert ask(server, "both", {"instances": ROWS})[0] == 401
        assert ask(server, "both", {"instances": ROWS}, "bad")[0] == 401
        assert ask(server, "double", {"instances": ROWS}, "good")[0] == 403
