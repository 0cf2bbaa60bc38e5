"""mosec: a Rust front that batches, Python workers behind it; one worker takes one form of body.

It waits its whole delay for a batch that does not fill: for S it runs without batching too. For M
(which it never batches) and T the bytes alone: JSON is shown by S.
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


def mosec(name, wire, models, *, alone=False):
    """One configuration: JSON or bytes, with batches or without."""
    how = partial(wires.plain_json if wire == "json" else wires.raw, "/inference")
    form = "orjson" if wire == "json" else "bytes"
    return Peer(
        name=name,
        folder="mosec",
        setting=f"1 worker, {form}, {'no' if alone else 'dynamic'} batching"
        + ("" if alone else ", 2 ms (none for M)"),
        wires={wire: how},
        command=command,
        environ=lambda _: {"PEER_WIRE": wire} | ({"PEER_BATCH": "1"} if alone else {}),
        models=models,
    )


PEERS = [
    mosec("mosec", "json", "S"),
    mosec("mosec unbatched", "json", "S", alone=True),
    mosec("mosec bytes", "binary", "SMT"),
    mosec("mosec bytes unbatched", "binary", "S", alone=True),
]
