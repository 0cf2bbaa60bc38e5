"""Models cut into stages, for tests."""

import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.tensor import Signature
from modelworks.plugins.load import load
from modelworks.testing import onnx_models


def cut(source: Path, into: Path, **settings) -> Path:
    """The artifact `source` (a folder with `model.onnx`), in stages."""
    run = load("passes", "shard")()
    into.mkdir(parents=True)
    signature = Signature((), ())
    run.apply(PassJob(source, "onnx", into, signature, settled(run.facts, settings)))
    return into


def lasting(path: Path, steps: int = 1 << 40) -> Path:
    """`y = x + 1 + steps`, counted one by one in its second half: it does not end in our time."""
    model = onnx.load(onnx_models.counting(path, steps))
    node = model.graph.node[0]
    node.input[2] = "h"
    first = helper.make_node("Add", ["x", "first"], ["h"])
    model.graph.node.insert(0, first)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1), "first"))
    path.write_bytes(model.SerializeToString())
    return path


def busy(pid: int, ticks: int = 5, within_s: float = 30.0) -> bool:
    """Whether a process is seen to compute, in time."""
    began, end = _ticks(pid), time.monotonic() + within_s
    while time.monotonic() < end:
        if _ticks(pid) - began >= ticks:
            return True
        time.sleep(0.01)
    return False


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
