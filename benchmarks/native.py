"""What a process of its own costs a call: the same model in-process and behind the walls.

    python benchmarks/native.py [--save]

Rounds are short and interleaved. A wait for another process is as long as the machine is busy,
so the undisturbed time is the tenth percentile of the rounds; the CPU time of both processes, which
no neighbour changes, stands beside it. All in microseconds a call.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from modelworks.core.native import NativeModel, write_native
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins.load import load as plugin

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS = 200
TICK = os.sysconf("SC_CLK_TCK")
SHAPES = ((1, 30), (64, 30), (1, 150_528), (32, 150_528))
CODE = "def predict(inputs):\n    return {'y': inputs['x'] * 2.0}\n"


def artifact(folder, width):
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.py").write_text(CODE)
    tensors = [(TensorSpec(name, Datatype.FP32, (None, width)),) for name in ("x", "y")]
    write_native(folder, NativeModel("python", "model", Signature(*tensors)))
    return folder


def timed(call, inputs, calls):
    began = time.perf_counter_ns()
    for _ in range(calls):
        call(inputs)
    return (time.perf_counter_ns() - began) / calls / 1000


def cpu_of(pid):
    """Seconds of CPU that a process has used; 10 ms fine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(folder, rows, width):
    """Rounds of (here, apart), and the CPU of both processes a call."""
    inputs = {"x": np.random.default_rng(0).random((rows, width), dtype=np.float32)}
    options = EngineOptions(trusted=True, extra=(("spare", "off"),))
    session = plugin("engines", "native")().load(artifact(folder, width), options)

    def here(given):
        return (given["x"] * 2.0).copy()

    try:
        np.testing.assert_array_equal(session.infer(inputs)[0], here(inputs))
        calls = max(1, min(50, 200_000 // (rows * width)))
        timed(session.infer, inputs, calls)
        rounds, ours = [], 0.0
        before = cpu_of(session.pid)
        for _ in range(ROUNDS):
            inside = timed(here, inputs, calls)
            began = time.process_time()
            apart = timed(session.infer, inputs, calls)
            ours += time.process_time() - began
            rounds.append((inside, apart))
        cpu = ours + cpu_of(session.pid) - before
        return rounds, cpu / (ROUNDS * calls) * 1e6
    finally:
        session.close()


def tenth(values):
    return statistics.quantiles(values, n=10)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/native.json")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for rows, width in SHAPES:
            rounds, cpu = measure(Path(folder, f"{rows}-{width}"), rows, width)
            inside, apart = (tenth(values) for values in zip(*rounds, strict=True))
            line = {
                "rows": rows,
                "bytes_each_way": rows * width * 4,
                "in_process_us": round(inside, 1),
                "apart_us": round(apart, 1),
                "added_us": round(apart - inside, 1),
                "median_apart_us": round(statistics.median([b for _, b in rounds]), 1),
                "cpu_us": round(cpu, 1),
            }
            found.append(line)
            print(json.dumps(line))
    document = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "measured": found,
    }
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "native.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
