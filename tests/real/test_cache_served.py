"""A server that keeps answers: every wire, new versions, workers, Redis alive, slow and dead."""

import json
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from onnx import helper

from certificates import Authority
from modelworks.core.caching import AnswerCache
from modelworks.core.records import RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from recording_server import ended, records
from redis_server import RedisServer
from store_servers import free_port

pytestmark = pytest.mark.real
WAIT_S = 60.0


def eventually(what, ready):
    until = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < until, f"in vain: {what}"
        time.sleep(0.02)


def body_of(values, name="m"):
    data = [float(value) for value in values]
    return {"inputs": [{"name": "x", "shape": [1, len(data)], "datatype": "FP32", "data": data}]}


def post(server, path, document):
    asked = urllib.request.Request(f"{server.url}{path}", json.dumps(document).encode())
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.loads(answer.read())


def ask(server, *values, model="m"):
    found = post(server, f"/v2/models/{model}/infer", body_of(values))
    return found["outputs"][0]["data"]


def stats(server, model="m"):
    with urllib.request.urlopen(f"{server.url}/v2/models/{model}/stats", timeout=30) as answer:
        (found,) = json.loads(answer.read())["model_stats"]
    return found


def counted(server, model="m"):
    """Hits and misses."""
    found = stats(server, model)["inference_stats"]
    return found["cache_hit"]["count"], found["cache_miss"]["count"]


def metric(server, name):
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def served(path, digest="sha256:1", **cache):
    return ServedModel("m", "1.0.0", str(path), digest, cache=AnswerCache(**cache))


def serving(tmp_path, *lines, more=(), generation=1):
    listed = serve_list(tmp_path / "served.json", lines, generation)
    return Server(["--served", str(listed), *more])


def test_every_wire_is_given_what_another_one_computed(tmp_path):
    model = served(models.double(tmp_path / "m.onnx"))
    x = np.array([[1, 2, 3]], np.float32)
    with serving(tmp_path, model) as server:
        assert ask(server, 1, 2, 3) == [2, 4, 6]
        assert ask(server, 1, 2, 3) == [2, 4, 6]
        assert counted(server) == (1, 1)
        with tritonclient.http.InferenceServerClient(server.address) as client:
            for binary in (True, False, True, False):
                given = tritonclient.http.InferInput("x", [1, 3], "FP32")
                given.set_data_from_numpy(x, binary_data=binary)
                wanted = tritonclient.http.InferRequestedOutput("y", binary_data=binary)
                found = client.infer("m", [given], outputs=[wanted], request_id=f"id-{binary}")
                assert found.as_numpy("y").tolist() == [[2, 4, 6]]
                assert found.get_response()["id"] == f"id-{binary}"
        with tritonclient.grpc.InferenceServerClient(server.address) as client:
            given = tritonclient.grpc.InferInput("x", [1, 3], "FP32")
            given.set_data_from_numpy(x)
            for _ in range(2):
                assert client.infer("m", [given]).as_numpy("y").tolist() == [[2, 4, 6]]
        for _ in range(2):
            told = post(server, "/predict/m", {"rows": [{"x": [1, 2, 3]}]})
            assert told["predictions"]
        assert counted(server) == (9, 1)
        found = stats(server)
        assert (found["execution_count"], found["inference_count"]) == (1, 1)
        assert found["inference_stats"]["success"]["count"] == 10
        assert found["inference_stats"]["compute_infer"]["count"] == 1
        assert metric(server, 'modelworks_cache_requests_total{model="m"') == 10
        assert metric(server, "modelworks_cache_bytes") > 0


def test_errors_and_what_has_its_own_time_out_are_not_kept_as_bytes(tmp_path):
    model = served(models.double(tmp_path / "m.onnx"))
    with serving(tmp_path, model) as server:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as caught:
                ask(server, 1, 2)
            assert caught.value.code == 400
            caught.value.close()
        assert counted(server) == (0, 0)
        for _ in range(2):
            asked = urllib.request.Request(
                f"{server.url}/v2/models/m/infer",
                json.dumps(body_of([1, 2, 3])).encode(),
                {"X-Timeout-Ms": "10000"},
            )
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert json.loads(answer.read())["outputs"][0]["data"] == [2, 4, 6]
        assert counted(server) == (1, 1)


def test_a_version_in_the_place_of_another_never_gives_its_answers(tmp_path):
    first = served(models.double(tmp_path / "one.onnx"))
    third = models.double(tmp_path / "three.onnx", factor=3.0)
    with serving(tmp_path, first) as server:
        for _ in range(2):
            assert ask(server, 1, 2, 3) == [2, 4, 6]
        second = replace(first, path=str(third), digest="sha256:2")
        serve_list(tmp_path / "served.json", [second], 2)
        eventually("the second file", lambda: ask(server, 1, 2, 3) == [3, 6, 9])
        for _ in range(20):
            assert ask(server, 1, 2, 3) == [3, 6, 9]
        newer = replace(first, version="2.0.0")
        serve_list(tmp_path / "served.json", [newer], 3)
        eventually("the next version", lambda: ask(server, 1, 2, 3) == [2, 4, 6])
        assert ask(server, 1, 2, 3) == [2, 4, 6]


