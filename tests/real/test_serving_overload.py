"""Three times what a model can do: what is answered is in time, the rest is told at once."""

import json
import socket

import pytest

from modelworks.core.served import Batching, ServedModel
from modelworks.measure.load import Load, run
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import parse_target
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server, serve_list

pytestmark = [pytest.mark.real, pytest.mark.alone, pytest.mark.timeout(300)]
STEPS = 3000  # some milliseconds a call
SECONDS = 1.5
ATTEMPTS = 5
"""Others use the machine, and then the capacity of one moment is not that of the next. What must
hold is asked of every attempt; how much is done, and how punctually, of one of them."""


def body(timeout_us):
    entry = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    return Body(json.dumps({"inputs": [entry], "parameters": {"timeout": timeout_us}}).encode())


def served(tmp_path, **batching):
    path = onnx_models.counting(tmp_path / "d.onnx", STEPS)
    model = ServedModel("d", "1.0.0", str(path), "", batching=Batching(1, **batching))
    return ["--served", str(serve_list(tmp_path / "served.json", [model]))]


def test_at_three_times_the_capacity(tmp_path):
    seen = []
    with Server(served(tmp_path)) as server:
        target = parse_target(f"{server.url}/v2/models/d/infer")
        for _ in range(ATTEMPTS):
            patient = request_bytes(target, body(0))
            capacity = run(Load(target, [patient], 4, seconds=SECONDS)).throughput
            assert capacity > 0
            timeout = 30 / capacity
            wire = request_bytes(target, body(int(timeout * 1e6)))
            found = run(
                Load(
                    target,
                    [wire],
                    min(400, int(20 + 6 * capacity * timeout)),
                    rate=3 * capacity,
                    seconds=SECONDS,
                    deadline_s=1.2 * timeout,
                )
            )
            assert set(found.statuses) <= {200, 503, 504}
            assert found.statuses[200] > 0
            assert found.failures == {}
            share = found.goodput / capacity
            kept = found.in_time / found.latency.count
            refused = found.refused.percentile(50) / 1e9 / timeout
            told = found.statuses.get(503, 0) > 2 * found.statuses.get(504, 0)  # not waited for
            seen.append(f"{share:.2f}, {kept:.2f}, {refused:.2f}, {found.statuses}")
            if share > 0.7 and kept > 0.9 and refused < 0.3 and told:
                return
    pytest.fail(f"of the capacity, of the answers, of the time-out: {seen}")


def test_the_models_own_time_out_is_for_requests_that_bring_none(tmp_path):
    with Server(served(tmp_path, timeout_ms=40.0)) as server:
        target = parse_target(f"{server.url}/v2/models/d/infer")
        wire = request_bytes(target, body(0))
        found = run(Load(target, [wire], 64, seconds=SECONDS))
        assert found.statuses[200] > 0
        assert found.statuses[503] > 0
        assert set(found.statuses) <= {200, 503, 504}


def test_a_refusal_says_when_to_come_back(tmp_path):
    with Server(served(tmp_path, timeout_ms=40.0)) as server:
        host, port = server.address.split(":")
        one = request_bytes(parse_target(f"{server.url}/v2/models/d/infer"), body(0))
        with socket.create_connection((host, int(port)), 20) as client:
            client.sendall(one * 60)
            data = b""
            while data.count(b"HTTP/1.1 ") < 60:
                data += client.recv(1 << 16)
        refusals = [answer for answer in data.split(b"HTTP/1.1 ")[1:] if answer[:3] == b"503"]
        assert refusals
        assert all(b"Retry-After: " in refusal for refusal in refusals)
        assert b"answered too late for its time-out" in refusals[-1]
