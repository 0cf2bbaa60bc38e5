"""KServe's Python server: the Open Inference Protocol over FastAPI, a custom model.

Its binary tensors become Python lists on their way in (0.1 s for an image); bytes on the path of
its first protocol reach the model as they are: that is the binary form measured here.
"""

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
            # It reads application/octet-stream as JSON.
            "binary": partial(wires.raw, "/v1/models/m:predict", kind="application/x-row"),
        },
        command=command,
    )
]
