"""LitServe: FastAPI in front of worker processes, a queue between them."""

from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer


def command(place):
    """The service file starts the server itself."""
    return [str(place.python), str(place.service / "service.py")]


PEERS = [
    Peer(
        name="LitServe",
        folder="litserve",
        setting="1 API process, 1 worker, fast queue; batches of 8 for T (2 ms), none for S and M",
        wires={
            "json": partial(wires.plain_json, "/predict"),
            "base64": partial(wires.base64_json, "/predict"),
        },
        command=command,
    )
]
