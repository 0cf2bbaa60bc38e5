"""Our own server, from the checkout that runs this; twice, so that the run shows its own noise."""

import os
from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer

PATH = "/v2/models/m/infer"


def command(place):
    """One worker; everything as it comes."""
    return [
        *(str(place.python), "-m", "modelworks.apps.server", "--file", str(place.model.path)),
        *("--name", "m", "--port", str(place.port)),
    ]


def environ(_):
    """The compiled request path, where `make bench-peers` has built it."""
    return {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}


WIRES = {
    "json": partial(wires.oip_json, PATH),
    "binary": partial(wires.oip_binary, PATH),
}
PEERS = [
    Peer("modelworks", None, "as it comes", WIRES, command, environ=environ),
    Peer(
        "modelworks again", None, "the same once more: the noise", WIRES, command, environ=environ
    ),
]
