"""TorchServe: a Java front, a Python worker with a handler; stands still upstream since 2024."""

import subprocess
from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.environments import MissingError
from benchmarks.peers.peer import Peer, free_port

PREPARE_S = 300
DELAY_MS = 2
LOGGING = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders><Console name="out"><PatternLayout pattern="[%p] %c - %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="warn"/>
    <Root level="warn"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""
"""No line a request, as everywhere else: its own default writes five files."""
PATH = "/predictions/m"


def prepare(place, *, alone=False):
    """The archive and its settings files."""
    folder = place.folder
    (folder / "log4j2.xml").write_text(LOGGING)
    (folder / "model-config.yaml").write_text(
        "minWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 120\n"
        f"batchSize: {1 if alone else place.model.batch}\nmaxBatchDelay: {DELAY_MS}\n"
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
        *("--log-config", str(place.folder / "log4j2.xml")),
        *("--model-store", str(place.folder), "--models", "m=m.mar"),
    ]


def torchserve(name, batching, models, *, alone=False):
    """One configuration: with batches or without."""
    return Peer(
        name=name,
        folder="torchserve",
        setting=f"1 worker, {batching}, onnxruntime in its handler",
        wires={
            "json": partial(wires.plain_json, PATH),
            "binary": partial(wires.raw, PATH),
        },
        command=command,
        prepare=partial(prepare, alone=alone),
        environ=lambda place: {
            "LOG_LOCATION": str(place.folder / "logs"),
            "METRICS_LOCATION": str(place.folder / "logs"),
        },
        tools=("java",),
        models=models,
    )


PEERS = [
    torchserve("TorchServe", f"dynamic batching, {DELAY_MS} ms (none for M)", "SMT"),
    torchserve("TorchServe unbatched", "no batching", "S", alone=True),
]
