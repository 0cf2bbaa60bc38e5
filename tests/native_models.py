"""Python folders as native artifacts: a model that does whatever its first number asks for."""

import json
from pathlib import Path

from modelworks.core.native import NativeModel, write_native
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec

MODEL = """
import os, pathlib, socket, sys, time
import numpy as np

HERE = pathlib.Path(__file__).parent

def load(folder):
    time.sleep(LOAD_S)
    if (folder / "broken").exists():
        raise OSError("the weights are gone")
    return 2.0

def fork_bomb():
    while True:
        os.fork()

def predict(model, inputs):
    x = inputs["x"]
    asked = int(x.flat[0]) if x.size else 0
    if asked == 1000:
        sys.exit(3)
    if asked == 1001:
        os.abort()
    if asked == 1002:
        while True:
            pass
    if asked == 1003:
        raise ValueError("the first number is too large")
    if asked == 1004:
        return {}["nowhere"]
    if asked == 1005:
        [np.empty(1 << 24) for _ in range(1000)]
    if asked == 1006:
        for _ in range(100):
            print("x" * 1_000_000)
            print("y" * 1_000_000, file=sys.stderr)
    if asked == 1007:
        fork_bomb()
    if asked == 1008:
        socket.create_connection(("127.0.0.1", 80), 1)
    if asked == 1009:
        (HERE / "left").write_text("x")
    if asked == 1010:
        open("/etc/hostname").read() and open("/root/.profile").read()
    if asked == 1011:
        return {"y": np.zeros((len(x), 2), np.float32), "pid": np.zeros(len(x), np.int64)}
    if asked == 1012:
        os.kill(os.getppid(), 9)
    if asked == 1013:
        import ctypes
        ctypes.string_at(0)
    if asked == 1014:
        with open("big", "wb") as file:
            for _ in range(64):
                file.write(bytes(1 << 26))
                file.flush()
    if asked == 1015:
        time.sleep(60)
    if asked == 1016:
        os.write(int(sys.argv[1]), bytes(32))
    return {"y": x * model, "pid": np.full(len(x), os.getpid(), np.int64)}
"""
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),),
    (
        TensorSpec("y", Datatype.FP32, (None, 3)),
        TensorSpec("pid", Datatype.INT64, (None,)),
    ),
)


def line_of(text: str) -> int:
    """The line of the model's code with a text."""
    return next(i for i, line in enumerate(MODEL.splitlines(), 1) if text in line)


def native(folder: Path, load_s: float = 0.0, **settings: float) -> Path:
    """An artifact's folder; `settings` are those of `native.json`."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.py").write_text(MODEL.replace("LOAD_S", str(load_s)))
    said = {name: str(value) for name, value in settings.items()}
    write_native(folder, NativeModel("python", "model", SIGNATURE, (), said))
    return folder


def served(folder: Path, name: str = "native", *, trusted: bool = True) -> ServedModel:
    """Its line in a server's list."""
    return ServedModel(
        name, "1.0.0", str(folder), "sha256:0", format="native", engine="native", trusted=trusted
    )


def body(first: float, rows: int = 1) -> bytes:
    """A request whose first number is `first`."""
    data = [first, *([1.0] * (3 * rows - 1))]
    tensor = {"name": "x", "shape": [rows, 3], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]}).encode()
