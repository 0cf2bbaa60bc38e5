"""MLflow's own scoring server for its ONNX flavour."""

import subprocess
from functools import partial

from benchmarks.peers import wires
from benchmarks.peers.environments import MissingError
from benchmarks.peers.peer import Peer

PREPARE_S = 300


def prepare(place):
    """The model folder, written by MLflow itself."""
    done = subprocess.run(
        [place.python, place.service / "service.py", place.folder / "model"],
        env=MLFLOW.variables(place),
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PREPARE_S,
    )
    if done.returncode:
        raise MissingError(f"saving the model: {done.stderr.strip()[-300:]}")


def command(place):
    """In its own environment, one worker."""
    return [
        *(place.tool("mlflow"), "models", "serve", "-m", str(place.folder / "model")),
        *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(place.port), "--workers", "1"),
    ]


MLFLOW = Peer(
    name="MLflow",
    folder="mlflow",
    setting="models serve, ONNX flavour, 1 worker (it has no batching)",
    wires={
        "json": partial(wires.plain_json, "/invocations", answer="predictions", batched=True),
    },
    command=command,
    prepare=prepare,
    environ=lambda place: {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{place.folder}/mlflow.db",
        "GIT_PYTHON_REFRESH": "quiet",
        "UVICORN_ACCESS_LOG": "false",  # its command line has no option for either
        "UVICORN_LOG_LEVEL": "warning",
    },
)
PEERS = [MLFLOW]
