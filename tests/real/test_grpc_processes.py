"""gRPC on server processes: keys, routes, records, TLS, several workers, the end of the server."""

import hashlib
import http.client
import os
import queue
import signal
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import orjson
import pytest

from certificates import Authority
from grpc_client import connected, ones, refused, triton
from modelworks.core.codec import encode
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from modelworks.core.records import RecordPolicy
from modelworks.core.routes import Arm, Limit, Pass, Route, Shadow, Snapshot, Source, Sticky
from modelworks.core.served import ServedModel
from modelworks.measure.processes import tree
from modelworks.protocol.routes import spans
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from recording_server import counts, ended, records, until
from store_servers import free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

pytestmark = pytest.mark.real
ARMS = (Arm("old", "double", "1.0.0"), Arm("new", "double", "2.0.0"))


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Two versions of a model that doubles and trebles."""
    folder = tmp_path_factory.mktemp("models")
    lines = [
        ServedModel(
            "double",
            version,
            str(models.double(folder / f"{version}.onnx", factor=by)),
            digest="",
            default=version == "1.0.0",
        )
        for version, by in (("1.0.0", 2.0), ("2.0.0", 3.0))
    ]
    return serve_list(folder / "list.json", lines)


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def version(client, **more):
    answer = client.infer("double", [ones()], **more)
    found = answer.get_response().model_version
    assert answer.as_numpy("y")[0, 0] == {"1.0.0": 2.0, "2.0.0": 3.0}[found]
    return found


def test_api_keys(listed, tmp_path):
    keys = KeyFile(tmp_path / "keys")
    key, admin = keys.add("shop", Role.PREDICT), keys.add("boss", Role.ADMIN)
    with (
        Server(["--served", str(listed), "--keys", str(tmp_path / "keys")]) as server,
        connected(server.address) as client,
    ):
        assert client.is_server_live()
        assert client.is_server_ready()
        with grpc.insecure_channel(server.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert stub.Check(health_pb2.HealthCheckRequest()).status == 1
        for call in (
            partial(client.infer, "double", [ones()]),
            client.get_server_metadata,
            partial(client.get_model_metadata, "double"),
            partial(client.unload_model, "double"),
        ):
            assert "UNAUTHENTICATED" in refused(call)[0]
            assert "UNAUTHENTICATED" in refused(partial(call, headers=bearer("mw_wrong")))[0]
        assert version(client, headers=bearer(key)) == "1.0.0"
        assert client.get_model_metadata("double", headers=bearer(key)).name == "double"
        code, why = refused(lambda: client.unload_model("double", headers=bearer(key)))
        assert "PERMISSION_DENIED" in code
        assert "admin" in why
        client.unload_model("double", headers=bearer(admin))
        client.load_model("double", headers=bearer(admin))
        told = queue.Queue()
        client.start_stream(lambda result, error: told.put((result, error)), headers=bearer(key))
        client.async_stream_infer("double", [ones()])
        assert told.get(timeout=30)[1] is None
        client.stop_stream()
        keys.revoke("shop")
        until(lambda: _code(client, key) is not None)
        assert "UNAUTHENTICATED" in _code(client, key)


def _code(client, key):
    try:
        version(client, headers=bearer(key))
    except triton.InferenceServerException as error:
        return error.status()
    return None


def test_routes(listed, tmp_path):
    file = tmp_path / "routes.json"

    def digest(key):
        return hashlib.sha256(key.encode()).hexdigest()

    limit = Limit(quota=5, quota_s=3600.0)
    keys = {digest("k"): Pass("k"), digest("few"): Pass("few", limit=limit)}
    keys[digest("other")] = Pass("other", models=("x",))
    by_field = Route(
        *("fraud", ARMS, spans((), {"old": 0.5, "new": 0.5})),
        model="double",
        sticky=Sticky(Source.FIELD, "customer"),
        override="x-arm",
    )
    file.write_bytes(orjson.dumps(encode(Snapshot(1, (by_field,), keys=keys))))
    with (
        Server(["--served", str(listed), "--routes", str(file)]) as server,
        connected(server.address) as client,
    ):
        mine = bearer("k")
        seen = {}
        for turn in range(120):  # the same customer always the same, and both arms are asked
            customer = f"c{turn % 20}"
            found = version(client, headers=mine, parameters={"customer": customer})
            assert seen.setdefault(customer, found) == found
        assert set(seen.values()) == {"1.0.0", "2.0.0"}
        for arm, wanted in (("old", "1.0.0"), ("new", "2.0.0")):
            assert version(client, headers={**mine, "x-arm": arm}) == wanted
        assert version(client, headers=mine, model_version="2.0.0") == "2.0.0"
        assert "UNAUTHENTICATED" in refused(lambda: version(client))[0]
        assert "PERMISSION_DENIED" in refused(lambda: version(client, headers=bearer("other")))[0]
        for _ in range(5):
            version(client, headers=bearer("few"))
        for _ in range(2):
            code, why = refused(lambda: version(client, headers=bearer("few")))
            assert "RESOURCE_EXHAUSTED" in code
            assert "few" in why
        assert (
            "PERMISSION_DENIED"
            in refused(lambda: client.get_model_repository_index(headers=mine))[0]
        )
        assert client.is_model_ready("double", headers=mine)
        shadowed = Route(
            *("fraud", ARMS, spans((), {"old": 1.0})),
            model="double",
            shadows=(Shadow("new", 1.0),),
        )
        new = file.with_suffix(".new")
        new.write_bytes(orjson.dumps(encode(Snapshot(2, (shadowed,)))))
        new.replace(file)
        until(lambda: _code(client, "nobody") is None)
        for _ in range(20):
            assert version(client) == "1.0.0"
            time.sleep(0.01)
        until(lambda: _metric(server, "modelworks_route_copies_total", "answered") >= 15)


def _metric(server, name, word):
    connection = http.client.HTTPConnection(server.address, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = [line for line in text.splitlines() if line.startswith(name) and word in line]
    return sum(float(line.split()[-1]) for line in lines)


def test_records(tmp_path):
    path = models.double(tmp_path / "m.onnx")
    model = ServedModel("double", "1.0.0", str(path), "", records=RecordPolicy(1.0))
    listed = serve_list(tmp_path / "served.json", [model])
    asked = {}
    with Server(["--served", str(listed), "--records", str(tmp_path / "records")]) as server:
        with connected(server.address) as client:
            for at in range(60):
                rows = 1 + at % 3
                client.infer("double", [ones(at, rows)], request_id=f"r{at}")
                asked[f"r{at}"] = [[float(at)] * 3] * rows
            given = triton.InferInput("x", [1, 2], "FP32")
            given.set_data_from_numpy(np.ones((1, 2), np.float32))
            refused(lambda: client.infer("double", [given], request_id="bad"))
        until(lambda: sum(counts(server.address).values()) == 61, 90.0)
        ended(server)
    found = {one.id: one for one in records(tmp_path / "records")}
    for name, rows in asked.items():
        assert found[name].inputs == {"x": rows}
        assert found[name].outputs == {"y": [[2 * value for value in row] for row in rows]}
        assert (found[name].rows, found[name].status) == (len(rows), 200)
        assert 0 < found[name].compute_ns < found[name].total_ns
    (bad,) = [one for one in found.values() if one.status != 200]
    assert bad.status == 400
    assert "shape" in bad.error


def test_tls_and_another_port(listed, tmp_path):
    pair = Authority(tmp_path).pair("server")
    port = free_port()
    tls = ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]
    options = [*tls, "--grpc-port", str(port)]
    with Server(["--served", str(listed), *options]) as server:
        authority = str(tmp_path / "authority.pem")
        for place in (server.port, port):
            with connected(f"localhost:{place}", ssl=True, root_certificates=authority) as client:
                assert version(client) == "1.0.0"
                assert client.is_server_ready()


def test_two_workers_answer_on_both_ports(listed):
    port = free_port()
    with Server(["--served", str(listed), "--workers", "2", "--grpc-port", str(port)]) as server:
        for place in (server.port, port) * 6:
            with connected(f"127.0.0.1:{place}") as client:
                assert version(client) == "1.0.0"
        with connected(server.address) as client:
            client.unload_model("double")
            assert not client.is_model_ready("double")
        with connected(f"127.0.0.1:{port}") as client:
            assert not client.is_model_ready("double")
            client.load_model("double")
            [found, _] = client.get_inference_statistics("double").model_stats
            assert found.inference_count == 12


def test_the_end_of_the_server_ends_open_calls(listed):
    with Server(["--served", str(listed)]) as server:
        channel = grpc.insecure_channel(server.address)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="double", id="1")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        request.raw_input_contents.append(np.ones(3, np.float32).tobytes())
        sent = queue.Queue()
        sent.put(request)
        answers = stub.ModelStreamInfer(iter(sent.get, None))
        assert next(answers).infer_response.id == "1"
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == 1
        began = time.monotonic()
        server.terminate()
        with pytest.raises(grpc.RpcError) as ended_by:
            next(answers)
        assert ended_by.value.code() == grpc.StatusCode.UNAVAILABLE
        assert next(watching).status == 2
        with pytest.raises(grpc.RpcError):
            next(watching)
        sent.put(None)
        assert server.wait() == 0
        assert time.monotonic() - began < 20  # not the whole of a drain's 30 s
        channel.close()


def test_clients_that_vanish_leave_nothing(tmp_path):
    """Streams and calls cut at every stage: the server's queue and files are as before."""
    path = models.heavy(tmp_path / "heavy.onnx")
    listed = serve_list(tmp_path / "l.json", [ServedModel("heavy", "1.0.0", str(path), "")])
    with Server(["--served", str(listed)]) as server:
        request = service_pb2.ModelInferRequest(model_name="heavy")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 512])
        request.raw_input_contents.append(np.ones(512, np.float32).tobytes())
        before = None
        for turn in range(12):
            channel = grpc.insecure_channel(server.address, options=[("turn", turn)])
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            calls = [stub.ModelInfer.future(request) for _ in range(20)]
            stream = stub.ModelStreamInfer(iter([request] * (turn + 1)))
            if turn % 3 == 1:
                next(stream)
            if turn % 3 == 2:
                calls[0].result(timeout=30)
            if turn % 2:
                for call in (*calls, stream):
                    call.cancel()
            channel.close()
            if turn == 1:
                before = _files(server)
        until(lambda: _metric(server, "modelworks_queue_items", "") == 0)
        until(lambda: _files(server) <= before + 2)
        with connected(server.address) as client:
            given = triton.InferInput("x", [1, 512], "FP32")
            given.set_data_from_numpy(np.ones((1, 512), np.float32))
            assert client.infer("heavy", [given]) is not None


