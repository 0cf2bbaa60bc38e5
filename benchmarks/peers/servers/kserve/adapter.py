"""KServe's Python server: the Open Inference Protocol over FastAPI, a custom model."""

from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer

PATH = "/v2/models/m/infer"
NEEDS = {"id": "1"}  # the protocol's optional member; KServe has answered 500 without it


def command(place):
    """HTTP only."""
    return [
        *(str(place.python), str(place.service / "service.py"), "--http_port", str(place.port)),
        *("--enable_grpc", "false", "--enable_latency_logging", "false", "--workers", "1"),
    ]


PEERS = [
    Peer(
        name="KServe",
        folder="kserve",
        setting="its Python server, 1 worker, no batching (it has none)",
        wires={
            "json": partial(wires.oip_json, PATH, extra=NEEDS),
            "binary": partial(wires.oip_binary, PATH, extra=NEEDS),
        },
        command=command,
    )
]
