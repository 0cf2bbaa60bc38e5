"""Every ONNX node test that onnxruntime runs is served, and answers over HTTP as it should.

Requests are written and answers read by this module alone, from the protocol's text: a mistake
that our encoder and our decoder shared would not be seen otherwise.
"""

import json
import math
import os
import struct
import time

import ml_dtypes
import numpy as np
import pytest
import urllib3

import onnx_nodes
from modelworks.core.served import ServedModel
from modelworks.testing.servers import Server, serve_list

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

BATCH = 300
LOAD_S = 120.0
DTYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BF16": ml_dtypes.bfloat16,
}
TEXTLESS = {"FP16", "BF16"}


def raw(array, datatype):
    if datatype == "BYTES":
        items = [str(item).encode() for item in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(item)) + item for item in items)
    return np.asarray(array, DTYPES[datatype]).tobytes()


def unraw(data, datatype, shape):
    if datatype != "BYTES":
        return np.frombuffer(data, DTYPES[datatype]).reshape(shape)
    items = []
    while data:
        [length] = struct.unpack_from("<I", data)
        items.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return np.array(items, object).reshape(shape)


def in_binary(case):
    entries, parts = [], []
    for name, array in case.inputs.items():
        datatype = case.datatypes[name]
        part = raw(array, datatype)
        more = {"binary_data_size": len(part)}
        entries.append(
            {"name": name, "shape": array.shape, "datatype": datatype, "parameters": more}
        )
        parts.append(part)
    told = {"inputs": entries, "parameters": {"binary_data_output": True}}
    head = json.dumps(told).encode()
    return b"".join([head, *parts]), {"Inference-Header-Content-Length": str(len(head))}


def plain(array):
    items = array.ravel().tolist()
    return [None if isinstance(x, float) and math.isnan(x) else x for x in items]


def in_json(case):
    entries = [
        {
            "name": name,
            "shape": array.shape,
            "datatype": case.datatypes[name],
            "data": plain(array),
        }
        for name, array in case.inputs.items()
    ]
    return json.dumps({"inputs": entries}, allow_nan=False).encode(), {}


def infinite(arrays):
    return any(a.dtype.kind == "f" and np.isinf(a).any() for a in arrays.values())


def textless(case):
    return not TEXTLESS.isdisjoint(case.datatypes.values())


def read(answer):
    length = answer.headers.get("Inference-Header-Content-Length")
    if length is None:
        return json.loads(answer.data), b""
    return json.loads(answer.data[: int(length)]), answer.data[int(length) :]


def outputs(answer):
    told, rest = read(answer)
    found = {}
    for entry in told["outputs"]:
        name, datatype, shape = entry["name"], entry["datatype"], entry["shape"]
        if "data" not in entry:
            size = entry["parameters"]["binary_data_size"]
            found[name] = datatype, unraw(rest[:size], datatype, shape)
            rest = rest[size:]
        elif datatype == "BYTES":
            found[name] = datatype, np.array(entry["data"], object).reshape(shape)
        else:
            items = [math.nan if item is None else item for item in entry["data"]]
            found[name] = datatype, np.array(items, DTYPES[datatype]).reshape(shape)
    assert not rest
    return found


def compare(case, answer, *, finite=False):
    """Against the reference; `finite`: JSON has no infinities, they come as null like NaN."""
    found = outputs(answer)
    assert {name: datatype for name, (datatype, _) in found.items()} == {
        name: case.datatypes[name] for name in case.wanted
    }
    answered = {name: array for name, (_, array) in found.items()}
    if finite and infinite(case.wanted):
        for name, array in case.wanted.items():
            hidden = np.isinf(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
            assert np.isnan(answered[name][hidden]).all()
            answered[name] = np.where(hidden, array, answered[name])
    case.check(answered)


class Host:
    """A server whose list is changed while it runs."""

    def __init__(self, folder, server):
        self.folder, self.server = folder, server
        self.pool = urllib3.PoolManager()
        self.generation = 1

    def ask(self, method, path, body=b"", headers=None):
        return self.pool.request(method, f"{self.server.url}{path}", body=body, headers=headers)

    def serve(self, cases):
        """Put exactly these on the list; name -> why it is not ready."""
        models = []
        for case in cases:
            path = self.folder / f"{case.name}.onnx"
            path.write_bytes(case.model)
            models.append(ServedModel(case.name, "1.0.0", str(path), "sha256:0"))
        self.generation += 1
        serve_list(self.folder / "served.json", models, self.generation)
        wanted = {case.name for case in cases}
        end = time.monotonic() + LOAD_S
        while time.monotonic() < end:
            index = json.loads(self.ask("POST", "/v2/repository/index").data)
            if {entry["name"] for entry in index} == wanted and not any(
                entry["state"] in {"LOADING", "UNLOADING"} for entry in index
            ):
                return {e["name"]: e["reason"] for e in index if e["state"] != "READY"}
            time.sleep(0.1)
        raise TimeoutError(f"{len(cases)} models were not loaded within {LOAD_S} s")

    def infer(self, case, request):
        body, headers = request
        return self.ask("POST", f"/v2/models/{case.name}/infer", body, headers)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    serve_list(folder / "served.json", [])
    with Server(["--served", str(folder / "served.json")]) as server:
        yield Host(folder, server)


def trouble(host, case, why, tally):
    """What is wrong with the answers of one case; None = nothing."""
    if why is not None:
        return f"not ready: {why}"
    answer = host.infer(case, in_binary(case))
    if answer.status != 200:
        return f"binary: {answer.data[:300]}"
    try:
        compare(case, answer)
        tally["binary"] += 1
        if textless(case):
            answer = host.infer(case, (json.dumps({"inputs": _shapes(case)}).encode(), {}))
            assert answer.status == 400, "FP16 and BF16 have no JSON form"
            tally["refused"] += 1
        elif not infinite(case.inputs):
            answer = host.infer(case, in_json(case))
            assert answer.status == 200, f"JSON: {answer.data[:300]}"
            compare(case, answer, finite=True)
            tally["json"] += 1
    except AssertionError as error:
        return str(error)[:400]
    return None


def _shapes(case):
    return [
        {"name": n, "shape": a.shape, "datatype": case.datatypes[n], "data": [0] * a.size}
        for n, a in case.inputs.items()
    ]


def test_every_model_that_onnxruntime_runs_is_answered(host, capsys):
    cases, skipped = onnx_nodes.sorted_out()
    tally = {"binary": 0, "json": 0, "refused": 0}
    wrong = {}
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        unready = host.serve(batch)
        for case in batch:
            if found := trouble(host, case, unready.get(case.name), tally):
                wrong[case.name] = found
    with capsys.disabled():
        told = f"ONNX node tests: {len(cases) + len(skipped)}; {tally}; {len(skipped)} skipped"
        print(f"\n{told}")  # noqa: T201 - the count is what the test is for
    assert not wrong, f"{len(wrong)} of {len(cases)}: {json.dumps(wrong, indent=1)}"
    assert tally["binary"] == len(cases) >= 1500
    if os.environ.get("MODELWORKS_WRITE_DOCS") == "1":
        onnx_nodes.DOC.write_text(onnx_nodes.page(cases, skipped, tally["json"]))
    assert f"`onnx` package {onnx_nodes.onnx.__version__}" in onnx_nodes.DOC.read_text()
