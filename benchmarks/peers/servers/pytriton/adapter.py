"""pytriton, and the Triton server that its wheel carries with the Python backend alone.

Triton's native ONNX Runtime backend is not on PyPI: it needs NVIDIA's container.
"""

import ctypes.util
import shutil
import sys
import sysconfig
from functools import partial
from pathlib import Path

from benchmarks.peers import wires
from benchmarks.peers.environments import MissingError
from benchmarks.peers.peer import INSIDE, Peer, free_port

PATH = "/v2/models/m/infer"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
WIRES = {"json": partial(wires.oip_json, PATH), "binary": partial(wires.oip_binary, PATH)}
TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}


def library():
    """Folder of this Python's shared library, which the backend's stub embeds; "": the system's.

    Without one the server waits without a word; with another patch release's it dies of the
    standard library.

    Raises:
        MissingError: there is none.
    """
    folder, name = sysconfig.get_config_vars("LIBDIR", "INSTSONAME")
    if name.startswith("libpython") and ".so" in name and (Path(folder) / name).exists():
        return folder
    if ctypes.util.find_library(f"python{VERSION}") is None:
        raise MissingError(
            f"libpython{VERSION}.so is not here; as root: apt-get install libpython{VERSION}"
        )
    return ""


def packages(place):
    """The environment's folder of libraries."""
    return place.python.parent.parent / "lib" / f"python{VERSION}" / "site-packages"


def pytriton_command(place):
    """The service file starts the server itself."""
    return [str(place.python), str(place.service / "service.py")]


def repository(place):
    """Backend with the stub of this Python, and a model repository for Triton itself."""
    library()
    source = packages(place) / "pytriton" / "tritonserver"
    backend = place.folder / "backends" / "python"
    shutil.copytree(source / "backends" / "python", backend)
    shutil.copy(source / "python_backend_stubs" / VERSION / "triton_python_backend_stub", backend)
    model = place.folder / "repository" / "m"
    (model / "1").mkdir(parents=True)
    for source in (place.service / "model.py", INSIDE / "onnx_model.py"):
        shutil.copy(source, model / "1")
    (model / "config.pbtxt").write_text(config(place.model))


def config(model):
    """The model's configuration in protobuf text."""

    def tensors(kind, arrays):
        listed = ", ".join(
            f'{{ name: "{name}" data_type: {TYPES[value.dtype.name]} '
            f"dims: [ {', '.join(map(str, value.shape[1:] or (1,)))} ] }}"
            for name, value in arrays.items()
        )
        return f"{kind} [ {listed} ]\n"

    batching = "dynamic_batching { }\n" if model.batch > 1 else ""
    return (
        f'name: "m"\nbackend: "python"\nmax_batch_size: {max(model.batch, 1)}\n{batching}'
        + tensors("input", model.rows[0])
        + tensors("output", model.answers[0])
        + "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
    )


def triton_command(place):
    """HTTP only, on the loopback; one thread for HTTP, as there is one core."""
    server = packages(place) / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    return [
        *(str(server), "--model-repository", str(place.folder / "repository")),
        *("--backend-directory", str(place.folder / "backends")),
        *("--http-address", "127.0.0.1", "--http-port", str(place.port)),
        *("--allow-grpc", "false", "--allow-metrics", "false", "--http-thread-count", "2"),
    ]


def libraries(place):
    """Where the server finds what it is linked to."""
    return {
        "LD_LIBRARY_PATH": f"{library()}:{packages(place) / 'nvidia_pytriton.libs'}",
        "PYTHONPATH": str(packages(place)),
    }


PEERS = [
    Peer(
        name="pytriton",
        folder="pytriton",
        setting="1 inference process, dynamic batching, no delay (none for M)",
        wires=WIRES,
        command=pytriton_command,
        prepare=lambda _: library(),
        environ=lambda _: {
            "PEER_GRPC": str(free_port()),
            "PEER_METRICS": str(free_port()),
            "LD_LIBRARY_PATH": library(),
        },
    ),
    Peer(
        name="Triton (Python backend)",
        folder="pytriton",
        setting="1 instance, dynamic batching, no delay (none for M)",
        wires=WIRES,
        command=triton_command,
        prepare=repository,
        environ=libraries,
    ),
]
