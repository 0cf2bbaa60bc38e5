"""Recurrent networks of PyTorch behind a server: Triton's client step by step, and troubles."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from modelworks.core.caching import AnswerCache
from modelworks.core.served import Isolation, ServedModel
from modelworks.core.stateful import Sequences, State
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from store_servers import free_port

pytestmark = pytest.mark.real
WAIT_S = 60.0
MAKER = Path(__file__).parents[1] / "makers" / "recurrent_files.py"
LSTM = (State("h", "h_out", axis=1), State("c", "c_out", axis=1))
GRU = (State("h", "h_out", initial="begin.npy"),)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recurrent")
    subprocess.run([sys.executable, "-W", "ignore", MAKER, folder], check=True, timeout=300)
    with np.load(folder / "rows.npz") as found:
        return folder, dict(found)


def line(folder, name, states, digest="sha256:1", **more):
    given = {name_: more.pop(name_) for name_ in ("isolation", "version") if name_ in more}
    sequences = Sequences(states, **more)
    path = str(folder / f"{name}.onnx")
    made = ServedModel(name, "1.0.0", path, digest, sequences=sequences)
    return replace(made, **given)


@pytest.fixture(scope="module")
def server(made, tmp_path_factory):
    folder, _ = made
    lines = [
        line(folder, "lstm", LSTM),
        line(folder, "gru", GRU, isolation=Isolation.PROCESS),
    ]
    lines.append(replace(lines[1], name="short", sequences=Sequences(GRU, idle_s=0.3, max=2)))
    lines[2] = replace(lines[2], isolation=Isolation.THREAD)
    listed = serve_list(tmp_path_factory.mktemp("served") / "served.json", lines)
    with Server(["--served", str(listed)]) as running:
        yield running


@pytest.fixture
def client(server):
    with tritonclient.http.InferenceServerClient(server.address, concurrency=4) as connected:
        yield connected


def tell(client, model, x, key, start=False, end=False, kind=tritonclient.http):
    given = kind.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(np.ascontiguousarray(x))
    found = client.infer(model, [given], sequence_id=key, sequence_start=start, sequence_end=end)
    return found.as_numpy("y")


def refused(call):
    with pytest.raises(InferenceServerException) as caught:
        call()
    return caught.value.status(), caught.value.message()


def metric(server, name):
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith(name))


def eventually(what, ready):
    until = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < until, f"in vain: {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("key", [7, 2**64 - 1, "seven"])
def test_step_by_step_is_the_whole_sequence(made, client, key):
    _, found = made
    rows, whole = found["rows"][0], found["lstm"][0]
    steps = len(rows)
    said = [
        tell(client, "lstm", rows[None, i : i + 1], key, i == 0, i == steps - 1)[0, 0]
        for i in range(steps)
    ]
    np.testing.assert_allclose(said, whole, rtol=1e-4, atol=1e-5)
    status, told = refused(lambda: tell(client, "lstm", rows[None, :1], key))
    assert status == "400"
    assert "begin again with sequence_start" in told


def test_steps_of_several_rows_of_time_are_the_whole_sequence_too(made, client):
    _, found = made
    rows, whole = found["rows"][1], found["lstm"][1]
    cuts = [0, 5, 6, len(rows)]
    said = [
        tell(client, "lstm", rows[None, a:b], 70, a == 0, b == len(rows))[0]
        for a, b in pairwise(cuts)
    ]
    np.testing.assert_allclose(np.concatenate(said), whole, rtol=1e-4, atol=1e-5)


def test_many_sequences_at_once_over_http_and_grpc(made, server):
    """An engine in a process of its own, states that begin from a file, callers in threads."""
    _, found = made

    def http(place):
        with tritonclient.http.InferenceServerClient(server.address) as client:
            return one(client, place, tritonclient.http)

    def grpc(place):
        with tritonclient.grpc.InferenceServerClient(server.address) as client:
            return one(client, place, tritonclient.grpc)

    def one(client, place, kind):
        rows = found["rows"][place]
        return [
            tell(client, "gru", rows[i : i + 1], 100 + place, i == 0, i == len(rows) - 1, kind)[0]
            for i in range(len(rows))
        ]

    with ThreadPoolExecutor(6) as pool:
        said = [pool.submit(http if place % 2 else grpc, place) for place in range(6)]
        for place, answer in enumerate(said):
            np.testing.assert_allclose(answer.result(60), found["gru"][place], rtol=1e-4, atol=1e-5)
    eventually(
        "all have ended", lambda: metric(server, 'modelworks_sequences_open{model="gru"') == 0
    )


def test_what_callers_do_not_see_and_what_they_must_say(made, client):
    _, found = made
    row = found["rows"][0][:1]
    told = client.get_model_metadata("gru")
    assert [one["name"] for one in told["inputs"]] == ["x"]
    assert [one["name"] for one in told["outputs"]] == ["y"]
    status, said = refused(lambda: tell(client, "gru", row, 0))
    assert status == "400"
    assert "say sequence_id" in said
    both = np.concatenate([row, row])
    status, said = refused(lambda: tell(client, "gru", both, 5, start=True))
    assert status == "400"
    assert "one row, not 2" in said


def test_idle_and_too_many(made, server, client):
    _, found = made
    row = found["rows"][0][:1]
    tell(client, "short", row, 1, start=True)
    tell(client, "short", row, 2, start=True)
    if metric(server, 'modelworks_sequences_open{model="short"') == 2:
        try:
            tell(client, "short", row, 3, start=True)
        except InferenceServerException as error:
            assert error.status() == "503"
            assert "2 sequences are open" in error.message()
    eventually(
        "they are forgotten", lambda: metric(server, 'modelworks_sequences_open{model="short"') == 0
    )
    status, said = refused(lambda: tell(client, "short", row, 1))
    assert status == "400"
    assert "idle for over 0.3 s" in said


def test_a_model_without_states_keeps_no_sequences(tmp_path):
    path = models.double(tmp_path / "m.onnx")
    with (
        Server(["--file", str(path), "--name", "m"]) as server,
        tritonclient.http.InferenceServerClient(server.address) as client,
    ):
        x = np.ones((1, 3), np.float32)
        assert tell(client, "m", x, 0).tolist() == [[2, 2, 2]]
        status, said = refused(lambda: tell(client, "m", x, 7, start=True))
        assert status == "501"
        assert "keeps no sequences" in said


def test_a_new_version_begins_its_own_and_the_old_one_ends_those_it_has(made, tmp_path):
    folder, found = made
    rows, whole = found["rows"][0], found["gru"][0]
    first = line(folder, "gru", GRU)
    listed = serve_list(tmp_path / "served.json", [first])
    with (
        Server(["--served", str(listed)]) as server,
        tritonclient.http.InferenceServerClient(server.address) as client,
    ):
        said = [tell(client, "gru", rows[:1], 1, start=True)[0]]
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.url}/v2/repository/models/gru/unload", b"{}", 30)
        assert caught.value.code == 409
        assert b"1 open sequences" in caught.value.read()
        caught.value.close()
        zeros = (State("h", "h_out"),)
        second = line(folder, "gru", zeros, "sha256:2", version="2.0.0")
        serve_list(tmp_path / "served.json", [second], 2)

        def versions():
            return client.get_model_metadata("gru")["versions"]

        eventually("the new version", lambda: versions() == ["2.0.0"])
        fresh = tell(client, "gru", rows[:1], 2, start=True)
        assert not np.allclose(fresh[0], whole[0], atol=1e-3)  # it begins with zeros
        last = len(rows) - 1
        said += [
            tell(client, "gru", rows[i : i + 1], 1, end=i == last)[0] for i in range(1, last + 1)
        ]
        np.testing.assert_allclose(said, whole, rtol=1e-4, atol=1e-5)
        status, _ = refused(lambda: tell(client, "gru", rows[:1], 1))
        assert status == "400"


def test_a_killed_server_never_goes_on_from_nothing(made, tmp_path):
    folder, found = made
    row = found["rows"][0][:1]
    listed = serve_list(tmp_path / "served.json", [line(folder, "gru", GRU)])
    arguments = ["--served", str(listed), "--port", str(free_port())]
    with (
        Server(arguments) as server,
        tritonclient.http.InferenceServerClient(server.address) as client,
    ):
        tell(client, "gru", row, 1, start=True)
        server.kill()
        with (
            Server(arguments) as again,
            tritonclient.http.InferenceServerClient(again.address) as other,
        ):
            status, said = refused(lambda: tell(other, "gru", row, 1))
            assert status == "400"
            assert "begin again" in said
            tell(other, "gru", row, 1, start=True)


def test_several_workers_refuse_it_and_auto_is_one(made, tmp_path):
    folder, _ = made
    listed = serve_list(tmp_path / "served.json", [line(folder, "gru", GRU)])
    with Server(["--served", str(listed), "--workers", "auto"]) as server:
        with urllib.request.urlopen(f"{server.url}/v2", timeout=30) as answer:
            sizing = json.loads(answer.read())["sizing"]
        assert sizing["workers"] == 1
        assert "sequences" in sizing["reason"]
    double = models.double(tmp_path / "m.onnx")
    plain = ServedModel("m", "1.0.0", str(double), "sha256:1")
    listed = serve_list(tmp_path / "served.json", [line(folder, "gru", GRU), plain])
    with Server(["--served", str(listed), "--workers", "2"]) as server:
        asked = urllib.request.Request(f"{server.url}/v2/repository/index", b"{}")
        with urllib.request.urlopen(asked, timeout=30) as answer:
            reasons = {one["name"]: one.get("reason", "") for one in json.loads(answer.read())}
        assert "--workers 1" in reasons["gru"]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ((State("nothing", "h_out"),), "no 'nothing'"),
        ((State("h", "nothing"),), "no 'nothing'"),
        ((State("x", "h_out"),), "a state is given back as it came"),
        ((State("h", "h_out", initial="none.npy"),), "cannot be read"),
        ((State("h", "h_out", initial="rows.npy"),), "holds float32 [6, 12, 4]"),
        ((State("h", "h_out", axis=2),), "axis 2 is none"),
        ((State("h", "h_out", axis=1),), "length 8 where its batch would be"),
    ],
)
def test_states_that_do_not_fit_are_named(made, states, said):
    from modelworks.core.errors import InvalidError
    from modelworks.serving.loading import load_model

    folder, found = made
    np.save(folder / "rows.npy", found["rows"])
    with pytest.raises(InvalidError, match=said.replace("[", r"\[")):
        load_model(line(folder, "gru", states), 1).session.close()


def test_a_cache_beside_sequences_is_refused(made, tmp_path):
    folder, _ = made
    both = replace(line(folder, "gru", GRU), cache=AnswerCache())
    listed = serve_list(tmp_path / "served.json", [both])
    with pytest.raises(RuntimeError, match="leave cache out"):
        Server(["--served", str(listed)])


def test_clients_that_hang_up_leave_no_sequence_behind(made, tmp_path):
    """First steps, later ones and last ones, under way and queued; 500 steps of time in each."""
    folder, _ = made
    listed = serve_list(tmp_path / "served.json", [line(folder, "lstm", LSTM, idle_s=0.5)])
    x = np.zeros((1, 500, 4)).ravel().tolist()
    with Server(["--served", str(listed)]) as server:

        def begin(key, **marks):
            told = {"sequence_id": key, **marks}
            given = {"name": "x", "shape": [1, 500, 4], "datatype": "FP32", "data": x}
            body = json.dumps({"parameters": told, "inputs": [given]}).encode()
            link = socket.create_connection(server.address.split(":"), timeout=10)
            head = b"POST /v2/models/lstm/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
            link.sendall(head % len(body) + body)
            return link

        links = []
        for key in range(1, 21):
            links += [begin(key, sequence_start=True), begin(key), begin(key, sequence_end=True)]
        for link in links[1::3] + links[::3] + links[2::3]:
            link.close()
        eventually("nobody waits", lambda: metric(server, "modelworks_queue_items") == 0)
        eventually("none is open", lambda: metric(server, "modelworks_sequences_open") == 0)
        assert metric(server, "modelworks_sequences_bytes") == 0
        with tritonclient.http.InferenceServerClient(server.address) as client:
            first = np.zeros((1, 1, 4), np.float32)
            for key in range(1, 21):
                tell(client, "lstm", first, key, start=True, end=True)
