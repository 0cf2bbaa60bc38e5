"""A model in two stages beside the whole: rows a second, latency, memory of the largest process.

Sessions are asked directly, by four callers at once (and by one, for the latency): what the server
adds is the same for all. Forms take turns, round by round; figures are medians over the rounds, and
the spread of the rounds stands beside them. On a machine that others use too the clock says little:
`--cpu` counts the processor time of a row, in all processes of the model.

    python benchmarks/shards/pipeline.py minilm --rounds 5 --save
    python benchmarks/shards/pipeline.py minilm --rounds 5 --cpu --save
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np

from modelworks.core.instances import Instances
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Signature
from modelworks.plugins.load import load
from modelworks.sandbox.vigil import resident
from modelworks.serving import instances

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "optimize")]
CACHE = Path.home() / ".cache" / "modelworks-benchmarks"
RESULTS = HERE.parent / "results" / "shards.json"
CALLERS = 4
ROWS = (1, 8, 32)
SECONDS = 3.0


def cut(source, into, count):
    run = load("passes", "shard")()
    into.mkdir()
    settings = settled(run.facts, {"stages": count, "by": "time"})
    return run.apply(PassJob(source, "onnx", into, Signature((), ()), settings)).notes


def forms(source, stages):
    """Name -> a session."""
    engine, pipeline = load("engines", "onnxruntime")(), load("engines", "stages")()

    def whole(threads):
        return engine.load(source, EngineOptions(threads=threads))

    return {
        "whole, 1 thread": whole(1),
        "whole, 2 threads": whole(2),
        "2 copies, 1 thread each": instances.opened((Instances(count=2),), (), lambda _: whole(1)),
        "2 stages, 1 thread each": pipeline.load(stages, EngineOptions(threads=1)),
    }


def throughput(session, inputs):
    """Rows a second of `CALLERS` callers; whole sessions without lanes take one call at a time."""
    lanes = getattr(session, "lanes", 1)
    gate = threading.Semaphore(lanes)
    rows = len(next(iter(inputs.values())))
    until = time.perf_counter() + SECONDS
    counts = [0] * CALLERS

    def ask(place):
        while time.perf_counter() < until:
            with gate:
                session.infer(inputs)
            counts[place] += 1

    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(place,)) for place in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) * rows / (time.perf_counter() - began)


def latency_ms(session, inputs, count=10):
    took = []
    for _ in range(count):
        began = time.perf_counter()
        session.infer(inputs)
        took.append(1000 * (time.perf_counter() - began))
    return median(took)


def cpu_ms(session, inputs, calls=8):
    """Processor time of a row: of this process, and of those that the model lives in."""
    pids = {os.getpid(), *(session.processes() if hasattr(session, "processes") else ())}
    before = sum(map(spent_ms, pids))
    for _ in range(calls):
        session.infer(inputs)
    return (sum(map(spent_ms, pids)) - before) / calls / len(next(iter(inputs.values())))


def spent_ms(pid):
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e6
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def largest_mib(session):
    """Of the processes that the model lives in, the largest; this one where it lives here."""
    pids = session.processes() if hasattr(session, "processes") else [os.getpid()]
    return max(resident(pid) for pid in pids) / 2**20


def spread(values):
    return (max(values) - min(values)) / median(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("key", choices=["minilm", "cnn", "mlp"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="processor time, not the clock")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    asked = parser.parse_args()
    from models import make

    made = make(asked.key, CACHE)
    with np.load(made.evaluation) as file:
        rows = {name: file[name][: max(ROWS)] for name in file.files}
    with tempfile.TemporaryDirectory(prefix="modelworks-bench-shards-") as folder:
        stages = Path(folder, "stages")
        notes = cut(made.form, stages, 2)
        found = forms(made.form, stages)
        first = found["whole, 1 thread"].infer(rows)
        for name, session in found.items():
            same = all(map(np.array_equal, session.infer(rows), first))
            print(f"{name}: {'the same bits' if same else 'other bits'}")
        results = (spent if asked.cpu else measured)(found, rows, asked.rounds)
        memory = {
            name: round(largest_mib(session), 1)
            for name, session in found.items()
            if "stages" in name
        }
        for session in found.values():
            session.close()
    document = {
        "model": asked.key,
        "callers": CALLERS,
        "rounds": asked.rounds,
        "cores": os.cpu_count(),
        "cut": notes,
        "largest_process_mib": memory,
        "forms": results,
    }
    print(json.dumps(document, indent=1))
    if asked.save:
        every = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        name = f"{asked.key}, processor time" if asked.cpu else asked.key
        RESULTS.write_text(json.dumps(every | {name: document}, indent=1) + "\n")


def spent(found, rows, rounds):
    noted = {name: {n: [] for n in ROWS} for name in found}
    for _ in range(rounds):
        for count in ROWS:
            inputs = {name: array[:count] for name, array in rows.items()}
            for name, session in found.items():
                noted[name][count].append(cpu_ms(session, inputs))
    return {
        name: {
            str(count): {"cpu_ms_row": round(median(cell), 3), "spread": round(spread(cell), 3)}
            for count, cell in cells.items()
        }
        for name, cells in noted.items()
    }


def measured(found, rows, rounds):
    noted = {name: {n: {"rows_s": [], "one_ms": []} for n in ROWS} for name in found}
    for _ in range(rounds):
        for count in ROWS:
            inputs = {name: array[:count] for name, array in rows.items()}
            for name, session in found.items():
                noted[name][count]["rows_s"].append(throughput(session, inputs))
                noted[name][count]["one_ms"].append(latency_ms(session, inputs))
    return {
        name: {
            str(count): {
                "rows_s": round(median(cell["rows_s"]), 1),
                "spread": round(spread(cell["rows_s"]), 3),
                "one_ms": round(median(cell["one_ms"]), 2),
            }
            for count, cell in cells.items()
        }
        for name, cells in noted.items()
    }


if __name__ == "__main__":
    main()
