"""The improvement shop against each library alone: what an unattended search finds, and how soon.

    python benchmarks/optimize/search.py [mlp cnn minilm] [--budget 4m] [--save]

A network is registered and optimized as a user does it (`modelworks optimize`, one thread, 1 and 16
rows, rows of its own to calibrate on and others to judge by), from nothing: no form of an earlier
run is known. What one library alone reaches is read from the same run: its forms that passed the
gates or were no faster. Ratios are to ONNX Runtime's float32 with all of its optimizations, CPU
time, in the finals' rounds.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from models import KEYS, make

from modelworks.control.optimizing.asked import Asked
from modelworks.control.service import Factory
from modelworks.core import codec
from modelworks.core.home import Home
from modelworks.core.optimizing.variants import Ending, Goal
from modelworks.optimize import data
from modelworks.registry.publish import Publication

RESULTS = Path(__file__).resolve().parents[1] / "results"
BARS = {"mlp": {1: 4.0, 16: 3.0}, "cnn": {1: 1.8, 16: 2.0}, "minilm": {1: 2.4, 16: 3.0}}
BUDGET_S = {"mlp": 240.0, "cnn": 600.0, "minilm": 900.0}
ALONE = {
    "ONNX Runtime": ("onnxruntime", ("onnx_", "ort_", "int8_", "fp16", "weights_")),
    "OpenVINO": ("openvino", ("openvino",)),
    "NNCF": ("openvino", ("nncf_", "openvino")),
    "LiteRT": ("litert", ("litert",)),
}


def rows_of(made, folder):
    """The network's rows as a user gives them."""
    rows = dict(np.load(made.evaluation))
    if made.labels is not None:
        rows["label"] = np.load(made.labels)
    np.savez_compressed(folder / "eval.npz", **rows)  # files of rows have a largest size
    label = "label" if made.labels is not None else ""
    return data.Asked(made.calibration, folder / "eval.npz", label)


def searched(key, cache, budget_s, say):
    """One search; its run, and how long it took."""
    made = make(key, cache)
    with tempfile.TemporaryDirectory() as folder, Factory(Home(Path(folder) / "home")) as factory:
        asked = rows_of(made, Path(folder))
        factory.publish(Publication(key, made.form, "onnx", made.signature))
        began = time.monotonic()
        goal = Goal(budget_s=budget_s)
        run = factory.optimizing.optimize(key, Asked(goal, asked), say)
        return run, time.monotonic() - began


def best(findings, rows):
    """The highest ratio at so many rows, and what has it; 1 = the source form."""
    told = [
        (one.ratio, finding.recipe.title)
        for finding in findings
        if finding.measured is not None
        for one in finding.measured.times
        if one.rows == rows
    ]
    return max(told, default=(1.0, "as it is"))


def alone(run, engine, names):
    """The forms of one library that are good enough."""
    return [
        one
        for one in run.findings
        if one.ending in {Ending.KEPT, Ending.SLOWER}
        and not one.recipe.parts
        and one.recipe.run.engine == engine
        and all(step.name.startswith(names) for step in one.recipe.steps)
    ]


def told(key, run, seconds):
    """What a search found, as the table and the file have it."""
    rows = {}
    for size, bar in BARS[key].items():
        ratio, title = best(run.kept, size)
        others = {name: best(alone(run, *which), size)[0] for name, which in ALONE.items()}
        rows[size] = {"ratio": ratio, "by": title, "bar": bar, "alone": others}
    endings = {kind.value: sum(one.ending is kind for one in run.findings) for kind in Ending}
    return {
        "seconds": round(seconds, 1),
        "rows": rows,
        "candidates": endings,
        "noise": run.source.noise if run.source else None,
        "hardware": codec.encode(run.hardware),
        "conclusion": run.conclusion,
    }


def table(found):
    """The table of the documentation."""
    names = list(ALONE)
    lines = [
        f"| model | rows | found | bar | {' | '.join(names)} | by | search |",
        f"|---|--:|--:|--:|{'--:|' * len(names)}---|--:|",
    ]
    for key, one in found.items():
        for size, row in one["rows"].items():
            others = " | ".join(f"{row['alone'][name]:.2f}" for name in names)
            lines.append(
                f"| {key} | {size} | {row['ratio']:.2f} | {row['bar']:.1f} | {others} | "
                f"{row['by']} | {one['seconds']:.0f} s |"
            )
    return "\n".join(lines)


def keep(name, found):
    """Write what was found into its file of results, beside what is there of other models."""
    file = RESULTS / f"{name}.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(before | found, indent=1) + "\n")


def short(found):
    """What is below its bar, as it is told."""
    return [
        f"{key} at {size} rows: {row['ratio']:.2f} of {row['bar']}"
        for key, one in found.items()
        for size, row in one["rows"].items()
        if row["ratio"] < row["bar"]
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(KEYS))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/modelworks-benchmarks")
    parser.add_argument("--budget", type=float, help="seconds; else 240, 600, 900")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    found = {}
    for key in given.models:
        run, seconds = searched(
            key, given.cache, given.budget or BUDGET_S[key], lambda line: print(line, flush=True)
        )
        found[key] = told(key, run, seconds)
        print(run.conclusion)
    print(table(found))
    if given.save:
        keep("optimize", found)
    if short(found):
        print("below the bar: " + "; ".join(short(found)))
        sys.exit(1)


if __name__ == "__main__":
    main()
