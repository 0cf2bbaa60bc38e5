"""What is looked at beside a load: processes, the machine, statistics, inputs, answers."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.measure.agree import agree, wrong_answers
from modelworks.measure.aim import Asked, aim, beside
from modelworks.measure.batches import batches_of
from modelworks.measure.exchange import Answer
from modelworks.measure.inputs import Wanted, made_up, row_bodies, rows_of, specs_of
from modelworks.measure.load import Load, run
from modelworks.measure.noise import Calibration, Interference, Watch, calibrate, unsteady
from modelworks.measure.observe import Server, observe
from modelworks.measure.processes import ServerCpu, serving
from modelworks.measure.target import parse_target
from plain_server import PlainServer, answer

pytestmark = pytest.mark.unit
# A listener whose child burns CPU: both are the server.
BURNER = """
import socket, subprocess, sys
held = socket.create_server(("127.0.0.1", 0))
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print(held.getsockname()[1], child.pid, flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""


@pytest.fixture
def burner():
    process = subprocess.Popen(
        [sys.executable, "-c", BURNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    port, child = process.stdout.readline().split()
    yield int(port), process.pid, int(child)
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def test_a_servers_processes_are_found_by_its_port_and_their_cpu_is_counted(burner):
    port, parent, child = burner
    found = serving(parse_target(f"http://127.0.0.1:{port}/"))
    # The child inherits nothing: sockets of Python are closed in it.
    assert found == (parent,)
    watch, cpu = Watch(), ServerCpu(found)
    others = Watch(found)
    began = time.perf_counter()
    time.sleep(0.5)
    used = cpu.seconds()
    span = time.perf_counter() - began
    assert 0.02 < used <= span * 1.05
    seen, without = watch.end(), others.end()
    assert seen.others > 0.02
    # Told whose they are, the same seconds are not the others'.
    assert without.others < seen.others
    assert ServerCpu((child,)).seconds() >= 0


def test_no_processes_elsewhere_or_nowhere():
    assert serving(parse_target("http://192.0.2.1:80/")) == ()
    with PlainServer(lambda _taken: answer()) as server:
        assert serving(parse_target(server.url)) == ()  # it is this process itself
    with pytest.raises(NotFoundError, match="no process"):
        ServerCpu((2**22 + 5,))


def test_a_unix_sockets_process(tmp_path):
    code = f"import socket,sys; s=socket.socket(1); s.bind({str(tmp_path / 's')!r}); s.listen(); "
    with subprocess.Popen(
        [sys.executable, "-c", code + "print(1, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        assert serving(parse_target(f"unix://{tmp_path / 's'}")) == (process.pid,)
        process.stdin.close()


def test_calibration():
    found = calibrate(0.05)
    assert found.spins >= 10
    assert found.median_s > 0
    assert 0 <= found.stolen < 1
    assert unsteady(Calibration(100, 0.001, 0.05, 0.0)) == ""
    assert "20% of the calibration" in unsteady(Calibration(100, 0.001, 0.05, 0.2))
    assert "50% more or less" in unsteady(Calibration(100, 0.001, 0.5, 0.0))
    assert Interference(1.0, 0.0, 0.1, 0.5).noisy == ()
    assert len(Interference(1.0, 0.1, 1.5, 9.0).noisy) == 2


def stats(rows, executions, sizes, queue_ns=0):
    return {
        "model_stats": [
            {
                "inference_count": rows,
                "execution_count": executions,
                "inference_stats": {"queue": {"count": rows, "ns": queue_ns}},
                "batch_stats": [
                    {"batch_size": size, "compute_infer": {"count": count, "ns": 1}}
                    for size, count in sizes.items()
                ],
            }
        ]
    }


def test_batches_are_the_difference_of_two_answers():
    before = stats(10, 10, {1: 10}, 5_000)
    after = stats(110, 30, {1: 12, 4: 10, 8: 8}, 1_005_000)
    found = batches_of(before, after)
    assert (found.rows, found.executions, found.mean) == (100, 20, 5.0)
    assert found.sizes == ((1, 2), (4, 10), (8, 8))
    assert found.mean_us == {"queue": 10.0}
    assert batches_of(after, before) is None  # reloaded in between
    for strange in (None, [], {}, {"model_stats": []}, {"model_stats": [1]}, stats(1, 1, {})):
        assert batches_of(strange, strange) is None
    text = stats("10", "5", {})
    assert batches_of(stats("0", "0", {}), text).mean == 2.0


def json_answer(data) -> Answer:
    return Answer(200, json.dumps(data).encode())


def test_answers_agree_but_for_the_last_bits():
    one = {"id": "a", "outputs": [{"name": "y", "data": [0.5, 1], "shape": [2]}]}
    near = {"id": "b", "outputs": [{"name": "y", "data": [0.5000001, 1.0], "shape": [2]}]}
    far = {"outputs": [{"name": "y", "data": [0.51, 1], "shape": [2]}]}
    assert agree(json_answer(one), json_answer(near))
    assert not agree(json_answer(one), json_answer(far))
    assert not agree(json_answer(one), json_answer({"outputs": []}))
    assert not agree(json_answer(["a"]), json_answer(["b"]))
    assert not agree(Answer(200, b"one"), Answer(200, b"two"))
    assert agree(Answer(200, b"same \xff"), Answer(200, b"same \xff"))


def tensors(values, dtype=np.float32, name="y") -> Answer:
    array = np.asarray(values, dtype)
    head = {
        "model_name": "m",
        "outputs": [
            {
                "name": name,
                "datatype": "FP32" if dtype is np.float32 else "INT32",
                "shape": list(array.shape),
                "parameters": {"binary_data_size": array.nbytes},
            }
        ],
    }
    text = json.dumps(head).encode()
    return Answer(200, text + array.tobytes(), len(text))


def test_binary_answers_agree_by_their_tensors():
    assert agree(tensors([1.0, 2.0]), tensors([1.0, 2.0000001]))
    assert not agree(tensors([1.0, 2.0]), tensors([1.0, 2.1]))
    assert not agree(tensors([1.0, 2.0]), tensors([[1.0, 2.0]]))
    assert not agree(tensors([1], np.int32), tensors([2], np.int32))
    assert not agree(tensors([1.0]), tensors([1.0], name="z"))
    assert not agree(tensors([1.0]), Answer(200, b"{}x", 2))


def test_wrong_answers_are_counted_and_bad_statuses_left_out():
    first = [json_answer({"y": 1}), json_answer({"y": 2})]
    samples = [(0, 200, -1, b'{"y": 1}'), (1, 200, -1, b'{"y": 1}'), (1, 503, -1, b"busy")]
    count, words = wrong_answers(first, samples)
    assert count == 1
    assert words.startswith("request 1: ")


SPECS = (
    TensorSpec("x", Datatype.FP32, (None, 3)),
    TensorSpec("t", Datatype.BYTES, (None, None)),
    TensorSpec("n", Datatype.INT64, (None, 1)),
)


def takes(free):
    """A server that wants a free axis of that length."""

    def decide(taken) -> bytes:
        document, _ = json.JSONDecoder().raw_decode(taken.body.decode("latin-1"))
        shapes = {entry["name"]: entry["shape"] for entry in document["inputs"]}
        if shapes["t"][1] == free and shapes["x"] == [2, 3]:
            return answer(b'{"outputs": []}')
        return answer(b'{"error": "not this length"}', "400 Bad Request")

    return decide


def test_made_up_inputs_find_what_the_model_takes():
    with PlainServer(takes(32)) as server:
        target = parse_target(server.url).at("/v2/models/m/infer")
        bodies, first = made_up(target, SPECS, Wanted(rows=2, bodies=5))
        assert first.good
        assert len({body.data for body in bodies}) == 5
        assert bodies == made_up(target, SPECS, Wanted(rows=2, bodies=5))[0]
        with pytest.raises(InvalidError, match="not this length: give --body"):
            made_up(target, SPECS, Wanted(rows=1))


def test_metadata_and_rows():
    entry = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    assert specs_of({"inputs": [entry]}) == (TensorSpec("x", Datatype.FP32, (None, 3)),)
    for wrong in (None, {}, {"inputs": [{}]}, {"inputs": [{**entry, "datatype": "F"}]}):
        with pytest.raises(InvalidError, match="give --body"):
            specs_of(wrong)
    bodies = row_bodies([1, 2, 3], 2)
    assert [json.loads(body.data)["rows"] for body in bodies] == [[1, 2], [3, 1]]
    assert [json.loads(b.data)["rows"] for b in row_bodies([1], 3)] == [[1, 1, 1]]
    assert rows_of({"rows": [1, 2]}) == 2
    assert rows_of({"inputs": [{"shape": [7, 3]}]}) == 7
    for nothing in ({}, {"inputs": []}, {"inputs": [{"shape": []}]}, {"inputs": [{"shape": "a"}]}):
        assert rows_of(nothing) == 1


def any_endpoint(taken) -> bytes:
    if taken.path.endswith("/stats"):
        return answer(json.dumps(stats(taken.number, taken.number, {1: taken.number})).encode())
    if taken.path in {"/v2/models/m", "/x/v2/models/m/versions/2"}:
        entry = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
        return answer(json.dumps({"inputs": [entry]}).encode())
    if taken.path.endswith("/infer") or taken.path in {"/post", "/predict/m"}:
        return answer(b'{"outputs": []}')
    return answer(b'{"error": "no such path"}', "404 Not Found")


def test_aims():
    asked = Asked(Wanted(rows=2))
    with PlainServer(any_endpoint) as server:
        target = parse_target(server.url)
        for path, posted in (
            ("/v2/models/m", "/v2/models/m/infer"),
            ("/v2/models/m/infer", "/v2/models/m/infer"),
            ("/x/v2/models/m/versions/2", "/x/v2/models/m/versions/2/infer"),
        ):
            found = aim(target.at(path), asked)
            assert found.target.path == posted
            assert (found.rows, len(found.requests), len(found.answers)) == (2, 64, 1)
            assert found.server.statistics.path == posted.replace("/infer", "/stats")
        found = aim(target.at("/v2/models/m"), Asked(Wanted(rows=2), rows=([1], [2], [3])))
        assert found.target.path == "/predict/m"
        plain = Asked(Wanted(), (b'{"inputs": [{"shape": [9, 1]}]}', b"raw"), check=True)
        found = aim(target.at("/post"), plain)
        assert (found.rows, len(found.answers), found.server.statistics) == (9, 2, None)
        assert b"Content-Type: application/json" in found.requests[0]
        assert b"Content-Type: application/octet-stream" in found.requests[1]
        other = beside(found, plain, target.at("/v2/models/m"))
        assert other.target.path == "/v2/models/m/infer"
        assert [body.data for body in other.bodies] == [body.data for body in found.bodies]
        with pytest.raises(InvalidError, match="say with --body FILE"):
            aim(target.at("/post"), asked)
        with pytest.raises(NotFoundError, match="no such path"):
            aim(target.at("/v2/models/other"), asked)
        with pytest.raises(NotFoundError, match="no such path"):
            aim(target.at("/nowhere"), plain)


def test_an_observation_holds_batches_and_no_cpu_where_there_is_none():
    with PlainServer(any_endpoint) as server:
        found = aim(parse_target(server.url).at("/v2/models/m"), Asked(Wanted()))
        load = Load(found.target, found.requests, seconds=20, warm_s=0, most=30)
        point = observe(load, run, found.server)
        assert point.cpu_us is None
        assert point.batches.executions == 31  # the second look at the statistics counts itself
        assert observe(load, run, Server()).batches is None
    assert point.machine.seconds > 0
