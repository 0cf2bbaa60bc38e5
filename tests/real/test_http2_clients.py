"""HTTP/2 of server processes: other people's clients, TLS, Unix sockets, drain, what is left."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import grpc
import httpx
import pytest

from certificates import Authority
from http2_wire import GET, POST, WIDE, Wire, data, headers, reset
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server
from store_servers import free_port

pytestmark = pytest.mark.real
PATH = "/v2/models/double/infer"
ROWS = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
BODY = json.dumps(ROWS).encode()
WANTED = [2.0, 4.0, 6.0]
INFER = (*POST[:2], (b":path", PATH.encode()), POST[3], (b"content-type", b"application/json"))
MANY = 2000
GROWTH = 24 << 20


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return models.double(tmp_path_factory.mktemp("model") / "double.onnx")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def answer_of(body: bytes) -> list[float]:
    return json.loads(body)["outputs"][0]["data"]


def curl(*arguments: str, body: bytes | None = None) -> tuple[str, bytes]:
    """HTTP's version and the answer's body."""
    program = shutil.which("curl")
    if program is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("needs curl: apt-get install curl")
    sending = (
        [] if body is None else ["--data-binary", "@-", "-H", "Content-Type: application/json"]
    )
    command = [program, "-sS", "--max-time", "30", "-w", "\n%{http_version}", *sending, *arguments]
    done = subprocess.run(command, input=body, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found, _, version = done.stdout.rpartition(b"\n")
    return version.decode(), found


@pytest.mark.parametrize("workers", [1, 2])
def test_curl_with_prior_knowledge(double, tmp_path, workers):
    path = tmp_path / "s.sock"
    arguments = ["--file", str(double), "--workers", str(workers), "--unix", str(path)]
    with Server(arguments) as server:
        for how in ([], ["--unix-socket", str(path)]):
            there = ["--http2-prior-knowledge", *how, server.url + PATH]
            version, found = curl(*there, body=BODY)
            assert (version, answer_of(found)) == ("2", WANTED)
            version, found = curl("--http1.1", *how, server.url + PATH, body=BODY)
            assert (version, answer_of(found)) == ("1.1", WANTED)
        version, found = curl("--http2-prior-knowledge", "--head", server.url + "/v2/health/ready")
        assert (version, found.splitlines()[0].strip()) == ("2", b"HTTP/2 200")
        version, found = curl("--http2-prior-knowledge", server.url + PATH, body=b"{")
        assert version == "2"
        assert json.loads(found)["error"]
        # A body over many frames and windows, of which only the reader of JSON says what is wrong.
        large = json.dumps({"inputs": [ROWS["inputs"][0] | {"data": [1] * 900_000}]}).encode()
        version, found = curl("--http2-prior-knowledge", server.url + PATH, body=large)
        assert version == "2"
        assert json.loads(found)["error"]
        assert "Traceback" not in server.log


def test_what_tls_agrees_on(double, authority):
    pair = authority.pair("server")
    secure = ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]
    with Server(["--file", str(double), *secure]) as server:
        there = server.url + PATH
        ca = ["--cacert", str(authority.certificate)]
        for asked, wanted in (("--http2", "2"), ("--http1.1", "1.1")):
            version, found = curl(asked, *ca, there, body=BODY)
            assert (version, answer_of(found)) == (wanted, WANTED)
        context = ssl.create_default_context(cafile=authority.certificate)
        with httpx.Client(http2=True, verify=context) as client:
            answers = [client.post(there, json=ROWS) for _ in range(20)]
        assert {(one.http_version, one.status_code) for one in answers} == {("HTTP/2", 200)}
        assert all(answer_of(one.content) == WANTED for one in answers)


def test_many_requests_at_once_on_one_connection(double):
    async def run(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(http1=False, http2=True, limits=limits, timeout=60) as client:
            return await asyncio.gather(*(client.post(url, json=ROWS) for _ in range(400)))

    with Server(["--file", str(double)]) as server:
        answers = asyncio.run(run(server.url + PATH))
        assert {(one.http_version, one.status_code) for one in answers} == {("HTTP/2", 200)}
        assert all(answer_of(one.content) == WANTED for one in answers)


def wire_of(server) -> Wire:
    wire = Wire(socket.create_connection(("127.0.0.1", server.port), timeout=30))
    wire.send(WIDE)
    return wire


NGINX = """
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    upstream models {{ server 127.0.0.1:{server}; keepalive 2; }}
    server {{
        listen 127.0.0.1:{port} http2;
        location / {{ grpc_pass grpc://models; }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, server: Server):
    """nginx that speaks HTTP/2 to its clients and to the server; its port."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("needs nginx: apt-get install nginx-light")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, server=server.port, port=port))
    command = [program, "-p", str(folder), "-c", str(config), "-g", "daemon off;"]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            assert process.poll() is None, (folder / "out").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def test_behind_nginx(double, tmp_path):
    with Server(["--file", str(double)]) as server, nginx(tmp_path, server) as port:
        url = f"http://127.0.0.1:{port}"
        for _ in range(5):  # the proxy keeps its connections to the server
            version, found = curl("--http2-prior-knowledge", url + PATH, body=BODY)
            assert (version, answer_of(found)) == ("2", WANTED)
        large = json.dumps({"inputs": [ROWS["inputs"][0] | {"data": [1] * 900_000}]}).encode()
        version, found = curl("--http2-prior-knowledge", url + PATH, body=large)
        assert json.loads(found)["error"]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert check(b"", timeout=20) == b"\x08\x01"  # SERVING
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/no.Such/Call")(b"", timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


class Caller(threading.Thread):
    """Four requests at a time, until the server says that it takes no more."""

    def __init__(self, server) -> None:
        super().__init__()
        self.wire = wire_of(server)
        self.answered = self.refused = 0
        self.lost: list[str] = []

    def run(self) -> None:
        number = 1
        with self.wire.sock:
            while not any(event.startswith("GOAWAY") for event in self.wire.events):
                numbers = range(number, number + 8, 2)
                number += 8
                for one in numbers:
                    self.wire.send(headers(INFER, one, last=False) + data(BODY, one))
                for one in numbers:
                    while one not in self.wire.ended and self.wire.read() is not None:
                        pass
                    self.count(one)
                self.wire.bodies.clear()
                self.wire.frames.clear()

    def count(self, number: int) -> None:
        status = dict(self.wire.fields.get(number, ())).get(":status")
        if status == "200" and answer_of(self.wire.bodies[number]) == WANTED:
            self.answered += 1
        elif status is None and "RST_STREAM REFUSED_STREAM" in self.wire.events:
            self.refused += 1
        else:
            self.lost.append(f"{number}: {status}, {self.wire.events[-3:]}")


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_is_lost_by_a_drain(double, workers):
    with Server(["--file", str(double), "--workers", str(workers)]) as server:
        callers = [Caller(server) for _ in range(4)]
        for caller in callers:
            caller.start()
        end = time.monotonic() + 60
        while min(caller.answered for caller in callers) < 20:
            assert time.monotonic() < end
            time.sleep(0.01)
        server.terminate()
        for caller in callers:
            caller.join(60)
            assert not caller.is_alive()
        assert server.wait() == 0
        assert [caller.lost for caller in callers] == [[]] * 4
        assert "Traceback" not in server.log


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_nothing_is_left_of_requests_that_are_taken_back(double):
    with Server(["--file", str(double)]) as server:

        def portion(requests: int) -> None:
            wire = wire_of(server)
            with wire.sock:
                number = 1
                for i in range(requests):
                    sent = headers(INFER, number, last=False) + data(BODY, number, last=i % 4 != 0)
                    if i % 2 == 0:
                        sent += reset(number)
                    wire.send(sent)
                    number += 2
                    if i % 100 == 99:
                        wire.rest()
                        time.sleep(0.1)  # so many resets at once would be a flood
                wire.send(headers(GET, number))
                wire.answer(number)
                statuses = [dict(found).get(":status") for found in wire.fields.values()]
                assert statuses.count("200") >= requests // 2
            with contextlib.closing(wire_of(server).sock) as sock:  # and one that leaves in between
                sock.sendall(headers(INFER, 1, last=False) + data(BODY[:20], 1, last=False))

        portion(MANY // 4)
        begun, open_ = resident(server.pid), descriptors(server.pid)
        portion(MANY)
        end = time.monotonic() + 20
        while descriptors(server.pid) > open_ and time.monotonic() < end:
            time.sleep(0.05)
        assert descriptors(server.pid) <= open_
        assert resident(server.pid) - begun < GROWTH
        assert "Traceback" not in server.log
