"""Passes that train or change a network: what they gain, what they cost, how long they take.

    python benchmarks/optimize/trained.py [--rounds 31] [--models cnn,mlp,uneven] [--save]

A CNN of 90,000 weights on 8x8 digits (1,347 rows with labels to learn from, 450 others to judge by)
the MLP 64-1024-1024-512-10 of `models.py` (192 rows without labels), and a depthwise separable
network whose channels differ widely (1,000 rows with labels, 1,500 others). One thread. CPU time a
call through `Session.infer`, in rounds in which the source form and the other run in turn; a ratio
is the median over the rounds, with the quartiles beside it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from models import make

from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import EngineOptions
from modelworks.optimize.hardware import this_machine
from modelworks.plugins.load import load

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "tests"))
SIZES = (1, 16)
ROUND_S = 0.01  # of one form in one round
CNN = (
    ("distil", {"size": "tiny"}),
    ("distil", {}),
    ("distil", {"size": "medium"}),
    ("prune_channels", {}),
    ("prune_channels", {"ratio": 0.75}),
    ("cascade", {"agreement": 1.0}),
    ("low_rank", {}),
    ("magnitude", {"sparsity": 0.8}),
)
MLP = (
    ("low_rank", {}),
    ("low_rank", {"energy": 0.99}),
    ("prune_channels", {"ratio": 0.7}),
    ("distil", {}),
    ("distil", {"size": "large"}),
)
UNEVEN = (
    ("int8_static", {}),
    ("int8_static", {"method": "percentile"}),
    ("int8_static", {"method": "entropy"}),
    ("int8_trained", {}),
)
BAR = 2.5  # times, at 16 rows, on the CNN, with at most POINTS lost
POINTS = 0.005


def opened(engine, folder, signature):
    """Its call on rows."""
    session = load("engines", engine)().load(folder, EngineOptions(signature=signature))
    return lambda rows: session.infer({signature.inputs[0].name: rows})[-1]


def cpu_us(call, rows, turns):
    began = time.process_time_ns()
    for _ in range(turns):
        call(rows)
    return (time.process_time_ns() - began) / turns / 1000


def faster(before, after, rows, rounds):
    """How many times, by number of rows: lower quartile, median, upper quartile."""
    found = {}
    for size in SIZES:
        some = np.ascontiguousarray(rows[:size])
        turns = [max(3, int(ROUND_S * 1e6 / cpu_us(c, some, 20))) for c in (before, after)]
        each = [
            cpu_us(before, some, turns[0]) / cpu_us(after, some, turns[1]) for _ in range(rounds)
        ]
        found[size] = [round(value, 2) for value in statistics.quantiles(each, n=4)]
    return found


def measured(source, plan, rows, truth, rounds):
    """One network's part of the document."""
    before = opened("onnxruntime", source.folder, source.signature)
    own = before(rows).argmax(axis=1)
    found = [{"form": "as it is", "accuracy": round(float((own == truth).mean()), 4)}]
    print(json.dumps(found[0]), flush=True)
    for name, settings in plan:
        step = load("passes", name)()
        with tempfile.TemporaryDirectory() as into:
            job = PassJob(
                source.folder, "onnx", Path(into), source.signature, settled(step.facts, settings),
                source.calibration, source.labels,
            )  # fmt: skip
            began, clock = time.process_time(), time.perf_counter()
            applied = step.apply(job)
            took = time.process_time() - began, time.perf_counter() - clock
            after = opened(step.facts.engine, job.into, source.signature)
            said = after(rows).argmax(axis=1)
            found.append(
                {
                    "form": name,
                    "settings": settings,
                    "accuracy": round(float((said == truth).mean()), 4),
                    "agreement": round(float((said == own).mean()), 4),
                    "faster": faster(before, after, rows, rounds),
                    "bytes": sum(p.stat().st_size for p in job.into.rglob("*") if p.is_file()),
                    "cpu_s": round(took[0], 1),
                    "wall_s": round(took[1], 1),
                    "figures": {k: round(v, 4) for k, v in applied.figures.items()},
                }
            )
        print(json.dumps(found[-1]), flush=True)
    return found


def network(name, cache, folder):
    """A network, what is made of it, rows to judge by and their labels."""
    from modelworks.testing.passes import PassSource
    from students import digits_cnn
    from uneven_nets import WIDE, uneven

    if name == "mlp":
        made = make("mlp", cache)
        source = PassSource(made.form, "onnx", made.signature, made.calibration)
        with np.load(made.evaluation) as file:
            rows = file[made.signature.inputs[0].name]
        return source, MLP, rows, np.load(made.labels)
    if name == "uneven":
        source, rows, truth = uneven(folder / "net", WIDE)
        return source, UNEVEN, rows, truth
    source, rows, truth = digits_cnn(folder / "net", epochs=12)
    return source, CNN, rows, truth


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--models", default="cnn,mlp,uneven")
    parser.add_argument("--cache", default=str(Path.home() / ".cache" / "modelworks-benchmarks"))
    parser.add_argument("--save", action="store_true", help="write results/trained.json")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {}
    for name in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measured(*network(name, arguments.cache, Path(folder)), arguments.rounds)
    document = {
        "python": platform.python_version(),
        "hardware": this_machine().kind,
        "load": os.getloadavg()[0],
        "models": found,
    }
    if arguments.save:
        (RESULTS / "trained.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0 if "cnn" not in found or good(found["cnn"]) else 1


def good(forms):
    """How many forms of the CNN reach the bar."""
    least = forms[0]["accuracy"] - POINTS
    reached = [f for f in forms[1:] if f["faster"][16][1] >= BAR and f["accuracy"] >= least]
    print(f"{len(reached)} forms of the CNN are {BAR} x at 16 rows within {POINTS * 100} points")
    return len(reached)


if __name__ == "__main__":
    sys.exit(main())
