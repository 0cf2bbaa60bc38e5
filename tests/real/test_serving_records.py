"""Records of a real server: what is answered lies in segments, whoever is killed or full."""

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from certificates import Authority
from modelworks.core.records import Act, FieldPolicy, RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.protocol.records import read_segment
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from recording_server import counts, ended, gone, loggers_of, records, until

# Alone: a logger runs only where nobody else wants to, and beside other tests it may not at all.
pytestmark = [pytest.mark.real, pytest.mark.alone]
PATH = "/v2/models/double/infer"
LOSS_S = 0.1
LAG_S = 0.5  # that a logger which shares its core with a test run may be behind


def body(name, values=(1, 2, 3)):
    entry = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": list(values)}
    return json.dumps({"id": name, "inputs": [entry]})


def post(connection, name, values=(1, 2, 3), path=PATH, headers=None):
    connection.request("POST", path, body(name, values), headers or {})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def recording(server):
    """Wait until its logger has written something; its process."""
    until(lambda: counts(server.address).get("kept"), 60)
    (logger,) = loggers_of(server)
    return logger


class Load:
    """Clients that ask without a pause, and remember what was answered and when."""

    def __init__(self, address, clients=4):
        self.answered = {}
        self.failed = 0
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(address, number)) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, address, client):
        connection = http.client.HTTPConnection(address, timeout=10)
        number = 0
        while not self._over.is_set():
            name = f"c{client}-{number}"
            number += 1
            try:
                status = post(connection, name)
            except (OSError, http.client.HTTPException):
                self.failed += 1
                self._over.wait(0.01)
                connection.close()
                continue
            if status == 200:
                self.answered[name] = time.monotonic()
        connection.close()

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def lag_of(load, address):
    """By how many seconds a logger is behind: it runs only where nobody else wants to."""
    now, kept = time.monotonic(), int(counts(address)["kept"])
    return max(0.0, now - sorted(load.answered.values())[: max(1, kept)][-1])


@pytest.fixture
def double(tmp_path):
    return models.double(tmp_path / "double.onnx")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "records"


def serving(double, folder, *more):
    return Server(["--file", str(double), "--records", str(folder), "--record", "1", *more])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_all_that_was_answered_is_recorded_once(double, folder, workers):
    with serving(double, folder, "--workers", workers) as server:
        load = Load(server.address)
        time.sleep(1.5)
        load.stop()
        connection = http.client.HTTPConnection(server.address, timeout=20)
        assert post(connection, "bad", "abc") == 400
        connection.request("POST", "/predict/double", '{"rows": [[1, 2, 3], [4, 5, 6]]}')
        assert connection.getresponse().read()
        connection.close()
        wanted = len(load.answered) + 2
        until(lambda: sum(counts(server.address).values()) >= wanted)
        assert counts(server.address) == {"kept": wanted, "dropped": 0, "lost": 0}
        ended(server)
        found = records(folder)
    good = [one for one in found if one.status == 200 and one.id.startswith("c")]
    assert sorted(one.id for one in good) == sorted(load.answered)
    assert all(one.inputs == {"x": [[1, 2, 3]]} for one in good)
    assert all(one.outputs == {"y": [[2, 4, 6]]} for one in good)
    assert all(0 < one.compute_ns < one.total_ns for one in good)
    (bad,) = [one for one in found if one.status == 400]
    assert (bad.id, bad.outputs, bad.left_out) == (bad.id, None, ("inputs",))
    assert "a number is wanted" in bad.error
    (rows,) = [one for one in found if one.rows == 2]
    assert rows.inputs == {"x": [[1, 2, 3], [4, 5, 6]]}
    assert rows.outputs == {"y": [[2, 4, 6], [8, 10, 12]]}


def test_a_killed_logger_is_followed_by_another_and_nothing_is_lost(double, folder):
    with serving(double, folder) as server:
        load = Load(server.address)
        for _ in range(3):
            logger = recording(server)
            time.sleep(0.3)
            os.kill(logger, signal.SIGKILL)
            until(lambda dead=logger: loggers_of(server) not in ([], [dead]))
            kept = counts(server.address)["kept"]
            until(lambda before=kept: counts(server.address)["kept"] > before, 60)
        load.stop()
        assert not load.failed
        ended(server)
        log = server.log
    found = {one.id for one in records(folder)}
    assert not load.answered.keys() - found
    assert "ended with -9 and is started again" in log


@pytest.mark.parametrize("both", [False, True])
def test_a_killed_server_loses_what_it_answered_in_its_last_tenth_of_a_second(double, folder, both):
    with serving(double, folder) as server:
        load = Load(server.address)
        logger = recording(server)
        time.sleep(1)
        until(lambda: lag_of(load, server.address) < LAG_S, 60)
        if both:
            os.kill(logger, signal.SIGKILL)
        os.kill(server.pid, signal.SIGKILL)
        killed = time.monotonic()
        load.stop()
        until(lambda: gone(logger))
    found = {one.id for one in records(folder)}
    before = {
        name for name, at in load.answered.items() if at < killed - (LAG_S if both else LOSS_S)
    }
    assert len(before) > 50
    assert not before - found


