"""TorchServe: a Java front, a Python worker with a handler; stands still upstream since 2024."""

import subprocess
from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.environments import MissingError
from benchmarks.peers.peer import Peer, free_port

PREPARE_S = 300
PATH = "/predictions/m"


def prepare(place):
    """The archive and its two settings files."""
    folder = place.folder
    (folder / "model-config.yaml").write_text(
        "minWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 120\n"
        f"batchSize: {place.model.batch}\nmaxBatchDelay: 2\n"
    )
    addresses = {
        "inference_address": f"http://127.0.0.1:{place.port}",
        "management_address": f"http://127.0.0.1:{free_port()}",
        "metrics_address": f"http://127.0.0.1:{free_port()}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "grpc_inference_port": free_port(),
        "grpc_management_port": free_port(),
        "job_queue_size": 1000,
        "disable_system_metrics": "true",
    }
    lines = [f"{name}={value}\n" for name, value in addresses.items()]
    (folder / "config.properties").write_text("".join(lines))
    archive = [
        *(place.tool("torch-model-archiver"), "--model-name", "m", "--version", "1.0"),
        *("--serialized-file", str(place.model.path), "--config-file", "model-config.yaml"),
        *("--handler", str(place.service / "service.py"), "--export-path", str(folder)),
    ]
    done = subprocess.run(
        archive,
        cwd=folder,
        env=PEERS[0].variables(place),
        capture_output=True,
        text=True,
        check=False,
        timeout=PREPARE_S,
    )
    if done.returncode:
        raise MissingError(f"torch-model-archiver: {done.stderr.strip()[-300:]}")


def command(place):
    """In the foreground, no snapshot, no tokens."""
    return [
        *(place.tool("torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth"),
        *("--ts-config", str(place.folder / "config.properties")),
        *("--model-store", str(place.folder), "--models", "m=m.mar"),
    ]


PEERS = [
    Peer(
        name="TorchServe",
        folder="torchserve",
        setting="1 worker, dynamic batching, 2 ms (none for M), onnxruntime in its handler",
        wires={
            "json": partial(wires.plain_json, PATH),
            "binary": partial(wires.raw, PATH),
        },
        command=command,
        prepare=prepare,
        environ=lambda place: {
            "LOG_LOCATION": str(place.folder / "logs"),
            "METRICS_LOCATION": str(place.folder / "logs"),
        },
        tools=("java",),
    )
]
