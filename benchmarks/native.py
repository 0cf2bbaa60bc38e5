"""What a process of its own costs a call: the same model in-process and behind the walls.

    python benchmarks/native.py [--save]

Medians of interleaved rounds, in microseconds a call; the ratio is the median of the rounds' own.
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
ROUNDS = 15
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


def measure(folder, rows, width):
    """Microseconds a call, round by round: in this process, and in the model's own."""
    inputs = {"x": np.random.default_rng(0).random((rows, width), dtype=np.float32)}
    options = EngineOptions(trusted=True, extra=(("spare", "off"),))
    session = plugin("engines", "native")().load(artifact(folder, width), options)

    def here(given):
        return (given["x"] * 2.0).copy()

    try:
        np.testing.assert_array_equal(session.infer(inputs)[0], here(inputs))
        calls = max(5, min(500, 2_000_000 // (rows * width)))
        timed(session.infer, inputs, calls)
        return [
            (timed(here, inputs, calls), timed(session.infer, inputs, calls)) for _ in range(ROUNDS)
        ]
    finally:
        session.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/native.json")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for rows, width in SHAPES:
            rounds = measure(Path(folder, f"{rows}-{width}"), rows, width)
            inside, apart = (statistics.median(values) for values in zip(*rounds, strict=True))
            added = [b - a for a, b in rounds]
            low, _, high = statistics.quantiles(added, n=4)
            line = {
                "rows": rows,
                "bytes_each_way": rows * width * 4,
                "in_process_us": round(inside, 1),
                "apart_us": round(apart, 1),
                "added_us": round(statistics.median(added), 1),
                "added_quartiles_us": [round(low, 1), round(high, 1)],
                "ratio": round(statistics.median([b / a for a, b in rounds]), 2),
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
