"""Jobs of servers that are killed, drained and filled up: nothing accepted is lost or run twice."""

import contextlib
import http.client
import json
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs_desk import Receiver, body
from jobs_killed import kills
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from modelworks.measure.processes import tree
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server
from recording_server import until
from store_servers import free_port

pytestmark = pytest.mark.real
PATH = "/v2/models/double/jobs"


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return models.double(tmp_path_factory.mktemp("model") / "double.onnx")


@contextlib.contextmanager
def asking(server):
    connection = http.client.HTTPConnection(server.address, timeout=30)

    def ask(method, path, text=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, text, named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    try:
        yield ask
    finally:
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_server_that_is_killed_five_times_nothing_is_lost_or_recorded_twice(
    double, tmp_path, workers
):
    kills(double, tmp_path / "jobs", free_port(), 5, workers)


def test_a_drain_answers_what_was_submitted_and_leaves_the_rest_for_the_next(double, tmp_path):
    folder = tmp_path / "jobs"
    arguments = ["--file", str(double), "--jobs", str(folder)]
    with Server(arguments) as server, asking(server) as ask:
        told = [ask("POST", PATH, body(n, n, n)) for n in range(50)]
        assert {status for status, _ in told} == {202}
        server.terminate()
        assert server.wait() == 0
        assert not list(folder.glob("*.runner"))
    with Server(arguments) as server, asking(server) as ask:
        for number in (0, 49):
            job = told[number][1]["id"]
            until(lambda job=job: ask("GET", f"/v2/jobs/{job}")[1]["state"] == "done")
            _, found = ask("GET", f"/v2/jobs/{job}/result")
            assert found["outputs"][0]["data"] == [2.0 * number] * 3
        assert ask("GET", f"/v2/jobs/{told[0][1]['id']}")[1]["attempts"] == 1


def test_whose_key_submitted_a_job_sees_it_with_two_workers(double, tmp_path):
    file = KeyFile(tmp_path / "keys")
    keys = {name: file.add(name, Role.PREDICT) for name in ("shop", "lab")}
    arguments = ["--file", str(double), "--jobs", str(tmp_path / "jobs"), "--workers", "2"]
    arguments += ["--keys", str(tmp_path / "keys")]
    with Server(arguments) as server, asking(server) as ask:
        mine, other = ({"Authorization": f"Bearer {keys[name]}"} for name in ("shop", "lab"))
        assert ask("POST", PATH, body())[0] == 401
        _, told = ask("POST", PATH, body(), **mine)
        assert ask("GET", f"/v2/jobs/{told['id']}", **other)[0] == 404
        assert ask("GET", "/v2/jobs", **other)[1] == {"jobs": []}
        until(lambda: ask("GET", f"/v2/jobs/{told['id']}", **mine)[1]["state"] == "done")


def test_a_server_without_a_folder_says_so(double):
    with Server(["--file", str(double)]) as server, asking(server) as ask:
        status, told = ask("POST", PATH, body())
        assert status == 501
        assert "--jobs FOLDER" in told["error"]
        assert ask("GET", "/v2/jobs")[0] == 501


def test_online_requests_and_a_callback_beside_many_jobs(double, tmp_path):
    arguments = ["--file", str(double), "--jobs", str(tmp_path / "jobs")]
    arguments += ["--jobs-outside", "127.0.0.1"]
    with Receiver() as hook, Server(arguments) as server:

        def submit(number):
            with asking(server) as ask:
                headers = {"Job-Callback": hook.url} if not number else {}
                return [ask("POST", PATH, body(n, n, n), **headers)[0] for n in range(40)]

        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(submit, range(4)))
        assert {status for one in found for status in one} == {202}
        with asking(server) as ask:
            assert ask("POST", "/v2/models/double/infer", body())[0] == 200
        until(lambda: len({headers["job-id"] for _, _, headers, _ in hook.came}) == 40)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode()[:200]}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_refuses_loses_nothing_and_goes_on(double, small_disk):
    folder = small_disk / "jobs"
    with Server(["--file", str(double), "--jobs", str(folder)]) as server, asking(server) as ask:
        told = [ask("POST", PATH, body(n, 0, 0)) for n in range(20)]
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

        def refused():
            found = ask("POST", PATH, body())
            told.append(found)
            return found[0] == 503

        until(refused)
        assert "is its disk full" in told[-1][1]["error"] or "disk is full" in told[-1][1]["error"]
        assert ask("POST", "/v2/models/double/infer", body())[0] == 200
        ballast.unlink()
        until(lambda: ask("POST", PATH, body())[0] == 202)
        for status, job in told:
            if status == 202:
                state = f"/v2/jobs/{job['id']}"
                until(lambda state=state: ask("GET", state)[1]["state"] == "done")


def files_of(pid):
    return sum(len(list((path / "fd").iterdir())) for path in _processes(pid))


def _processes(pid):
    return [Path(f"/proc/{one}") for one in tree([pid])]


def test_clients_that_leave_at_every_moment_leave_nothing_behind(double, tmp_path):
    """Half a request, a request without waiting, an answer half read: all is counted."""
    arguments = ["--file", str(double), "--jobs", str(tmp_path / "jobs")]
    with Server(arguments) as server, asking(server) as ask:
        ask("POST", PATH, body())
        text = body()
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        whole = head + text
        time.sleep(1.2)  # lanes end, threads are there
        before = files_of(server.pid)
        for cut in (*range(0, len(whole), 9), len(whole)):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(whole[:cut])
        until(lambda: files_of(server.pid) <= before)

        def counted():
            _, told = ask("GET", "/v2/jobs")
            return len(told["jobs"]) == 2 and {j["state"] for j in told["jobs"]} == {"done"}

        until(counted)
