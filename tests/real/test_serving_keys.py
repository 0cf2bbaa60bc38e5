"""API keys on server processes: roles, changes of the file under load, the log, nginx in front."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from modelworks.client.data import DataPlane
from modelworks.core.errors import UnauthenticatedError
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role, new_key
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server

pytestmark = pytest.mark.real
ROWS = json.dumps({"rows": [[1.0, 2.0, 3.0]]})
WANTED = {"outputs": {"y": [2.0, 4.0, 6.0]}}
CLIENTS = 4
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
    upstream models {{ server 127.0.0.1:{server}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://models;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /named/ {{
            proxy_pass http://models/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer $http_x_api_key";
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return models.double(tmp_path_factory.mktemp("model") / "double.onnx")


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "keys")


def ask(connection, key=None, path="/predict/double", body=ROWS, method="POST"):
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    return answer.status, json.loads(data) if data.startswith(b"{") else {}


def once(port, *arguments, **more):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one:
        return ask(one, *arguments, **more)


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_roles(double, file, tmp_path, workers):
    ana, ops = file.add("ana", Role.PREDICT), file.add("ops", Role.ADMIN)
    log = tmp_path / "access.log"
    arguments = ["--file", str(double), "--keys", str(tmp_path / "keys")]
    arguments += ["--workers", str(workers), "--access-log", str(log)]
    with Server(arguments) as server:
        load = "/v2/repository/models/double/load"
        hidden = "/v2/%72epository/models/double/lo%61d"  # the path is another, the act is not
        for path in (load, hidden, load.replace("load", "unload")):
            assert once(server.port, ana, path, "")[0] == 403
            assert once(server.port, None, path, "")[0] == 401
        assert once(server.port, ops, load, "") == (200, {})
        assert once(server.port, ana)[1]["predictions"] == [WANTED]
        assert once(server.port, ops)[0] == 200
        for path in ("/v2/models/double", "/v2", "/v2/models/stats", "/nowhere"):
            assert once(server.port, None, path, None, "GET")[0] == 401
            assert once(server.port, ana, path, None, "GET")[0] in {200, 404}
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics"):
            assert once(server.port, None, path, None, "GET")[0] == 200
        plane = DataPlane(server.url, key=ana)
        assert plane.predict("double", [[1.0, 2.0, 3.0]])["predictions"] == [WANTED]
        plane.close()
        for wrong, kind in ((new_key(), UnauthenticatedError), ("", UnauthenticatedError)):
            plane = DataPlane(server.url, key=wrong)
            with pytest.raises(kind):
                plane.metadata("double")
            plane.close()
        server.terminate()
        server.wait()
        assert "no access control" not in server.log
        assert ana not in server.log
        assert ops not in server.log
    text = log.read_text()
    assert ana not in text
    names = {line.get("key") for line in map(json.loads, text.splitlines())}
    assert names == {"ana", "ops", None}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_file_changes_under_load(double, file, tmp_path, workers):
    """No request with a good key fails, and none without one passes, whatever the file does."""
    path = tmp_path / "keys"
    steady, never = file.add("steady", Role.PREDICT), new_key()
    wrong, counts, over = [], [], threading.Event()
    arguments = ["--file", str(double), "--keys", str(path), "--workers", str(workers)]
    with Server(arguments) as server:

        def client():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            count = 0
            with contextlib.closing(connection):
                while not over.is_set():
                    status, body = ask(connection, steady)
                    if status != 200 or body["predictions"] != [WANTED]:
                        wrong.append((status, body))
                    if (status := ask(connection, never)[0]) != 401:
                        wrong.append(status)
                    count += 2
            counts.append(count)

        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for one in clients:
            one.start()
        for number in range(25):
            file.add(f"n{number}", Role.READ)
            time.sleep(0.1)
            if number % 5 == 4:  # broken in every way, then whole again
                good = path.read_bytes()
                for broken in (b"", good[:-20], b"nonsense\n"):
                    path.write_bytes(broken)
                    time.sleep(0.3)
                path.unlink()
                time.sleep(0.6)
                path.write_bytes(good)
        over.set()
        for one in clients:
            one.join(60)
        assert not wrong, wrong[:5]
        assert sum(counts) > 500
        assert len(counts) == CLIENTS
        assert "the last ones stay" in server.log


@pytest.mark.parametrize("workers", [1, 2])
def test_a_revoked_key_fails_within_two_seconds_in_every_worker(double, file, tmp_path, workers):
    ana, bob = file.add("ana", Role.PREDICT), file.add("bob", Role.PREDICT)
    arguments = ["--file", str(double), "--keys", str(tmp_path / "keys")]
    with Server([*arguments, "--workers", str(workers)]) as server, contextlib.ExitStack() as stack:
        opened = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in "12345"]
        for connection in opened:
            stack.callback(connection.close)
            assert ask(connection, ana)[0] == 200
            assert ask(connection, bob)[0] == 200
        file.revoke("ana")
        time.sleep(2)
        for connection in opened:
            assert ask(connection, ana)[0] == 401
            assert ask(connection, bob)[0] == 200
        cid = file.add("cid", Role.PREDICT)
        until(lambda: all(ask(connection, cid)[0] == 200 for connection in opened))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_is_none_is_said_at_once(double, tmp_path, workers):
    arguments = ["--file", str(double), "--workers", str(workers), "--keys"]
    for name, words in (("none", "no key file"), ("bad", "line 1")):
        (tmp_path / "bad").write_text("ana:secret")
        with pytest.raises(RuntimeError, match=words) as caught:
            Server([*arguments, str(tmp_path / name)])
        assert str(caught.value).startswith("exit 4")
        assert "secret" not in str(caught.value)


def test_behind_nginx(double, file, tmp_path):
    """Clients of a proxy share a connection to us: each request is held to its own key."""
    if NGINX is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("needs nginx: apt-get install nginx-light")
    ana, ops = file.add("ana", Role.PREDICT), file.add("ops", Role.ADMIN)
    folder = tmp_path / "nginx"
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Server(["--file", str(double), "--keys", str(tmp_path / "keys")]) as server:
        config = CONFIG.format(folder=folder, server=server.port, port=port)
        (folder / "conf").write_text(config)
        command = [NGINX, "-p", str(folder), "-c", str(folder / "conf"), "-g", "daemon off;"]
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            until(lambda: listens(port))
            load = "/v2/repository/models/double/load"
            for _ in range(5):
                assert once(port, ana)[0] == 200
                assert once(port)[0] == 401
                assert once(port, ana, load, "")[0] == 403
                assert once(port, ops, load, "")[0] == 200
                assert once(port, new_key())[0] == 401
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            with contextlib.closing(client):
                client.request("GET", "/named/v2/models/double", headers={"X-API-Key": ana})
                assert client.getresponse().status == 200
        finally:
            process.terminate()
            process.wait(20)