def _files(server):
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def test_versions_change_under_load_and_no_call_fails(tmp_path):  # noqa: C901 - one story
    paths = [models.double(tmp_path / f"{by}.onnx", factor=float(by)) for by in (2, 3)]

    def write(generation):
        path = paths[generation % 2]
        line = ServedModel("double", f"{generation}.0.0", str(path), f"sha256:{generation}")
        return serve_list(tmp_path / "list.json", [line], generation)

    with Server(["--served", str(write(1))]) as server:
        over, seen, trouble = threading.Event(), set(), []

        def load(streams):
            told = queue.Queue()
            with connected(server.address) as client:
                if streams:
                    client.start_stream(lambda result, error: told.put((result, error)))
                while not over.is_set():
                    try:
                        if streams:
                            client.async_stream_infer("double", [ones()])
                            result, error = told.get(timeout=30)
                            if error is not None:
                                raise error
                        else:
                            result = client.infer("double", [ones()])
                    except triton.InferenceServerException as error:
                        trouble.append(error)
                        return
                    version = result.get_response().model_version
                    generation = int(version.split(".")[0])
                    assert result.as_numpy("y")[0, 0] == 2 + generation % 2
                    seen.add(generation)

        threads = [threading.Thread(target=load, args=(at % 2 == 0,)) for at in range(4)]
        for thread in threads:
            thread.start()
        for generation in range(2, 8):
            until(lambda wanted=generation - 1: wanted in seen or trouble)
            write(generation)
        until(lambda: 7 in seen or trouble)
        over.set()
        for thread in threads:
            thread.join(60)
        assert not trouble
        assert seen >= {1, 7}


def test_a_killed_worker_costs_its_own_calls_alone(listed):
    with Server(["--served", str(listed), "--workers", "2"]) as server:
        clients = [
            triton.InferenceServerClient(server.address, channel_args=[("one", at)])
            for at in range(6)  # channels of their own: both workers get some
        ]
        try:
            assert {version(client) for client in clients} == {"1.0.0"}
            victim = next(pid for pid in sorted(tree([server.pid])) if pid != server.pid)
            os.kill(victim, signal.SIGKILL)
            until(lambda: all(_quiet(client) for client in clients))
        finally:
            for client in clients:
                client.close()


def _quiet(client):
    """Whether a call is answered; a connection that was cut is opened anew."""
    try:
        return version(client) == "1.0.0"
    except triton.InferenceServerException as error:
        assert error.status() == "StatusCode.UNAVAILABLE"
        return False
