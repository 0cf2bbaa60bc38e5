"""FastAPI under uvicorn: what a team writes that needs no model server."""

from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.peer import Peer


def command(place):
    """One worker, the fast event loop and parser, no access log."""
    return [
        *(place.tool("uvicorn"), "service:app", "--host", "127.0.0.1", "--port", str(place.port)),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
    ]


PEERS = [
    Peer(
        name="FastAPI",
        folder="fastapi",
        setting="uvicorn with uvloop and httptools, pydantic body, no batching",
        wires={
            "json": partial(wires.plain_json, "/predict"),
            "binary": partial(wires.raw, "/raw"),
        },
        command=command,
    )
]
