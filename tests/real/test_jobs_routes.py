"""Jobs of a server with routes: keys of callers, limits, and whose job is whose."""

import http.client
import json
from hashlib import sha256

import orjson
import pytest

from jobs_desk import body
from modelworks.core.codec import encode
from modelworks.core.routes import Arm, Limit, Pass, Route, Snapshot, Span
from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from recording_server import until

pytestmark = pytest.mark.real


@pytest.fixture
def server(tmp_path):
    path = models.double(tmp_path / "double.onnx")
    listed = serve_list(
        tmp_path / "list.json", [ServedModel("double", "1.0.0", str(path), digest="")]
    )
    whole = (Span(0, 10_000, "all"),)
    route = Route("shop", (Arm("all", "double", "1.0.0"),), whole, model="shop")
    keys = {
        sha256(key.encode()).hexdigest(): made
        for key, made in (
            ("ana", Pass("ana")),
            ("bob", Pass("bob")),
            ("few", Pass("few", limit=Limit(0.001, 2))),
            ("other", Pass("other", models=("nothing",))),
        )
    }
    routes = tmp_path / "routes.json"
    routes.write_bytes(orjson.dumps(encode(Snapshot(1, (route,), keys=keys))))
    arguments = ["--served", str(listed), "--routes", str(routes)]
    with Server([*arguments, "--jobs", str(tmp_path / "jobs")]) as found:
        yield found


def ask(server, key, method, path, text=None):
    connection = http.client.HTTPConnection(server.address, timeout=20)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connection.request(method, path, text, headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_a_caller_submits_to_what_its_key_opens_and_sees_its_own(server):
    assert ask(server, "", "POST", "/v2/models/double/jobs", body())[0] == 401
    assert ask(server, "", "GET", "/v2/jobs")[0] == 401
    assert ask(server, "other", "POST", "/v2/models/double/jobs", body())[0] == 403
    status, told = ask(server, "ana", "POST", "/v2/models/double/jobs", body())
    assert status == 202
    job = f"/v2/jobs/{told['id']}"
    until(lambda: ask(server, "ana", "GET", job)[1]["state"] == "done")
    assert ask(server, "ana", "GET", f"{job}/result")[1]["outputs"][0]["data"] == [2.0, 4.0, 6.0]
    for path, method in ((job, "GET"), (f"{job}/result", "GET"), (job, "DELETE")):
        assert ask(server, "bob", method, path)[0] == 404
    assert ask(server, "bob", "GET", "/v2/jobs")[1] == {"jobs": []}


def test_a_limit_counts_submissions(server):
    found = [ask(server, "few", "POST", "/v2/models/double/jobs", body())[0] for _ in range(3)]
    assert found == [202, 202, 429]


def test_a_name_that_only_routes_know_runs_on_what_it_stands_for(server):
    status, told = ask(server, "ana", "POST", "/v2/models/shop/jobs", body())
    assert (status, told["model"], told["version"]) == (202, "double", "1.0.0")
    until(lambda: ask(server, "ana", "GET", f"/v2/jobs/{told['id']}")[1]["state"] == "done")
