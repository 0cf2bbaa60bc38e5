"""Records of each way in which a server answers: a share of them, raw tensors, several lengths."""

import http.client
import json
import threading

import numpy as np
import pytest

from modelworks.core.ragged import Ragged
from modelworks.core.records import RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from recording_server import counts, ended, records, until

pytestmark = [pytest.mark.real, pytest.mark.alone]
CLIENTS, EACH = 8, 150
LONG_S = 90.0  # a logger runs only where nobody else wants to
LENGTH = "Inference-Header-Content-Length"


def ask(connection, model, body, length=0):
    """Its JSON and its raw tensors."""
    headers = {LENGTH: f"{length}"} if length else {}
    connection.request("POST", f"/v2/models/{model}/infer", body, headers)
    answer = connection.getresponse()
    told = answer.read()
    assert answer.status == 200, told
    end = int(answer.headers.get(LENGTH) or len(told))
    return json.loads(told[:end]), told[end:]


def tensor(name, array, datatype="FP32"):
    data = array.ravel().tolist()
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": data}


def clients(address, run, each=EACH):
    """Call `run` with a connection and a number, in several threads; what they found."""
    found, failed = {}, []

    def one(client):
        connection = http.client.HTTPConnection(address, timeout=30)
        try:
            for number in range(each):
                found.update(run(connection, client * each + number))
        except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert len(found) == CLIENTS * each
    return found


def serving(tmp_path, path, policy, **more):
    model = ServedModel("m", "1.0.0", str(path), "", records=policy, **more)
    listed = serve_list(tmp_path / "served.json", [model])
    return Server(["--served", str(listed), "--records", str(tmp_path / "records")])


def test_of_half_of_the_requests_each_record_is_whole(tmp_path):
    def run(connection, number):
        array = np.array([[number, 1, 2]])
        told = {"id": f"r{number}", "inputs": [tensor("x", array)]}
        ask(connection, "m", json.dumps(told))
        return {f"r{number}": array.tolist()}

    path = models.double(tmp_path / "m.onnx")
    with serving(tmp_path, path, RecordPolicy(0.5)) as server:
        asked = clients(server.address, run)
        until(lambda: sum(counts(server.address).values()) > len(asked) * 0.4, LONG_S)
        ended(server)
    found = records(tmp_path / "records")
    assert 0.4 * len(asked) < len(found) < 0.6 * len(asked)
    assert len({one.id for one in found}) == len(found)
    for one in found:
        assert one.inputs == {"x": asked[one.id]}
        assert one.outputs == {"y": [[2 * value for value in asked[one.id][0]]]}
        assert 0 < one.compute_ns < one.total_ns


def test_raw_tensors_are_recorded_as_they_were(tmp_path):
    """JSON and raw, in and out, small and large, in the same batches."""

    def run(connection, number):
        array = np.arange(3 * (1 + number % 7), dtype=np.float32).reshape(-1, 3) + number
        entry = tensor("x", array)
        told = {"id": f"r{number}", "inputs": [entry]}
        raw = b""
        if number % 2:
            raw = array.tobytes()
            del entry["data"]
            entry["parameters"] = {"binary_data_size": len(raw)}
        if number % 3:
            told["outputs"] = [{"name": "y", "parameters": {"binary_data": True}}]
        head = json.dumps(told).encode()
        said, rest = ask(connection, "m", head + raw, len(head) if raw else 0)
        assert bool(rest) is bool(number % 3)
        assert said["id"] == f"r{number}"
        return {f"r{number}": array}

    path = models.double(tmp_path / "m.onnx")
    with serving(tmp_path, path, RecordPolicy(1.0)) as server:
        asked = clients(server.address, run)
        connection = http.client.HTTPConnection(server.address, timeout=30)
        large = np.arange(300_000, dtype=np.float32).reshape(-1, 3)
        entry = {"name": "x", "shape": list(large.shape), "datatype": "FP32"}
        raw = {"binary_data_size": large.nbytes}
        told = {"id": "large", "inputs": [{**entry, "parameters": raw}]}
        head = json.dumps(told).encode()
        ask(connection, "m", head + large.tobytes(), len(head))
        connection.close()
        until(lambda: sum(counts(server.address).values()) == len(asked) + 1, LONG_S)
        assert counts(server.address)["kept"] == len(asked) + 1
        ended(server)
    found = {one.id: one for one in records(tmp_path / "records")}
    (left_out,) = [one for one in found.values() if one.left_out]
    assert left_out.left_out == ("inputs", "outputs")
    assert left_out.id not in {*asked, "large"}  # its own was in what was left out
    for name, array in asked.items():
        assert found[name].rows == len(array)
        assert found[name].inputs == {"x": array.tolist()}
        assert found[name].outputs == {"y": (2 * array).tolist()}


def test_a_large_raw_tensor_is_kept_where_the_policy_wants_it(tmp_path):
    path = models.double(tmp_path / "m.onnx")
    with serving(tmp_path, path, RecordPolicy(1.0, max_bytes=8 << 20)) as server:
        connection = http.client.HTTPConnection(server.address, timeout=30)
        large = np.arange(300_000, dtype=np.float32).reshape(-1, 3)
        entry = {"name": "x", "shape": list(large.shape), "datatype": "FP32"}
        entry["parameters"] = {"binary_data_size": large.nbytes}
        told = {"inputs": [entry], "parameters": {"binary_data_output": True}}
        head = json.dumps(told).encode()
        ask(connection, "m", head + large.tobytes(), len(head))
        connection.close()
        until(lambda: counts(server.address).get("kept"), LONG_S)
        ended(server)
    (found,) = records(tmp_path / "records")
    assert found.left_out == ()
    assert np.array_equal(np.array(found.inputs["x"], np.float32), large)
    assert np.array_equal(np.array(found.outputs["y"], np.float32), 2 * large)


def test_requests_of_several_lengths_that_shared_calls_have_their_own(tmp_path):
    chance = np.random.default_rng(3)
    texts = [chance.integers(0, 100, (1, 16 + n % 23)) for n in range(CLIENTS * 40)]

    def run(connection, number):
        ids = texts[number]
        entries = [tensor("input_ids", ids, "INT64")]
        entries.append(tensor("attention_mask", np.ones_like(ids), "INT64"))
        said, _ = ask(connection, "m", json.dumps({"id": f"r{number}", "inputs": entries}))
        return {f"r{number}": {one["name"]: one for one in said["outputs"]}}

    path = models.transformer(tmp_path / "m.onnx", width=16)
    asked = {"ragged": Ragged("attention_mask")}
    with serving(tmp_path, path, RecordPolicy(1.0, max_bytes=1 << 20), **asked) as server:
        answered = clients(server.address, run, 40)
        until(lambda: counts(server.address).get("kept") == len(texts), LONG_S)
        ended(server)
    found = {one.id: one for one in records(tmp_path / "records")}
    assert found.keys() == answered.keys()
    calls = {}
    for name, one in found.items():
        assert one.inputs["input_ids"] == texts[int(name[1:])].tolist()
        for output, told in answered[name].items():
            wanted = np.array(told["data"]).reshape(told["shape"])
            assert np.array_equal(np.array(one.outputs[output]), wanted)
        assert 0 < one.compute_ns < one.total_ns
        calls.setdefault(one.compute_ns, set()).add(len(one.inputs["input_ids"][0]))
    assert any(len(lengths) > 1 for lengths in calls.values())  # some did share a call
