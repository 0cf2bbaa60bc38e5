"""pytriton, the Triton server that its wheel carries with the Python backend, and Triton whole.

Triton's native ONNX Runtime backend is not on PyPI: where NVIDIA's container is, it is measured.
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
NATIVE = Path("/opt/tritonserver")
"""Where NVIDIA's container has Triton with all its backends."""
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


def python_repository(place, delay_us):
    """Backend with the stub of this Python, and a model repository for Triton itself."""
    library()
    source = packages(place) / "pytriton" / "tritonserver"
    backend = place.folder / "backends" / "python"
    shutil.copytree(source / "backends" / "python", backend)
    shutil.copy(source / "python_backend_stubs" / VERSION / "triton_python_backend_stub", backend)
    version = written(place, "python", delay_us)
    for source in (place.service / "model.py", INSIDE / "onnx_model.py"):
        shutil.copy(source, version)


def onnx_repository(place, delay_us):
    """A model repository for the native backend.

    Raises:
        MissingError: Triton is not installed here.
    """
    if not (NATIVE / "backends" / "onnxruntime").is_dir():
        raise MissingError(
            "pip brings Triton without this backend (pytriton's wheel has the Python one alone, "
            f"tritonserver's no server): run this in NVIDIA's container, which has it in {NATIVE}"
        )
    shutil.copy(place.model.path, written(place, "onnxruntime", delay_us) / "model.onnx")


def written(place, backend, delay_us):
    """The model's folder with its configuration; the folder of its first version."""
    model = place.folder / "repository" / "m"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(config(place.model, backend, delay_us))
    return model / "1"


def config(model, backend, delay_us):
    """The model's configuration in protobuf text.

    The native backend wants an output of the batch's axis alone told by a reshape.
    """

    def tensors(kind, arrays):
        listed = ", ".join(
            f'{{ name: "{name}" data_type: {TYPES[value.dtype.name]} '
            f"dims: [ {', '.join(map(str, value.shape[1:] or (1,)))} ]"
            f"{' reshape { shape: [] }' if native and value.ndim == 1 else ''} }}"
            for name, value in arrays.items()
        )
        return f"{kind} [ {listed} ]\n"

    native = backend == "onnxruntime"
    batching = ""
    if model.batch > 1:
        batching = f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}\n"
    threads = "".join(
        f'parameters {{ key: "{name}" value: {{ string_value: "1" }} }}\n'
        for name in ("intra_op_thread_count", "inter_op_thread_count")
    )
    return (
        f'name: "m"\nbackend: "{backend}"\nmax_batch_size: {max(model.batch, 1)}\n{batching}'
        + tensors("input", model.rows[0])
        + tensors("output", model.answers[0])
        + "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
        + (threads if native else "")
    )


def triton_command(place, home=None):
    """HTTP only, on the loopback, no metrics; `home`: of an installed Triton, else the wheel's."""
    server = (home or packages(place) / "pytriton" / "tritonserver") / "bin" / "tritonserver"
    backends = home / "backends" if home else place.folder / "backends"
    return [
        *(str(server), "--model-repository", str(place.folder / "repository")),
        *("--backend-directory", str(backends)),
        *("--http-address", "127.0.0.1", "--http-port", str(place.port)),
        *("--allow-grpc", "false", "--allow-metrics", "false", "--http-thread-count", "2"),
    ]


def libraries(place):
    """Where the server finds what it is linked to."""
    return {
        "LD_LIBRARY_PATH": f"{library()}:{packages(place) / 'nvidia_pytriton.libs'}",
        "PYTHONPATH": str(packages(place)),
    }


def triton(name, delay_us, models, *, native=False):
    """Triton itself in one configuration."""
    delay = f"{delay_us // 1000} ms" if delay_us else "no delay"
    return Peer(
        name=name,
        folder="pytriton",
        setting=f"1 instance, dynamic batching, {delay} (none for M)",
        wires=WIRES,
        command=partial(triton_command, home=NATIVE if native else None),
        prepare=partial(onnx_repository if native else python_repository, delay_us=delay_us),
        environ=libraries if not native else lambda _: {},
        models=models,
    )


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
    triton("Triton (Python backend)", 0, "SMT"),
    triton("Triton (Python backend) 2 ms", 2000, "S"),
    triton("Triton (ONNX Runtime backend)", 0, "SMT", native=True),
    triton("Triton (ONNX Runtime backend) 2 ms", 2000, "S", native=True),
]
