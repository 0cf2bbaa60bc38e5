"""Large bodies against a real server: TCP, Unix sockets, TLS, one worker and two."""

import contextlib
import gzip
import json
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from certificates import Authority
from modelworks.client.data import DataPlane
from modelworks.client.tls import ClientTls
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server

pytestmark = pytest.mark.real
WIDTH = 150_528  # an image of 3 x 224 x 224
WANTED = np.float32(2) * np.arange(WIDTH, dtype=np.float32)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=[1, 2])
def places(request, authority, tmp_path_factory):
    """Where one model is served: URL, and how to connect there."""
    folder = tmp_path_factory.mktemp("served")
    model = models.double(folder / "double.onnx", WIDTH)
    pair = authority.pair(f"server{request.param}")
    common = ["--file", str(model), "--workers", str(request.param)]
    path = folder / "s.sock"
    secure = ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]
    with Server([*common, "--unix", str(path)]) as plain, Server([*common, *secure]) as tls:
        quoted = str(path).replace("/", "%2F")
        yield {
            "tcp": (plain, plain.url, ClientTls()),
            "unix": (plain, f"http+unix://{quoted}", ClientTls()),
            "tls": (tls, tls.url, ClientTls(str(authority.certificate))),
        }
        for server in (plain, tls):
            assert "Traceback" not in server.log
            assert "ERROR" not in server.log


@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
def test_many_clients_get_their_own_answers(places, transport):
    _, url, tls = places[transport]

    def client(number):
        with contextlib.closing(DataPlane(url, tls)) as plane:
            for turn in range(10):
                rows = 1 + (number + turn) % 3
                given = np.full((rows, WIDTH), number * 100 + turn, np.float32)
                given[:, ::7] += np.arange(rows, dtype=np.float32)[:, None]
                assert np.array_equal(plane.infer("double", {"x": given})["y"], given * 2)
                assert plane.ready("double")  # something small between two large ones

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))


def request(name, *, coding=""):
    """One image; the length of its JSON depends on that of the name."""
    size = 4 * WIDTH
    tensor = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32"}
    asked = {
        "id": name,
        "inputs": [{**tensor, "parameters": {"binary_data_size": size}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(asked).encode()
    body = text + np.arange(WIDTH, dtype=np.float32).tobytes()
    extra = b""
    if coding:
        body, extra = gzip.compress(body, 1), b"Content-Encoding: gzip\r\n"
    head = (
        b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
        b"Inference-Header-Content-Length: %d\r\n%b\r\n"
    )
    return head % (len(body), len(text), extra) + body


def answer(file):
    """Its id and its tensor."""
    assert file.readline().startswith(b"HTTP/1.1 200 ")
    lengths = {}
    while (line := file.readline().strip().lower()) != b"":
        name, _, value = line.partition(b": ")
        lengths[name] = value
    body = file.read(int(lengths[b"content-length"]))
    head = int(lengths[b"inference-header-content-length"])
    return json.loads(body[:head])["id"], np.frombuffer(body[head:], np.float32)


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_pipelined_with_json_of_every_length(places, coding):
    server, _, _ = places["tcp"]
    names = ["n" * length for length in range(1, 19)]
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock,
        sock.makefile("rb") as file,
        ThreadPoolExecutor(1) as pool,
    ):
        data = b"".join(request(name, coding=coding) for name in names)
        sent = pool.submit(sock.sendall, data)
        for name in names:
            given, tensor = answer(file)
            assert given == name
            assert np.array_equal(tensor, WANTED)
        sent.result(30)


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_clients_that_leave_in_the_middle_harm_nobody(places, transport):
    server, url, _ = places[transport]
    whole = request("leaves")
    for sent in range(0, len(whole), len(whole) // 12):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        sock.sendall(whole[:sent])
        if sent % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    given = np.arange(WIDTH, dtype=np.float32)[None]
    with contextlib.closing(DataPlane(url)) as plane:
        for _ in range(3):
            assert np.array_equal(plane.infer("double", {"x": given})["y"][0], WANTED)
