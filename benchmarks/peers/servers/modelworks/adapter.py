"""Our own server, from the checkout that runs this; twice, so that the run shows its own noise."""

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


WIRES = {
    "json": partial(wires.oip_json, PATH),
    "binary": partial(wires.oip_binary, PATH),
}
PEERS = [
    Peer("modelworks", None, "as it comes", WIRES, command),
    Peer("modelworks again", None, "the same once more: the noise", WIRES, command),
]
