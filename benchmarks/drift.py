"""What a drift report costs: 100k rows x 30 features against a reference of 100k.

    python benchmarks/drift.py [--rows 100000] [--rounds 5] [--evidently PYTHON] [--json] [--save]

CPU seconds of the process and its threads, the statistics libraries limited to one thread, the
sides in turn in every round. Beside ours stands the plain way with scipy: both samples sorted anew
for each statistic. `--evidently` names a Python that has evidently installed (it does not live in
our environment): its own report on the same data, in a process of its own, imports not counted.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

from modelworks.monitor.drift import archive
from modelworks.monitor.drift.build import Recipe, build
from modelworks.monitor.drift.report import report
from modelworks.monitor.drift.window import sketch

RESULTS = Path(__file__).resolve().parent / "results"
CATEGORICAL = 6
UNIVARIATE_S = 1.0
TOGETHER_S = 1.0
RATIO = 8.0
EVIDENTLY = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
reference, current = (pd.read_pickle(path) for path in sys.argv[1:3])
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
Report([DataDriftPreset()]).run(current.head(500), reference.head(500))
began = cpu()
found = Report([DataDriftPreset()]).run(current, reference)
found.dict()
print(json.dumps(cpu() - began))
"""


def table(rows: int, features: int, seed: int, shift: float) -> dict[str, np.ndarray]:
    """Columns, most of them numbers; one of them moves."""
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    for place in range(features - CATEGORICAL):
        columns[f"n{place}"] = rng.normal(shift if place == 3 else 0.0, 1.0, rows)
    names = np.array([f"c{place}" for place in range(12)], object)
    for place in range(CATEGORICAL):
        columns[f"k{place}"] = names[rng.integers(0, 12, rows)]
    return columns


def plainly(reference: dict[str, np.ndarray], current: dict[str, np.ndarray]) -> list[float]:
    """The same univariate statistics with scipy, column by column."""
    found = []
    for name, old in reference.items():
        new = current[name]
        if old.dtype == object:
            names = np.unique(old)
            one, other = (np.array([(c == n).sum() for n in names]) for c in (old, new))
            found.append(float(stats.chi2_contingency([one, other]).pvalue))
        else:
            found.append(float(stats.ks_2samp(old, new, method="asymp").pvalue))
            found.append(float(stats.wasserstein_distance(old, new)))
            edges = np.quantile(old, np.linspace(0, 1, 11))
            one, other = (np.histogram(column, edges)[0] for column in (old, new))
        p, q = (one + 0.5) / (one + 0.5).sum(), (other + 0.5) / (other + 0.5).sum()
        found += [float(jensenshannon(p, q, base=2)), float(((p - q) * np.log(p / q)).sum())]
    return found


def cpu(work) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def evidently(python: str, reference, current, folder: Path) -> float:
    """CPU seconds of evidently's report."""
    import pandas as pd

    paths = []
    for name, columns in (("reference", reference), ("current", current)):
        frame = pd.DataFrame(columns)
        paths.append(str(folder / f"{name}.csv"))
        frame.to_csv(paths[-1], index=False)
    script = EVIDENTLY.replace("read_pickle", "read_csv")
    quiet = os.environ | {"DO_NOT_TRACK": "1", "ITERATIVE_DO_NOT_TRACK": "1"}
    command = [python, "-c", script, *paths]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=900, env=quiet
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--evidently", default="", metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    before = table(asked.rows, asked.features, 0, 0.0)
    now = table(asked.rows, asked.features, 1, 0.3)
    built = cpu(lambda: build(before, Recipe(kept=asked.rows)))
    reference = build(before, Recipe(kept=asked.rows))
    body = archive.to_bytes(reference)
    report(reference, {name: column[:500] for name, column in now.items()})  # imports
    hour = {name: column[:1000] for name, column in now.items()}
    sides = {
        "alone": lambda: report(reference, now, together=False),
        "with together": lambda: report(reference, now),
        "scipy": lambda: plainly(before, now),
        "hour as sketches": lambda: sketch(reference, hour),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            order = list(sides) if number % 2 else list(reversed(sides))
            for name in order:
                taken[name].append(cpu(sides[name]))
            if asked.evidently and number < 3:
                seconds = evidently(asked.evidently, before, now, Path(folder))
                taken.setdefault("evidently", []).append(seconds)
    middle = {name: round(statistics.median(times), 4) for name, times in taken.items()}
    found = {
        "rows": asked.rows,
        "features": asked.features,
        "rounds": asked.rounds,
        "cpu_s": middle,
        "range_s": {name: [round(min(t), 4), round(max(t), 4)] for name, t in taken.items()},
        "together_s": round(middle["with together"] - middle["alone"], 4),
        "build_s": round(built, 3),
        "reference_bytes": len(body),
        "load_s": round(cpu(lambda: archive.from_bytes(body)), 3),
        "sketch_bytes_a_feature": round(
            sum(map(len, sketch(reference, hour).to_bytes().values())) / asked.features, 1
        ),
        "ratio": {
            name: round(middle[name] / middle["alone"], 1)
            for name in ("scipy", "evidently")
            if name in middle
        },
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    missed = []
    if middle["alone"] >= UNIVARIATE_S:
        missed.append("alone")
    if found["together_s"] >= TOGETHER_S:
        missed.append("together")
    if found["ratio"].get("evidently", RATIO) < RATIO:
        missed.append("evidently")
    found["missed"] = missed
    text = json.dumps(found, indent=2)
    print(text if asked.json else _told(found))
    if asked.save:
        (RESULTS / "drift.json").write_text(text + "\n")
    return 1 if missed else 0


def _told(found) -> str:
    lines = [f"{found['rows']} rows x {found['features']} features, CPU seconds:"]
    lines += [f"  {name:<18}{seconds:8.3f}" for name, seconds in found["cpu_s"].items()]
    lines += [f"  {'together':<18}{found['together_s']:8.3f}"]
    lines += [f"  {name} / ours: {ratio} x" for name, ratio in found["ratio"].items()]
    lines += [f"an hour of 1000 rows: {found['sketch_bytes_a_feature']} bytes a feature"]
    return "\n".join([*lines, f"missed: {', '.join(found['missed']) or 'nothing'}"])


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read when numpy is loaded
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one)
    sys.exit(main())