def test_two_workers_count_together_and_each_keeps_its_own(tmp_path):
    model = served(models.double(tmp_path / "m.onnx"))
    with serving(tmp_path, model, more=["--workers", "2"]) as server:
        for _ in range(40):
            assert ask(server, 1, 2, 3) == [2, 4, 6]
        hits, misses = counted(server)
        assert hits + misses == 40
        assert 1 <= misses <= 2


def test_a_model_that_draws_at_random_is_served_and_not_kept(tmp_path):
    noise = helper.make_node("RandomNormalLike", ["x"], ["n"])
    add = helper.make_node("Add", ["x", "n"], ["y"])
    x, y = (models.info(name, Datatype.FP32, (None, 3)) for name in "xy")
    path = models.write(tmp_path / "noise.onnx", [noise, add], [x], [y])
    with serving(tmp_path, served(path)) as server:
        assert ask(server, 1, 2, 3) != ask(server, 1, 2, 3)
        assert counted(server) == (0, 0)
        found = post(server, "/v2/repository/index", {})
        assert "draws at random" in found[0]["reason"]


def test_a_server_of_one_file_is_told_by_its_command_line(tmp_path):
    path = models.double(tmp_path / "m.onnx")
    with Server(["--file", str(path), "--name", "m", "--cache", '{"max_bytes": 5000}']) as server:
        for number in range(50):
            assert ask(server, number, 2, 3) == [2 * number, 4, 6]
            assert ask(server, number, 2, 3) == [2 * number, 4, 6]
        assert counted(server) == (50, 50)
        assert metric(server, "modelworks_cache_evictions_total") > 40
        assert metric(server, "modelworks_cache_bytes") <= 5000
    with pytest.raises(RuntimeError, match=r"cache\.max_bytes: 1 is not from"):
        Server(["--file", str(path), "--cache", '{"max_bytes": 1}'])


PASSWORD = "open:sesame"


def kept_in(redis, *before):
    """Answers that lie in a database."""
    lines = [*before, "DBSIZE"]
    with socket.create_connection(("127.0.0.1", redis.port), timeout=10) as link:
        link.sendall("".join(f"{line}\r\n" for line in lines).encode())
        said = link.makefile("rb", 0)
        return int([said.readline() for _ in lines][-1][1:])


def asking(server, numbers, factor=2):
    """Ask one question after another; how many hits there are by now."""
    number = next(numbers)
    assert ask(server, number, 2, 3) == [factor * number, 2 * factor, 3 * factor]
    return counted(server)[0]


def test_redis_is_shared_by_all_who_serve_the_version_and_by_nobody_else(tmp_path):
    with RedisServer(tmp_path, "--requirepass", PASSWORD) as redis:
        url = redis.url.replace("//", "//:open%3Asesame@") + "/3"
        model = served(models.double(tmp_path / "m.onnx"), backend=url, ttl_s=60.0)
        inside = (f"AUTH {PASSWORD}", "SELECT 3")
        with serving(tmp_path, model) as server:
            numbers = count()
            # The first ones may be asked before the connection stands.
            eventually(
                "answers in Redis", lambda: asking(server, numbers) or kept_in(redis, *inside) > 60
            )
            asked = next(numbers)
            assert metric(server, "modelworks_cache_errors_total") == 0
        with serving(tmp_path, model) as server:
            numbers = iter(range(asked - 1, 0, -1))
            eventually("what another process computed", lambda: asking(server, numbers) > 0)
        third = models.double(tmp_path / "o.onnx", factor=3.0)
        other = replace(model, path=str(third), digest="sha256:2")
        before = kept_in(redis, *inside)
        with serving(tmp_path, other) as server:
            numbers = iter(range(asked - 1, 0, -1))
            eventually(
                "answers of its own",
                lambda: asking(server, numbers, 3) or kept_in(redis, *inside) > before,
            )
            assert counted(server)[0] == 0


