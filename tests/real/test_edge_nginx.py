"""Behind nginx: no request that it and we read differently, so none can be smuggled past it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from edge_served import read_all
from exchanges import framing, table
from exchanges.kinds import GET, SETTINGS, statuses
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server
from store_servers import free_port

pytestmark = pytest.mark.real
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CONFIG = """
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
    client_header_timeout 2s;
    client_body_timeout 2s;
    ignore_invalid_headers off;
    underscores_in_headers on;
    upstream models {{ server 127.0.0.1:{server}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://models;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering {buffering};
            proxy_ignore_client_abort on;
        }}
    }}
}}
"""


@contextlib.contextmanager
def proxy(folder, server, buffering):
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, server=server, port=port, buffering=buffering))
    command = [NGINX, "-p", str(folder), "-c", str(config), "-g", "daemon off;"]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert time.monotonic() < end, (folder / "out").read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def talk(port, data, *, half=True):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
            if half:
                sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            return read_all(sock)
    return b""


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_no_request_is_smuggled_past_nginx(tmp_path, buffering):
    if NGINX is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("needs nginx: apt-get install nginx-light")
    log = tmp_path / "access.log"
    model = models.double(tmp_path / "double.onnx")
    arguments = ["--file", str(model), "--access-log", str(log), *SETTINGS]
    folder = tmp_path / "nginx"
    folder.mkdir()
    with Server(arguments) as server, proxy(folder, server.port, buffering) as port:
        for number, case in enumerate(table.bad()):
            answer = talk(port, case.data)
            # What nginx passes on is one request a request: the next answer is the next one's.
            probe = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            name = b"probe-%d" % number
            found = talk(port, probe + b"X-Request-Id: " + name + b"\r\n\r\n", half=False)
            assert found.startswith(b"HTTP/1.1 200"), (case.title, found)
            assert b"X-Request-Id: " + name in found, (case.title, answer, found)
        for case in table.good():
            if case.statuses == (200,) and case.data.startswith(GET):
                data = case.data.replace(b" /ok", b" /v2")
                assert statuses(talk(port, data))[-1] in {200, 405}, case.title
        server.terminate()
        server.wait()
    seen = [json.loads(line) for line in log.read_bytes().splitlines()]
    probes = [line for line in seen if line.get("request_id", "").startswith("probe-")]
    assert len(probes) == len(table.bad())
    # Requests that stood inside a body, or behind two ends of one, were never read as requests.
    inside = framing.SMUGGLED.split(b" ")[1].decode()
    allowed = sum(case.data.endswith(framing.SMUGGLED) for case in table.bad())
    assert sum(line["path"] == inside for line in seen) <= allowed
