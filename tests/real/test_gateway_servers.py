"""Real model servers behind a real gateway: killed, split, streamed through, drained."""

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from certificates import Authority
from gateway_process import Callers, Gateway
from gateway_served import as_json, one, snapshot
from modelworks.core.files import replace_text
from modelworks.core.routes import Arm, Endpoint, Route, Source, Span, Sticky
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server

pytestmark = pytest.mark.real

BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
).encode()
INFER = "/v2/models/m/infer"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return onnx_models.identity(tmp_path_factory.mktemp("gateway") / "m.onnx")


@contextlib.contextmanager
def servers(model: Path, *names: str):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Server(["--file", str(model), "--name", name])) for name in names
        ]


def write(path: Path, *routes: Route, generation: int = 1) -> Path:
    replace_text(path, as_json(snapshot(*routes, generation=generation)).decode())
    return path


def ask(port: int, target: str = INFER, body: bytes = BODY, **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", target, body, given)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), data


@pytest.mark.parametrize("workers", ["1", "2"])
def test_callers_notice_nothing_of_a_killed_server(model, tmp_path, workers):
    with servers(model, "m", "m", "m") as three:
        routes = write(tmp_path / "r.json", one(*(s.url for s in three), model="m"))
        with (
            Gateway(routes, "--workers", workers, "--check-seconds", "0.5") as gateway,
            Callers(gateway.port, INFER, BODY) as callers,
        ):
            callers.until(300)
            three[0].process.send_signal(signal.SIGKILL)
            callers.until(500)
            three[1].process.send_signal(signal.SIGKILL)
            callers.until(500)
        assert callers.errors == []
        assert set(callers.statuses) == {200}


def test_a_killed_worker_is_replaced_and_its_numbers_stay(model, tmp_path):
    with servers(model, "m") as (server,):
        routes = write(tmp_path / "r.json", one(server.url, model="m"))
        with Gateway(routes, "--workers", "2") as gateway:
            for _ in range(200):
                assert ask(gateway.port)[0] == 200
            time.sleep(2.5)  # both have written their numbers
            name = 'modelworks_gateway_requests_total{route="r",arm="r/1",code="2xx"}'
            assert gateway.metrics()[name] == 200
            children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children")
            victim = int(children.read_text().split()[0])
            os.kill(victim, signal.SIGKILL)
            for _ in range(50):
                with contextlib.suppress(ConnectionError, http.client.HTTPException):
                    assert ask(gateway.port)[0] == 200
            end = time.monotonic() + 20
            while len(children.read_text().split()) < 2 or str(victim) in children.read_text():
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(2.5)
            assert gateway.metrics()[name] >= 245
            assert ask(gateway.port)[0] == 200
            assert gateway.log.count("starting another") == 1, gateway.log  # it has not died again


def test_a_split_over_real_models_moves_and_callers_stay(model, tmp_path):
    with servers(model, "m-1", "m-2") as both:
        arms = tuple(
            Arm(f"m/{i}", model=f"m-{i}", endpoints=(Endpoint(s.url),))
            for i, s in enumerate(both, 1)
        )
        sticky = Sticky(Source.HEADER, "x-user")

        def route(cut: int) -> Route:
            spans = (Span(0, cut, "m/1"), Span(cut, 10_000, "m/2"))
            return Route("m", arms, spans, model="m", sticky=sticky)

        def homes() -> list[str]:
            return [
                json.loads(ask(gateway.port, X_User=f"user-{i}")[2])["model_name"]
                for i in range(200)
            ]

        routes = write(tmp_path / "r.json", route(9000))
        with Gateway(routes) as gateway:
            first, again = homes(), homes()
            write(routes, route(7000), generation=2)
            end = time.monotonic() + 10
            while gateway.state()["generation"] != 2:
                assert time.monotonic() < end
                time.sleep(0.02)
            moved = homes()
    assert first == again
    assert 5 <= first.count("m-2") <= 40
    assert 35 <= moved.count("m-2") <= 90
    assert all(b == "m-2" for a, b in zip(first, moved, strict=True) if a == "m-2")


def test_fifty_megabytes_go_through_in_flat_memory(model, tmp_path):
    rows = np.arange(12_500_000, dtype=np.float32).reshape(-1, 2)
    head = {
        "inputs": [
            {
                "name": "x",
                "shape": list(rows.shape),
                "datatype": "FP32",
                "parameters": {"binary_data_size": rows.nbytes},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(head).encode()
    with servers(model, "m") as (server,):
        routes = write(tmp_path / "r.json", one(server.url, model="m"))
        with Gateway(routes) as gateway:
            for _ in range(20):
                assert ask(gateway.port)[0] == 200
            before = gateway.memory()
            for _ in range(3):
                status, _, data = ask(
                    gateway.port,
                    body=text + rows.tobytes(),
                    Inference_Header_Content_Length=str(len(text)),
                )
                assert status == 200
                assert data.endswith(rows.tobytes())
            assert gateway.memory() - before < 20_000  # kilobytes, of 50,000 each way


def test_a_drain_answers_everybody(model, tmp_path):
    with servers(model, "m") as (server,):
        routes = write(tmp_path / "r.json", one(server.url, model="m"))
        with Gateway(routes) as gateway, Callers(gateway.port, INFER, BODY) as callers:
            callers.until(200)
            gateway.process.terminate()
            assert gateway.process.wait(20) == 0
        assert set(callers.statuses) == {200}
        assert all("refused" in error for error in callers.errors), callers.errors[:3]


def test_the_command(model, tmp_path):
    with servers(model, "m") as (server,):
        routes = write(tmp_path / "r.json", one(server.url, model="m"))
        command = [sys.executable, "-m", "modelworks.cli.main", "gateway", "--json"]
        options = ["--snapshot", str(routes), "--port", "0", "--admin-port", "-1"]
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE)
        try:
            told = json.loads(process.stdout.readline())
            assert ask(told["port"])[0] == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def test_bad_routes_end_it_with_words(tmp_path):
    file = tmp_path / "r.json"
    file.write_text('{"generation": 1, "routes": [{"name": "r"}]}')
    with pytest.raises(RuntimeError, match=r"(?s)exit 4: .*routes\[0\]"):
        Gateway(file)


def test_tls_on_both_sides_and_a_unix_socket_behind(model, tmp_path):
    authority = Authority(tmp_path)
    files = authority.pair("localhost")
    tls = ["--tls-cert", str(files.certificate), "--tls-key", str(files.key)]
    sock = tmp_path / "m.sock"
    with (
        Server(["--file", str(model), "--name", "m", *tls]) as secure,
        Server(["--file", str(model), "--name", "m", "--unix", str(sock)]),
    ):
        for url in (f"https://localhost:{secure.port}", f"unix:{sock}"):
            routes = write(tmp_path / "r.json", one(url, model="m"))
            with Gateway(routes, *tls, "--upstream-ca", str(authority.certificate)) as gateway:
                context = ssl.create_default_context(cafile=str(authority.certificate))
                connection = http.client.HTTPSConnection(
                    "localhost", gateway.port, context=context, timeout=20
                )
                for _ in range(3):
                    connection.request("POST", INFER, BODY)
                    answer = connection.getresponse()
                    assert answer.status == 200, answer.read()
                    answer.read()
                connection.close()
        # Without its authority an upstream is nobody that we know.
        routes = write(tmp_path / "r.json", one(f"https://localhost:{secure.port}", model="m"))
        with Gateway(routes) as gateway:
            status, _, body = ask(gateway.port)
            assert (status, b"certificate" in body.lower()) == (502, True)
