"""How far the search is behind an exhaustive one: everything is made, the best measured together.

    python benchmarks/optimize/exhaustive.py [mlp cnn minilm] [--budget 480] [--search 240] [--save]

First the search, unattended, from nothing; what it found is told as `search.py` tells it. Then
every sequence of up to three passes that formats allow, settings with few values and options of
the engines one at a time for the fastest of them (`everything.py`), raced for a moment each, held
against the same gates. The fastest that pass are then measured beside the form that the search
kept for that number of rows, in interleaved rounds of CPU time, one thread: once to find the
fastest rival, once more against that one alone, so that the luckiest of several is not taken for
the best. Behind = how much longer a call of the search's form takes than one of the rival.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from everything import Everything
from models import make
from search import BUDGET_S, keep, rows_of, short, told
from search import table as table_of_search

from modelworks.core import codec
from modelworks.core.optimizing.variants import Goal
from modelworks.optimize import timing

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

EVERYTHING_S = {"mlp": 420.0, "cnn": 720.0, "minilm": 1200.0}
RIVALS = 5  # forms that are measured beside the search's
MOST_BEHIND = 0.05


def say(line):
    print(line, flush=True)


def ratio_at(finding, size):
    return next((one.ratio for one in finding.measured.times if one.rows == size), 0.0)


def found_at(run, bench, size):
    """The form that the search leaves for so many rows."""
    best = max(run.kept, key=lambda one: ratio_at(one, size), default=None)
    if best is None or ratio_at(best, size) < 1.0:
        return bench.workshop.source
    return bench.make(best.recipe, time.monotonic() + 60.0, say)


def beside(base, rivals, bench, size, seconds):
    """The rival that is fastest beside `base`: its form, and how its times compare."""
    goal = replace(bench.goal, batches=(size,))
    rows = bench.rows.evaluation
    found = timing.timed(base, rivals, rows, goal, bench.work, seconds=seconds)
    told = [
        (measured.times[0], form, measured.noise)
        for form, measured in zip(rivals, found.forms, strict=True)
        if not isinstance(measured, str)
    ]
    return max(told, key=lambda one: one[0].ratio)


def behind(everything, base, size, seconds, until):
    """What the best of everything gains over the search's form at so many rows."""
    rivals = everything.nearest(size, base.recipe.id, RIVALS, until)
    told = {"found": base.recipe.title, "rivals": len(rivals)}
    if not rivals:
        return told | {
            "best": base.recipe.title,
            "ratio": 1.0,
            "low": 1.0,
            "high": 1.0,
            "behind": 0,
        }
    _, best, _ = beside(base, rivals, everything.bench, size, seconds)
    found, _, noise = beside(base, [best], everything.bench, size, seconds)
    return told | {
        "best": best.recipe.title if found.ratio > 1 else base.recipe.title,
        "rival": best.recipe.title,
        "ratio": round(found.ratio, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "noise": round(noise, 4),
        "behind": round(max(0.0, found.ratio - 1), 4),
    }


def compared(key, cache, search_s, everything_s, final_s, passes=()):
    """One network's part of the document, and that of its search."""
    from optimize_stand import search_over, stand

    goal = Goal(budget_s=search_s)
    made = make(key, cache)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = rows_of(made, folder)
        with stand(made.form, made.signature, asked, goal, folder, passes) as (bench, ground):
            began = time.monotonic()
            run = search_over(bench, ground, folder, search_s, say).run()
            say(run.conclusion)
            ended = time.monotonic()
            everything = Everything(bench, ground, say)
            everything.raced([bench.workshop.source])
            everything.tried([one.recipe for one in run.kept], "what the search kept", ended + 60)
            everything.go_through(ended + everything_s)
            last = time.monotonic() + 300.0
            rows = {
                size: behind(everything, found_at(run, bench, size), size, final_s, last)
                for size in goal.batches
            }
            return told(key, run, ended - began), {
                "search_s": round(ended - began, 1),
                "everything_s": round(time.monotonic() - ended, 1),
                "searched": len(run.findings),
                "forms": dict(everything.counts),
                "rows": rows,
                "hardware": codec.encode(bench.workshop.stock.hardware),
            }


def table(found):
    lines = [
        "| model | rows | the search found | best of everything | behind | forms measured |",
        "|---|--:|---|---|--:|--:|",
    ]
    for key, one in found.items():
        for size, row in one["rows"].items():
            lines.append(
                f"| {key} | {size} | {row['found']} | {row['best']} | {row['behind']:.1%} "
                f"({row['low'] - 1:+.1%} to {row['high'] - 1:+.1%}) | {one['forms']['measured']} |"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["mlp", "cnn", "minilm"])
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/modelworks-benchmarks")
    parser.add_argument("--search", type=float, help="seconds of the search; else 240, 600, 900")
    parser.add_argument("--budget", type=float, help="seconds for everything; else 420, 720, 1200")
    parser.add_argument("--final", type=float, default=15.0, help="seconds of a last measurement")
    parser.add_argument("--passes", default="", help="only these, by commas; not saved")
    parser.add_argument("--save", action="store_true", help="write the files in results/")
    given = parser.parse_args()
    searched, found = {}, {}
    for key in given.models:
        seconds = given.search or BUDGET_S[key], given.budget or EVERYTHING_S[key]
        passes = tuple(name for name in given.passes.split(",") if name)
        searched[key], found[key] = compared(key, given.cache, *seconds, given.final, passes)
        say(json.dumps(found[key], indent=1))
    say(table_of_search(searched))
    say(table(found))
    if given.save and not given.passes:
        keep("optimize", searched)
        keep("exhaustive", found)
    far = [
        f"{key} at {size} rows: {row['behind']:.1%}"
        for key, one in found.items()
        for size, row in one["rows"].items()
        if row["behind"] > MOST_BEHIND
    ]
    for words, which in (("more than 5 % behind", far), ("below the bar", short(searched))):
        if which:
            say(f"{words}: {'; '.join(which)}")
    if far or short(searched):
        sys.exit(1)


if __name__ == "__main__":
    main()
