"""Traces and metrics from a real server to a collector, and to nobody."""

import json
import time
import urllib.error
import urllib.request
from itertools import pairwise

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from environments import environment
from modelworks.core import codec
from modelworks.core.outer import plan
from modelworks.core.served import ServedModel
from modelworks.core.steps import StepsFile
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins.load import load
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server, serve_list
from otlp_receiver import Collector, attributes
from store_servers import free_port, running

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
ROTEL = ("rotel==0.0.1a15",)


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


def ask(server, flags="01", path="/v2/models/line/infer", values=(1.0, 2.0), tensor=None):
    """The status of one request."""
    tensor = tensor or {"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": values}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "x-request-id": "r-7"}
    body = json.dumps({"inputs": [tensor]}).encode()
    try:
        made = urllib.request.Request(f"{server.url}{path}", body, headers)
        with urllib.request.urlopen(made, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def spans_of(collector, name):
    return [span for span in collector.spans if span.name == name]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_sampled_request_has_its_spans(model, workers):
    root = "POST /v2/models/{model}/infer"
    told = ["--file", str(model), "--name", "line", "--workers", workers, "--otlp-seconds", "1"]
    with Collector() as collector, Server([*told, "--otlp", collector.url]) as server:
        for _ in range(5):
            assert ask(server) == 200
        assert ask(server, flags="00") == 200  # its caller keeps no trace
        assert ask(server, values=(1.0, 2.0, 3.0)) == 400
        collector.eventually(lambda: len(spans_of(collector, root)) >= 6)
        collector.eventually(lambda: success(collector) == 6)
    roots = spans_of(collector, root)
    assert len(roots) == 6
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert {span.parent_span_id.hex() for span in roots} == {PARENT}
    assert {span.kind for span in roots} == {2}  # server
    good = [s for s in roots if attributes(s)["http.response.status_code"] == 200]
    assert len(good) == 5
    told = attributes(good[0])
    assert told["modelworks.model.name"] == "line"
    assert told["modelworks.model.version"] == "1.0.0"
    assert told["modelworks.batch.rows"] == 1
    assert told["http.request.header.x-request-id"] == ["r-7"]
    assert told["url.path"] == "/v2/models/line/infer"
    for span in good:
        children = [one for one in collector.spans if one.parent_span_id == span.span_id]
        assert [c.name for c in children] == ["decode", "queue", "gather", "compute", "encode"]
        edges = [(c.start_time_unix_nano, c.end_time_unix_nano) for c in children]
        assert edges[0][0] == span.start_time_unix_nano
        assert edges[-1][1] == span.end_time_unix_nano
        assert all(a[1] == b[0] for a, b in pairwise(edges))
    assert collector.resources[0]["service.name"] == "modelworks-server"
    histogram = collector.metrics["modelworks_request_duration_seconds"]
    assert histogram.unit == "s"
    [total] = [p for p in histogram.histogram.data_points if attributes(p)["stage"] == "total"]
    assert total.count == sum(total.bucket_counts) == 6
    assert len(total.bucket_counts) == len(total.explicit_bounds) + 1


@pytest.fixture
def stepped(tmp_path):
    """A model before which a tokenizer runs, in Python."""
    node = helper.make_node("Identity", ["input_ids"], ["y"])
    ids, y = (onnx_models.info(name, Datatype.INT64, (None, None)) for name in ("input_ids", "y"))
    onnx_models.write(tmp_path / "model.onnx", [node], [ids], [y])
    words = Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    shape = (None, None)
    specs = [TensorSpec(name, Datatype.INT64, shape) for name in ("input_ids", "y")]
    model = Signature((specs[0],), (specs[1],))
    steps = codec.decode(StepsFile, {"inputs": [{"name": "t", "tokenize": {}}]}).inputs
    planned = plan(model, steps)
    load("steps", "graph")().compose(planned, model, tmp_path, "onnx")
    return ServedModel("line", "1.0.0", str(tmp_path), "", signature=planned.outer)


def test_steps_and_their_model_have_spans_of_their_own(stepped, tmp_path):
    listed = serve_list(tmp_path / "served.json", [stepped])
    told = ["--served", str(listed), "--otlp-seconds", "1"]
    tensor = {"name": "t", "shape": [1, 1], "datatype": "BYTES", "data": ["a b a"]}
    with Collector() as collector, Server([*told, "--otlp", collector.url]) as server:
        for _ in range(20):  # more than an engine looks at before it keeps tensors
            assert ask(server, tensor=tensor) == 200
        collector.eventually(lambda: len(spans_of(collector, "encode")) >= 20)
    computed = {span.span_id: span for span in spans_of(collector, "compute")}
    models = spans_of(collector, "step model")
    assert {span.parent_span_id for span in models} == computed.keys()
    assert len(models) == len(spans_of(collector, "step input_ids")) == 20
    for span in models:
        around = computed[span.parent_span_id]
        assert around.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= around.end_time_unix_nano


def success(collector):
    """Requests that went well, as the newest metrics say."""
    metric = collector.metrics.get("modelworks_requests")
    if metric is None:
        return 0
    points = metric.sum.data_points
    found = [p.as_int for p in points if attributes(p).get("model") == "line"
             and attributes(p)["outcome"] == "success"]  # fmt: skip
    return sum(found)


@pytest.mark.parametrize("trouble", ["unreachable", "refuses", "killed"])
def test_nobody_waits_for_a_collector(model, trouble):
    with Collector(503) as collector:
        nobody = f"http://127.0.0.1:{free_port()}"
        url = collector.url if trouble == "refuses" else nobody
        with Server(["--file", str(model), "--name", "line", "--otlp", url]) as server:
            took = []
            for number in range(200):
                began = time.perf_counter()
                assert ask(server) == 200
                took.append(time.perf_counter() - began)
                if trouble == "killed" and number == 100:
                    for child in children(server.pid):
                        child.kill()
            assert np.median(took) < 0.5
            began = time.monotonic()
            server.terminate()
            assert server.wait() == 0
            assert time.monotonic() - began < 20
    if trouble == "refuses":
        assert collector.requests > 0


def children(pid):
    """The exporter, once it has been started."""
    deadline = time.monotonic() + 30
    while not (found := psutil.Process(pid).children(recursive=True)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_collector_of_somebody_else_takes_it(model, tmp_path):
    """rotel takes OTLP and hands it on: what arrives went through another implementation."""
    python = environment("rotel", ROTEL)
    agent = next(python.parent.parent.glob("lib/python*/site-packages/rotel/rotel-agent"))
    port = free_port()
    told = ["--file", str(model), "--name", "line", "--otlp-seconds", "1"]
    with Collector() as collector:
        command = [str(agent), "start", "--otlp-http-endpoint", f"127.0.0.1:{port}"]
        command += ["--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--exporter", "otlp"]
        command += ["--otlp-exporter-endpoint", collector.url]
        command += ["--otlp-exporter-protocol", "http", "--pid-file", str(tmp_path / "pid")]
        with (
            running("rotel", command, port, tmp_path / "rotel.log"),
            Server([*told, "--otlp", f"http://127.0.0.1:{port}"]) as server,
        ):
            assert ask(server) == 200
            collector.eventually(lambda: len(collector.spans) == 6)
            collector.eventually(lambda: success(collector) == 1)
