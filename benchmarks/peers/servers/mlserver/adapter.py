"""MLServer: the Open Inference Protocol over FastAPI, a custom runtime for onnxruntime."""

import json
from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer, free_port


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
        wires={"json": partial(wires.oip_json, "/v2/models/m/infer")},
        command=command,
        prepare=prepare,
    )
]