def test_redis_slow_dead_and_back(tmp_path):
    """Nobody is refused, nobody waits long, and it is used again when it is back."""
    with RedisServer(tmp_path) as redis:
        model = served(models.double(tmp_path / "m.onnx"), backend=redis.url, ttl_s=60.0)
        with serving(tmp_path, model) as server:
            numbers = count()
            eventually("answers in Redis", lambda: asking(server, numbers) or kept_in(redis) > 5)
            for trouble in (redis.pause, redis.kill):
                before = metric(server, "modelworks_cache_errors_total")
                trouble()
                longest = 0.0
                for _ in range(100):
                    began = time.monotonic()
                    asking(server, numbers)
                    longest = max(longest, time.monotonic() - began)
                assert longest < 5
                eventually(  # one that is left alone is tried again after a pause only
                    "it is counted",
                    lambda: (
                        asking(server, numbers)
                        or metric(server, "modelworks_cache_errors_total") > before  # noqa: B023
                    ),
                )
                assert stats(server)["inference_stats"]["fail"]["count"] == 0
            redis.start()
            eventually("it is used again", lambda: asking(server, numbers) or kept_in(redis) > 0)
            assert "is passed by, answers are computed" in server.log
            eventually("that is said", lambda: "answers again" in server.log)


def test_what_somebody_else_wrote_into_redis_is_computed(tmp_path):
    with RedisServer(tmp_path) as redis:
        model = served(models.double(tmp_path / "m.onnx"), backend=redis.url, ttl_s=60.0)
        with serving(tmp_path, model) as server:
            numbers = count()
            eventually("answers in Redis", lambda: asking(server, numbers) or kept_in(redis) > 50)
            asked = next(numbers)
        with socket.create_connection(("127.0.0.1", redis.port), timeout=10) as link:
            spoil = "for _, k in ipairs(redis.call('KEYS', '*')) do redis.call('SET', k, 'no') end"
            link.sendall(f'EVAL "{spoil}" 0\r\n'.encode())
            link.makefile("rb", 0).readline()
        with serving(tmp_path, model) as server:
            numbers = iter(range(asked - 1, 0, -1))
            eventually(
                "a spoilt answer",
                lambda: asking(server, numbers) or metric(server, "modelworks_cache_errors_total"),
            )
            assert counted(server)[0] == 0


def left(server, document):
    """Ask, and hang up before the answer."""
    body = json.dumps(document).encode()
    link = socket.create_connection(server.address.split(":"), timeout=10)
    link.sendall(
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    return link


def test_clients_that_hang_up_take_nothing_along_and_leave_nothing_behind(tmp_path):
    """A call takes some 50 ms; of those who ask the same, and others, one stays."""
    model = served(models.counting(tmp_path / "m.onnx", 20_000))
    with serving(tmp_path, model) as server:
        for round_ in range(3):
            links = [left(server, body_of([round_, 0, 0])) for _ in range(20)]
            links += [left(server, body_of([round_, 1 + number, 0])) for number in range(20)]
            for link in links[::2]:
                link.close()
            with ThreadPoolExecutor(1) as pool:
                stays = pool.submit(ask, server, round_, 0, 0)
                for link in links[1::2]:
                    link.close()
                assert stays.result(60) == [round_ + 20_000, 20_000, 20_000]
        eventually("nobody waits", lambda: metric(server, "modelworks_queue_items") == 0)
        before = counted(server)
        assert ask(server, 2, 0, 0) == [20_002, 20_000, 20_000]
        assert counted(server) == (before[0] + 1, before[1])
        found = stats(server)
        assert found["execution_count"] <= 3 * 41
        assert found["inference_stats"]["fail"]["count"] == 0


def test_records_say_which_answers_had_been_kept(tmp_path):
    policy = RecordPolicy(sample=1.0)
    model = replace(served(models.double(tmp_path / "m.onnx")), records=policy)
    folder = tmp_path / "records"
    with serving(tmp_path, model, more=["--records", str(folder)]) as server:
        for _ in range(3):
            assert ask(server, 1, 2, 3) == [2, 4, 6]
        post(server, "/predict/m", {"rows": [{"x": [1, 2, 3]}]})
        ended(server)
    found = sorted(records(folder), key=lambda record: record.at_ns)
    assert [record.cached for record in found] == [False, True, True, True]
    assert [record.compute_ns > 0 for record in found] == [True, False, False, False]
    assert all(record.outputs == {"y": [[2.0, 4.0, 6.0]]} for record in found[:3])


def test_redis_over_tls_is_asked_only_if_its_certificate_is_good(tmp_path, monkeypatch):
    authority = Authority(tmp_path / "tls")
    pair, port = authority.pair("localhost"), free_port()
    tls = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    tls += ["--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key)]
    with RedisServer(tmp_path, *tls, "--tls-ca-cert-file", str(authority.certificate)) as redis:
        model = served(
            models.double(tmp_path / "m.onnx"), backend=f"rediss://localhost:{port}", ttl_s=60.0
        )
        with serving(tmp_path, model) as server:  # nobody here trusts that authority
            numbers = count()
            eventually(
                "that is said",
                lambda: asking(server, numbers) or "certificate verify failed" in server.log,
            )
            assert kept_in(redis) == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        with serving(tmp_path, model) as server:
            numbers = count()
            eventually("answers in Redis", lambda: asking(server, numbers) or kept_in(redis) > 5)
            assert metric(server, "modelworks_cache_errors_total") == 0
