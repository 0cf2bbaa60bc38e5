"""MLServer: the Open Inference Protocol over FastAPI, a custom runtime for onnxruntime.

Over HTTP it has no binary tensors; its form for bytes is the content type base64.
"""

import base64
import json
from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer, free_port

PATH = "/v2/models/m/infer"


def in_base64(model):
    """A row's inputs as one tensor of BYTES in base64, the outputs as one."""
    plain = wires.raw(PATH, model)

    def encode(row):
        tensor = {
            "name": "bytes",
            "shape": [1, 1],
            "datatype": "BYTES",
            "parameters": {"content_type": "base64"},
            "data": [base64.b64encode(plain.encode(row)[1]).decode()],
        }
        return {"Content-Type": wires.JSON}, json.dumps({"inputs": [tensor]}).encode()

    def decode(headers, body):
        [tensor] = json.loads(body)["outputs"]
        return plain.decode(headers, base64.b64decode(tensor["data"][0]))

    return wires.Wire(PATH, encode, decode)


def prepare(place):
    """Its two settings files."""
    settings = {
        "host": "127.0.0.1",
        "http_port": place.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "metrics_dir": str(place.folder),
        "parallel_workers": 0,
        "debug": False,
        "gzip_enabled": False,
    }
    (place.folder / "settings.json").write_text(json.dumps(settings))
    batch = place.model.batch if place.model.key == "T" else 0
    model = {
        "name": "m",
        "implementation": "service.Runtime",
        "max_batch_size": batch,
        "max_batch_time": 0.002 if batch else 0.0,
    }
    (place.folder / "model-settings.json").write_text(json.dumps(model))


def command(place):
    """It reads the folder."""
    return [place.tool("mlserver"), "start", str(place.folder)]


PEERS = [
    Peer(
        name="MLServer",
        folder="mlserver",
        setting="in one process; adaptive batches of 8 for T (2 ms), none for S and M",
        wires={"json": partial(wires.oip_json, PATH), "base64": in_base64},
        command=command,
        prepare=prepare,
    )
]
