"""Real Prometheus and Alertmanager on what `observability init` writes, promtool on the rest."""

import json
import os
import queue
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from onnx import TensorProto, helper, save
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict

from modelworks.control.observability.grafana import BOARDS
from modelworks.core.home import Home
from modelworks.testing.servers import Server
from plain_server import PlainServer, answer
from prometheus_server import alertmanager, amtool, prometheus, promtool
from store_servers import free_port, running

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
TRACE = "0af7651916cd43dd8448eb211c80319c"
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 10.0])],
    )
    path = tmp_path_factory.mktemp("model") / "line.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(made, path)
    return path


@pytest.fixture(scope="module")
def server(model):
    """A server that has answered, refused, and been traced."""
    with Server(["--file", str(model), "--name", "line"]) as server:
        for number in range(20):
            ask(server, [1.0, 2.0], f"00-{TRACE}-b7ad6b716920333{number % 10}-01")
        ask(server, [1.0, 2.0, 3.0])
        yield server


def ask(server, values, trace=""):
    """The status of one prediction."""
    tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": values}
    body = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Content-Type": "application/json"} | ({"traceparent": trace} if trace else {})
    request = urllib.request.Request(f"{server.url}/v2/models/line/infer", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as told:
            return told.status
    except urllib.error.HTTPError as error:
        return error.code


def get(url, headers=None):
    """Status, content type and text."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as told:
            return told.status, told.headers["Content-Type"], told.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def modelworks(home, *words):
    """One command; its output."""
    env = os.environ | {"MODELWORKS_HOME": str(home), "MODELWORKS_URL": ""}
    done = subprocess.run(
        [sys.executable, "-m", "modelworks.cli.main", *words],
        env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the texts


def test_our_own_metrics_please_promtool_and_the_strict_parser(server):
    status, kind, text = get(f"{server.url}/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    done = promtool("check", "metrics", text=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    status, kind, text = get(f"{server.url}/metrics", OPENMETRICS)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in strict(text)}
    seen = [s for s in families["modelworks_request_duration_seconds"].samples if s.exemplar]
    assert seen
    assert {sample.exemplar.labels["trace_id"] for sample in seen} == {TRACE}
    assert {sample.labels["stage"] for sample in seen} == {"total"}


# What promtool's linter says of the names that those servers chose; nothing else may be wrong.
NAMES = re.compile(
    r"\S+ (counter metrics should have \"_total\" suffix"
    r"|use base unit \"\w+\" instead of \"\w+\""
    r"|metric names should not contain abbreviated units"
    r"|metric names should be written in 'snake_case' not 'camelCase'"
    r"|non-histogram and non-summary metrics should not have \"_count\" suffix)"
)


@pytest.mark.parametrize("dialect", ["triton", "mlserver", "kserve", "torchserve"])
def test_dialects_are_read_by_promtool(server, dialect):
    status, kind, text = get(f"{server.url}/metrics?dialect={dialect}", OPENMETRICS)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    done = promtool("check", "metrics", text=text)
    assert done.returncode in {0, 3}  # 3: there are remarks
    remarks = [line for line in done.stderr.splitlines() if line]
    assert [line for line in remarks if NAMES.fullmatch(line) is None] == []
    if dialect in {"kserve", "mlserver"}:
        assert remarks == []


def test_an_unknown_dialect_is_a_400_with_the_list(server):
    status, _, text = get(f"{server.url}/metrics?dialect=seldon")
    assert status == 400
    assert "triton, mlserver, kserve, torchserve" in text


# -- what init writes


def test_alertmanagers_file_is_one_that_it_takes(tmp_path):
    hook = "http://127.0.0.1:1/hook"
    modelworks(
        tmp_path, "observability", "init", "alertmanager", "-o", str(tmp_path), "--webhook", hook
    )
    done = amtool("check-config", str(tmp_path / "alertmanager.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_expression_of_the_dashboards_is_promql(tmp_path):
    rules = []
    for board in BOARDS:
        for row in board.rows:
            for panel in row.panels:
                for query, _ in panel.queries:
                    plain = query.replace("$__rate_interval", "5m")
                    rules.append({"record": "a:b", "expr": plain, "labels": {"n": str(len(rules))}})
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


@pytest.fixture
def control(tmp_path):
    """A control plane beside no server; its URL."""
    home = Home(tmp_path / "home").create()
    port = free_port()
    command = [sys.executable, "-m", "modelworks.apps.control", "--home", str(home.root)]
    with running("control", [*command, "--port", str(port)], port, tmp_path / "control.log"):
        yield f"http://127.0.0.1:{port}"


def test_prometheus_scrapes_us_and_an_alert_arrives(server, control, model, tmp_path):
    told = queue.Queue()

    def hook(taken):
        told.put(json.loads(taken.body))
        return answer()

    folder = tmp_path / "monitoring"
    init = ["observability", "init"]
    with PlainServer(hook) as receiver:
        hooked = ["--webhook", f"{receiver.url}/hook"]
        modelworks(tmp_path, *init, "alertmanager", "-o", str(folder), *hooked)
        quick(folder / "alertmanager.yml", "1s")
        with (
            alertmanager(folder / "alertmanager.yml", tmp_path / "am") as address,
            Server(["--file", str(model), "--name", "other"]) as doomed,
        ):
            scraped = ["--server", server.url, "--server", doomed.url, "--control", control]
            words = [*init, "prometheus", "-o", str(folder), *scraped, "--alertmanager", address]
            modelworks(tmp_path, *words)
            assert (folder / "prometheus.yml").exists()
            checked = promtool("check", "config", str(folder / "prometheus.yml"))
            assert checked.returncode == 0, checked.stdout + checked.stderr
            assert "7 rules found" in checked.stdout
            quick(folder / "prometheus.yml", "1s")
            hasten(folder / "rules" / "modelworks.yml")
            with prometheus(folder / "prometheus.yml", tmp_path / "data") as watching:
                follow(watching, server, doomed, control)
                doomed.kill()
                fired = told.get(timeout=60)
    assert fired["status"] == "firing"
    [alert] = [a for a in fired["alerts"] if a["labels"]["alertname"] == "ModelworksServerDown"]
    assert alert["labels"]["instance"] == doomed.address
    assert alert["annotations"]["summary"] == f"{doomed.address} does not answer a scrape."


def follow(watching, server, doomed, control):
    """Wait until everything is scraped, and look at what Prometheus made of it."""
    hosts = {server.address, doomed.address, control.removeprefix("http://")}

    def up():
        found = watching.query('up{job=~"modelworks.*"} == 1')
        return {labels["instance"] for labels, _ in found} == hosts

    watching.eventually(up)
    name = f'modelworks_requests_total{{instance="{server.address}",outcome="success",model!=""}}'
    [(labels, count)] = watching.query(name)
    assert (labels["model"], count) == ("line", 20)
    assert watching.query("modelworks_control_build_info")
    assert watching.query("modelworks_request_duration_seconds_created")  # it asks for OpenMetrics
    exemplars = watching.eventually(
        lambda: watching.api(
            "query_exemplars",
            query="modelworks_request_duration_seconds_bucket",
            start="0",
            end="9999999999",
        )
    )
    assert exemplars[0]["exemplars"][0]["labels"] == {"trace_id": TRACE}
    ask(server, [1.0, 2.0])
    watching.eventually(lambda: watching.query("modelworks:latency_seconds:p99_5m > 0"))


def quick(path, seconds):
    """Shorten all waits of a configuration: a test has not four hours."""
    text = re.sub(
        r"(interval|group_wait|group_interval|scrape_interval|evaluation_interval): \S+",
        rf"\1: {seconds}",
        path.read_text(),
    )
    path.write_text(text.replace("repeat_interval: 1s", "repeat_interval: 1h"))


def hasten(path):
    path.write_text(re.sub(r"for: 1m\b", "for: 0s", path.read_text()))


def test_init_twice_changes_nothing_and_a_change_is_kept(tmp_path):
    words = ["observability", "init", "grafana", "-o", str(tmp_path / "g"), "--json"]
    first = json.loads(modelworks(tmp_path, *words))
    assert {one["outcome"] for one in first["files"]} == {"written"}
    again = json.loads(modelworks(tmp_path, *words))
    assert {one["outcome"] for one in again["files"]} == {"same"}
    assert Path(tmp_path / "g" / "dashboards" / "modelworks-overview.json").exists()
