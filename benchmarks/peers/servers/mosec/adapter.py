"""mosec: a Rust front that batches, Python workers behind it; one worker takes one form of body.

For M and T the bytes alone: JSON is shown by S.
"""

from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer


def command(place):
    """`--timeout` in ms: the longest that a request may take in all."""
    return [
        *(str(place.python), str(place.service / "service.py"), "--address", "127.0.0.1"),
        *("--port", str(place.port), "--timeout", "60000", "--log-level", "warning"),
    ]


SETTING = "1 worker, dynamic batching, 2 ms"
PEERS = [
    Peer(
        name="mosec",
        folder="mosec",
        setting=SETTING,
        wires={"json": partial(wires.plain_json, "/inference")},
        command=command,
        environ=lambda _: {"PEER_WIRE": "json"},
        models="S",
    ),
    Peer(
        name="mosec (bytes)",
        folder="mosec",
        setting=SETTING,
        wires={"binary": partial(wires.raw, "/inference")},
        command=command,
        environ=lambda _: {"PEER_WIRE": "binary"},
    ),
]
