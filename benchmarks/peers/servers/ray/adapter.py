"""Ray Serve: a head node of its own on this machine, one replica behind its HTTP proxy."""

from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer


def command(place):
    """The service file starts the node itself."""
    return [str(place.python), str(place.service / "service.py")]


PEERS = [
    Peer(
        name="Ray Serve",
        folder="ray",
        setting="1 node, 1 replica, tuned for throughput, dynamic batching, no delay (none for M)",
        wires={
            "json": partial(wires.plain_json, "/"),
            "binary": partial(wires.raw, "/"),
        },
        command=command,
        environ=lambda _: {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
            # What RAY_SERVE_THROUGHPUT_OPTIMIZED sets, but the direct ingress: it wants HAProxy.
            "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
            "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
            "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
            "RAY_SERVE_LOG_TO_STDERR": "0",
            "RAY_raylet_start_wait_time_s": "240",  # of a slow machine
        },
        wake_s=3.0,  # its daemons ask each other first where they have been
    )
]
