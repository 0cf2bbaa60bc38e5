"""Whole roll-outs, simulated: how often the controller errs, and how soon it finds what is broken.

    python benchmarks/sims/rollouts.py [--experiments 10000] [--delays 200] [--processes N]
                                       [--seed 0] [--save]

`--save` writes results/rollouts.json and the tables in docs/rollouts.md. Exit status 1: the lower
99 % bound of a measured rate is above the declared one.
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from benchmarks.sims.outcome import lower  # noqa: E402

from modelworks.core.rollouts import (  # noqa: E402
    Direction,
    Kind,
    Metric,
    Phase,
    Plan,
    Step,
    Strategy,
)
from modelworks.testing.rollouts import Fixed, Truth, simulate  # noqa: E402

HEAD = ("promoted", "rolled back", "inconclusive", "wrong (99 % lower bound)", "declared")
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "rollouts.md"
MARGIN = 0.005
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, MARGIN)
RIGHT = Metric("accuracy", Kind.RATE, Direction.HIGHER, 0.02)
SLOW = Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, 0.2, relative=True)
PLAN = Plan(
    "sim",
    "fraud",
    "stable",
    ("candidate",),
    Strategy.CANARY,
    (Step(0.05, 60.0), Step(0.5, 60.0), Step(1.0)),
    ERRORS,
    guardrails=(RIGHT,),
    most_s=3600.0,
)
TIMED = replace(PLAN, guardrails=(RIGHT, SLOW))
SLICED = replace(PLAN, guardrails=(), slices=("a", "b", "c"))
LOOKS = [1, 1, 2, 4, 8, 15, 30, 60, 120, 240, 480, 960]
"""Seconds between looks; on a logarithmic scale this is nearly all the time."""
GOOD = Truth()
SLICES = Truth(slices={"a": 0.005, "b": 0.005, "c": 0.005})
SCENARIOS = {
    "as good as the stable one": (PLAN, GOOD, GOOD, "false_rollback"),
    "errors and answers both worse by exactly the margin": (
        *(PLAN, GOOD),
        Truth(0.005 + MARGIN, 0.88),
        "false_rollback",
    ),
    "errors worse by the margin, answers as good": (
        *(PLAN, GOOD),
        Truth(0.005 + MARGIN),
        "false_promotion",
    ),
    "p99 guarded too, and it, errors and answers worse by the margin": (
        *(TIMED, GOOD),
        Truth(0.005 + MARGIN, 0.88, 12.0 * 1.2),
        "false_rollback",
    ),
    "p99 guarded too, and worse by the margin, the rest as good": (
        *(TIMED, GOOD),
        Truth(latency_ms=12.0 * 1.2),
        "false_promotion",
    ),
    "one of three slices worse by the margin": (
        *(SLICED, SLICES),
        Truth(slices={"a": 0.005, "b": 0.005, "c": 0.005 + MARGIN}),
        "false_promotion",
    ),
}
BROKEN = (0.2, 0.05, 0.02, 0.005)
RATES = (1, 10, 100, 1000)
SHARE = 0.1
PARTS = 40
FIXED = (
    Fixed("Flagger's way: every minute, 99 % have to succeed, the 5th failed check", 60.0, 0.01, 5),
    Fixed(
        "Argo's way: every 5 minutes, 95 % have to succeed, the 4th failed check", 300.0, 0.05, 4
    ),
    Fixed(
        "a nervous threshold: every 10 s, 99 % have to succeed, the 1st failed check", 10.0, 0.01, 1
    ),
)
HOUR = 3600.0


def some(name, runs, seed, rate=100.0):
    """How roll-outs of one scenario end, those of some numbers."""
    plan, stable, candidate, _ = SCENARIOS[name]
    number = list(SCENARIOS).index(name)
    ends = Counter()
    for run in runs:
        rng = np.random.default_rng([seed, number, run])
        truths = {"stable": stable, "candidate": candidate}
        ends[simulate(plan, truths, rate, LOOKS, rng).phase] += 1
    return ends


def errs(name, experiments, seed, pool):
    """One scenario: what became of so many roll-outs, beside what was declared."""
    plan, *_, declared = SCENARIOS[name]
    parts = [(name, range(first, experiments, PARTS), seed) for first in range(PARTS)]
    ends = sum(pool.starmap(some, parts, 1), Counter())
    wrong = Phase.ROLLED_BACK if declared == "false_rollback" else Phase.PROMOTED
    low = lower(ends[wrong], experiments)
    return {
        "scenario": name,
        "declared": declared,
        "risk": getattr(plan, declared),
        "experiments": experiments,
        "promoted": ends[Phase.PROMOTED] / experiments,
        "rolled_back": ends[Phase.ROLLED_BACK] / experiments,
        "inconclusive": ends[Phase.INCONCLUSIVE] / experiments,
        "wrong": ends[wrong] / experiments,
        "low": low,
        "kept": low <= getattr(plan, declared),
    }


def ours(error_rate, rate, runs, seed):
    """(seconds, requests of the candidate) until the rules roll back; infinite = never in an hour.

    One step of a tenth, an hour long, error rate alone, as the others have it; a look a second, or
    five times a second where a second has more requests than a rollback should need.
    """
    plan = replace(
        PLAN, steps=(Step(SHARE, HOUR), Step(1.0)), guardrails=(), most_s=HOUR, sample=10**9
    )
    looks = [0.2] * 250 + [1.0] * 50 + [10.0] * 50 + [60.0] if rate >= 1000 else None
    looks = looks or [1.0] * 300 + [10.0] * 60 + [60.0]
    for run in range(runs):
        rng = np.random.default_rng([seed, rate, int(error_rate * 1000), run])
        truths = {"stable": GOOD, "candidate": replace(GOOD, error_rate=error_rate)}
        ended = simulate(plan, truths, rate, looks, rng)
        back = ended.phase is Phase.ROLLED_BACK
        yield (ended.seconds if back else math.inf), ended.requests


def delayed(error_rate, rate, runs, seed):
    """Every controller on one candidate at one rate."""
    rng = np.random.default_rng([seed, rate, int(error_rate * 1000)])
    few = min(runs, 60) if error_rate <= 0.02 else runs
    ways = {"these rules": list(ours(error_rate, rate, few, seed))}
    for fixed in FIXED:
        ways[fixed.name] = list(fixed.runs(error_rate, rate * SHARE, HOUR, rng, 4 * runs))
    found = []
    for way, ended in ways.items():
        back = [one for one in ended if math.isfinite(one[0])]
        half = len(back) * 2 > len(ended)
        found.append(
            {
                "error_rate": error_rate,
                "rate": rate,
                "way": way,
                "runs": len(ended),
                "rolled_back": len(back) / len(ended),
                "seconds": float(np.median([one[0] for one in ended])) if half else None,
                "requests": int(np.median([one[1] for one in ended])) if half else None,
            }
        )
    return found


def delays(runs, seed, pool):
    """Every controller on every candidate at every rate."""
    parts = [(error_rate, rate, runs, seed) for error_rate in BROKEN for rate in RATES]
    return [row for rows in pool.starmap(delayed, parts, 1) for row in rows]


def tables(document):
    """Markdown."""
    lines = [
        f"{document['note']}.",
        "",
        f"| The candidate is | experiments | {' | '.join(HEAD)} |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['scenario']} | {row['experiments']:,} | {row['promoted']:.1%} | "
        f"{row['rolled_back']:.2%} | {row['inconclusive']:.1%} | "
        f"{row['wrong']:.2%} ({row['low']:.2%}) | "
        f"{row['risk']:.0%} {row['declared'].replace('_', ' ')} |"
        for row in document["errors"]
    ]
    for error_rate in BROKEN:
        good = error_rate == GOOD.error_rate
        words = f"Rolled back within an hour, of candidates as good ({error_rate:.1%} errors):"
        if not good:
            words = (
                "Requests of the candidate (and time) until the rollback, median; "
                f"{error_rate:.0%} errors where the stable arm has {GOOD.error_rate:.1%}:"
            )
        lines += ["", words, ""]
        lines.append("| | " + " | ".join(f"{rate:,} req/s" for rate in RATES) + " |")
        lines.append("|---" * (len(RATES) + 1) + "|")
        rows = [row for row in document["delays"] if row["error_rate"] == error_rate]
        for way in dict.fromkeys(row["way"] for row in rows):
            cells = [_cell(row, good) for row in rows if row["way"] == way]
            lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row, good):
    if good:
        return f"{row['rolled_back']:.1%}"
    if row["requests"] is None:
        return f"not in an hour ({row['rolled_back']:.0%} of them)"
    seconds = row["seconds"]
    time_ = f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"
    return f"{row['requests']:,} ({time_})"


def save(document):
    """Results, and the tables in the page."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rollouts.json").write_text(json.dumps(document, indent=1) + "\n")
    text = PAGE.read_text()
    begin, end = "<!-- sims: begin -->", "<!-- sims: end -->"
    start, stop = text.index(begin) + len(begin), text.index(end)
    PAGE.write_text(f"{text[:start]}\n{tables(document)}\n{text[stop:]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--delays", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    began, errors = time.monotonic(), []
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        for name, (plan, *_) in SCENARIOS.items():
            few = plan is not PLAN  # each as dear as all the others together
            experiments = max(1, asked.experiments // 10) if few else asked.experiments
            errors.append(errs(name, experiments, asked.seed, pool))
            print(f"{time.monotonic() - began:7.1f} s  {errors[-1]}", file=sys.stderr, flush=True)
        found = delays(asked.delays, asked.seed, pool) if asked.delays else []
        pool.close()
        pool.join()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = spent.ru_utime + spent.ru_stime
    at = datetime.now(UTC).isoformat(timespec="seconds")
    document = {
        "at": at,
        "seed": asked.seed,
        "cpu_s": round(used, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "note": f"`make sims`, {at[:10]}, seed {asked.seed}, {used:.0f} s of CPU",
        "errors": errors,
        "delays": found,
    }
    print(tables(document))
    if asked.save:
        save(document)
    broken = [row["scenario"] for row in errors if not row["kept"]]
    if broken:
        print(f"more than declared: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
