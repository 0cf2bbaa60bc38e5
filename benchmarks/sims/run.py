"""Every statistical method under continuous peeking: does it keep the error rate that it declares?

    python benchmarks/sims/run.py [--experiments 10000] [--only rates,means] [--seed 0] [--save]

`--save` writes results/statistics.{json,svg} and the table in docs/statistics.md; with `--only`
what is saved of the others stays. Exit status 1:
the lower 99 % bound of a measured rate is above the declared one.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from benchmarks.sims import planned, report, sequences  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "statistics.md"
BEGIN, END = "<!-- sims: begin -->", "<!-- sims: end -->"


def one(outcome):
    yield outcome


def bounds(runs, rng):
    for outcome, exact in planned.of_bounds(runs, rng):
        yield replace(outcome, best=exact, rival="the same bounds, integrated exactly")


SUITES = {
    "rates": lambda runs, rng: sequences.of_rates(runs, rng, 0.01, 0.5),
    "uneven": lambda runs, rng: sequences.of_rates(runs, rng, 0.05, 0.1),
    "means": sequences.of_means,
    "ratios": lambda runs, rng: one(sequences.of_ratios(runs, rng)),
    "quantiles": lambda runs, rng: one(sequences.of_quantiles(runs, rng)),
    "split": lambda runs, rng: one(sequences.of_split(runs, rng)),
    "bets": lambda runs, rng: one(sequences.of_bets(runs, rng)),
    "cuped": lambda runs, rng: one(planned.of_cuped(runs, rng)),
    "bounds": bounds,
    "many": planned.of_many,
    "distances": sequences.of_distances,
}
BANDITS = 10  # of their seed


def simulated(runs, seed, only):
    """The document."""
    began = time.process_time()
    found = []
    for number, (name, suite) in enumerate(SUITES.items()):
        if only and name not in only:
            continue
        for outcome in suite(runs, np.random.default_rng([seed, number])):
            found.append(outcome.document())
            used = time.process_time() - began
            print(f"{used:7.1f} s  {outcome.method}: {outcome.false:.2%}", file=sys.stderr)
    bandits = {}
    if not only or "bandits" in only:
        rng = np.random.default_rng([seed, BANDITS])
        bandits = planned.of_bandits(max(runs // 100, 4), rng)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    used = time.process_time() - began
    return {
        "at": at,
        "experiments": runs,
        "seed": seed,
        "cpu_s": round(used, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "note": f"{at[:10]}, {runs:,} experiments a method, seed {seed}, {used:.0f} s of CPU",
        "methods": found,
        "bandits": bandits,
    }


def merged(document, path):
    """A part, laid into what is saved of as many experiments with the same seed."""
    saved = json.loads(path.read_text()) if path.exists() else document
    if (saved["experiments"], saved["seed"]) != (document["experiments"], document["seed"]):
        raise SystemExit("what is saved has other experiments or another seed: run all of it")
    rows = {(m["method"], m["setting"]): m for part in (saved, document) for m in part["methods"]}
    found = saved | {"methods": list(rows.values()), "at": document["at"]}
    found["bandits"] = saved["bandits"] | document["bandits"]
    return found


def save(document, *, part=False):
    """Results, picture, and the table in the page."""
    RESULTS.mkdir(exist_ok=True)
    if part:
        document = merged(document, RESULTS / "statistics.json")
    (RESULTS / "statistics.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / "statistics.svg").write_text(report.svg(document))
    text = PAGE.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    told = f"\n`make sims`, {document['note']}.\n\n{report.table(document)}\n"
    PAGE.write_text(text[:start] + told + text[end:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--only", default="", help=", ".join([*SUITES, "bandits"]))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    only = {name.strip() for name in asked.only.split(",") if name.strip()}
    if unknown := only - {*SUITES, "bandits"}:
        parser.error(
            f"--only: {', '.join(sorted(unknown))}: there are {', '.join(SUITES)}, bandits"
        )
    document = simulated(asked.experiments, asked.seed, only)
    print(report.table(document))
    if asked.save:
        save(document, part=bool(only))
    broken = [m["method"] for m in document["methods"] if not m["kept"] and not m["naive"]]
    if broken:
        print(f"more than declared: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read when numpy is loaded
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one_thread)
    sys.exit(main())
