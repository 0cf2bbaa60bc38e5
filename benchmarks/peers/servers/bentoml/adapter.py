"""BentoML: a service class; an API that batches takes one array and gives one array."""

import json
from functools import partial

import numpy as np
from benchmarks.peers import wires
from benchmarks.peers.peer import Peer


def one_array(model):
    """`{"rows": [...]}`: a row's inputs as one array; the outputs come side by side."""

    def encode(row):
        parts = list(row.values())
        rows = np.stack(parts, axis=1) if len(parts) > 1 else parts[0]
        body = json.dumps({"rows": wires.numbers(rows)}).encode()
        return {"Content-Type": wires.JSON}, body

    def decode(_headers, body):
        flat, found = np.array(json.loads(body)).ravel(), {}
        for name, like in model.answers[0].items():
            found[name], flat = flat[: like.size], flat[like.size :]
        return found

    return wires.Wire("/predict", encode, decode)


def command(place):
    """Production mode is how it starts."""
    return [
        *(place.tool("bentoml"), "serve", "service:Service", "--host", "127.0.0.1"),
        *("--port", str(place.port), "--working-dir", str(place.service)),
    ]


PEERS = [
    Peer(
        name="BentoML",
        folder="bentoml",
        setting="1 worker, its adaptive batching (none for M)",
        wires={
            "json": one_array,
            "base64": partial(wires.base64_json, "/predict_bytes", key="rows", rows=True),
        },
        command=command,
        environ=lambda place: {
            "BENTOML_HOME": str(place.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "PEER_KEY": place.model.key,
        },
    )
]