@contextlib.contextmanager
def small_disk(place, kilobytes):
    """A file system of that size."""
    place.mkdir()
    options = f"size={kilobytes}k,mode=700"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
        capture_output=True,
        check=False,
        timeout=30,
    )
    if made.returncode != 0:
        if os.environ.get("CI") == "true":
            raise AssertionError(f"no small disk: {made.stderr.decode()}")
        pytest.skip("a tmpfs cannot be mounted here: run as root, with the right to mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=30)


def test_a_full_disk_drops_and_counts_and_serving_goes_on(double, tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk, serving(double, disk) as server:
        connection = http.client.HTTPConnection(server.address, timeout=20)
        post(connection, "first")
        until(lambda: counts(server.address).get("kept"))
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", 0) as file:
            for _ in range(1000):
                file.write(bytes(512))
        for number in range(300):
            assert post(connection, f"full{number}") == 200
        until(lambda: counts(server.address)["lost"] > 0)
        until(lambda: sum(counts(server.address).values()) == 301)
        filler.unlink()
        before = counts(server.address)["kept"]
        assert post(connection, "after") == 200
        until(lambda: counts(server.address)["kept"] > before)
        connection.close()
        ended(server)
        found = [one.id for one in records(disk)]
        assert len(found) == before + 1
        assert found[0] == "first"
        assert found[-1] == "after"
        assert "No space left" in server.log


def test_over_tls_and_with_keys_the_caller_is_named(double, folder, tmp_path):
    root = Authority(tmp_path / "certificates")
    pair = root.pair("server")
    keys = tmp_path / "keys"
    command = [str(Path(sys.executable).with_name("modelworks")), "keys", "add", "shop"]
    made = subprocess.run(
        [*command, "--file", str(keys), "--json"], capture_output=True, check=True, timeout=60
    )
    key = json.loads(made.stdout)["key"]
    guard = ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key), "--keys", str(keys)]
    with serving(double, folder, *guard) as server:
        context = ssl.create_default_context(cafile=str(root.certificate))
        connection = http.client.HTTPSConnection("localhost", server.port, context=context)
        assert post(connection, "named", headers={"Authorization": f"Bearer {key}"}) == 200
        connection.close()
        ended(server)
    (found,) = records(folder)
    assert (found.id, found.caller) == ("named", "shop")
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert key.encode() not in everything


def test_what_a_policy_hides_is_in_no_file(tmp_path, folder):
    path = models.double(tmp_path / "double.onnx")
    policy = RecordPolicy(
        sample=1.0,
        fields=(FieldPolicy("x", Act.HASH), FieldPolicy("header:X-Customer", Act.TOKENIZE)),
        subject="header:X-Customer",
        outputs=False,
    )
    model = ServedModel("double", "1.0.0", str(path), "", records=policy)
    listed = serve_list(tmp_path / "served.json", [model])
    with Server(["--served", str(listed), "--records", str(folder)]) as server:
        connection = http.client.HTTPConnection(server.address, timeout=20)
        for _ in range(2):
            headers = {"X-Customer": "Erika Musterfrau", "X-Other": "not named"}
            assert post(connection, "a", (123456.5, 2, 3), headers=headers) == 200
        connection.close()
        ended(server)
    one, two = records(folder)
    assert one.subject.startswith("tok_")
    assert one.headers == {"x-customer": one.subject}
    assert one.subject == two.subject
    assert one.inputs == two.inputs
    assert len(one.inputs["x"][0]) == 64
    assert one.outputs is None
    segments = folder / "segments"
    plain = repr([list(read_segment(p)) for p in segments.iterdir()]).encode()
    raw = b"".join(path.read_bytes() for path in segments.iterdir())
    for secret in (b"Erika", b"123456", b"246913", b"not named"):
        assert secret not in plain
        assert secret not in raw
    assert (folder / "vault.db").stat().st_mode & 0o777 == 0o600
    assert (folder / "hash.key").stat().st_mode & 0o777 == 0o600


def test_a_policy_with_an_unknown_field_records_nothing_and_says_so(tmp_path, folder):
    path = models.double(tmp_path / "double.onnx")
    policy = RecordPolicy(sample=1.0, fields=(FieldPolicy("adress", Act.DROP),))
    model = ServedModel("double", "1.0.0", str(path), "", records=policy)
    listed = serve_list(tmp_path / "served.json", [model])
    with Server(["--served", str(listed), "--records", str(folder)]) as server:
        connection = http.client.HTTPConnection(server.address, timeout=20)
        assert post(connection, "a") == 200
        connection.close()
        ended(server)
        assert "names the field 'adress', which the model does not have" in server.log
    assert not folder.exists()


@pytest.mark.parametrize(("told", "policy"), [((), os.SCHED_IDLE), (("--record-urgent",), 0)])
def test_a_logger_is_as_urgent_as_it_is_told(double, folder, told, policy):
    with serving(double, folder, *told) as server:
        connection = http.client.HTTPConnection(server.address)
        assert post(connection, "a") == 200
        logger = recording(server)
        assert os.sched_getscheduler(logger) == policy
        connection.close()
