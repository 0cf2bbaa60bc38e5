"""onnxruntime alone: finds its best batch size, then runs for as long as each line of stdin says.

As fast as a program could call it: inputs that lie ready, onnxruntime's own defaults, one thread.
"""

import json
import sys
import time

import numpy as np
import onnxruntime as ort

SIZES = (1, 2, 4, 8, 16, 32)
TRIALS = 5


def inputs_of(session, rows):
    """Made-up inputs of so many rows."""
    numbers = np.random.default_rng(0)
    found = {}
    for node in session.get_inputs():
        shape = [axis if isinstance(axis, int) else rows for axis in node.shape]
        if node.type == "tensor(int64)":
            ones = "mask" in node.name
            found[node.name] = numbers.integers(1 if ones else 1000, 2 if ones else 2000, shape)
        else:
            found[node.name] = numbers.random(shape, dtype=np.float32)
    return found


def main():
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    given = {size: inputs_of(session, size) for size in SIZES}
    best = dict.fromkeys(SIZES, float("inf"))
    for _ in range(TRIALS):
        for size, inputs in given.items():
            began = time.thread_time()  # CPU time: a neighbour must not choose the size
            session.run(None, inputs)
            best[size] = min(best[size], (time.thread_time() - began) / size)
    batch = min(best, key=best.get)
    curve = {size: round(1 / taken, 1) for size, taken in best.items()}
    print(json.dumps({"batch": batch, "curve": curve}), flush=True)
    inputs = given[batch]
    for line in sys.stdin:
        calls, began, used = 0, time.perf_counter(), time.process_time()
        end = began + float(line)
        while time.perf_counter() < end:
            session.run(None, inputs)
            calls += 1
        rows = calls * batch
        rate = rows / (time.perf_counter() - began)
        cpu_us = (time.process_time() - used) / rows * 1e6
        print(json.dumps({"rate": rate, "cpu_us": cpu_us}), flush=True)


if __name__ == "__main__":
    main()
