"""What of a form's gain is left through the real server under load: in-process beside HTTP.

    python benchmarks/optimize/served.py [mlp cnn minilm] [--rounds 9] [--save]

The source form, one good form of each network (the passes that its row names) and a form that
computes next to nothing are each served by `modelworks.apps.server`, bound to one core, and asked
in turn from the other core, with binary bodies, by one caller and by many. Rows of many callers
share engine calls, so the gain in-process is that of calls of as many rows as the server's had,
timed afterwards in one process as the search does it. The gain over HTTP is the ratio of CPU time
a request of the whole server process.

CPU time, because it is what a core's requests a second come from, and others on the machine do not
change it much; `requests` in the saved file are those a second that were seen.

The form that does nothing shows what a request costs beside the model. No server can hand on more
than (transport + source) / (transport + form): where that is nine tenths of the gain in-process or
more, so much has to be left; elsewhere nine tenths of what can be had. Else the exit status is 1.
`--save` puts these networks' rows into results/optimize-served.json.
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "benchmarks") not in sys.path:
    sys.path.append(str(ROOT / "benchmarks"))

import numpy as np  # noqa: E402
from models import KEYS, make  # noqa: E402
from under_load import nothing, side, started  # noqa: E402

from modelworks.core.compiled import compiled  # noqa: E402
from modelworks.core.optimizing.passes import PassJob, settled  # noqa: E402
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep  # noqa: E402
from modelworks.core.optimizing.variants import Goal  # noqa: E402
from modelworks.measure.compare import AGAIN, Verdict, interleave, judge, ratio_of  # noqa: E402
from modelworks.optimize.forms import Form, Rows  # noqa: E402
from modelworks.optimize.timing import timed  # noqa: E402
from modelworks.plugins.load import load  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "optimize-served.json"
CACHE = Path.home() / ".cache" / "modelworks-benchmarks"
GOOD = {
    "mlp": ("litert", "litert_int8_static"),
    "cnn": ("int8_static",),
    "minilm": ("nncf_int8",),
}
CELLS = {  # rows a request, callers
    "mlp": ((1, 1), (1, 64), (16, 1), (16, 8), (64, 4)),
    "cnn": ((1, 1), (1, 32), (16, 4)),
    "minilm": ((1, 1), (1, 32), (16, 4)),
}
QUICK = frozenset({"mlp"})  # our own generator would be the limit
SIZES = (1, 2, 4, 8, 16, 32, 48, 64)  # rows of a call that are timed, the nearest is taken
BAR = 0.9
NAMES = ("source", "form", "nothing")
HEAD = ("network, form", "rows, callers", "rows a call", "in-process", "over HTTP", "share")
HEAD += ("transport", "the most that can be had", "share of it", "noise", "nine tenths")


def formed(made, names, folder):
    """The form of a few passes."""
    source, kind, engine = made.form, "onnx", ""
    for name in names:
        tool = load("passes", name)()
        into = folder / name
        into.mkdir(parents=True)
        settings = settled(tool.facts, {})
        given = PassJob(source, kind, into, made.signature, settings, made.calibration)
        if why := tool.fits(given):
            raise SystemExit(f"{name}: {why}")
        tool.apply(given)
        source, kind, engine = into, tool.facts.produces, tool.facts.engine
    recipe = Recipe(tuple(RecipeStep(name) for name in names), Execution(engine))
    return Form(recipe, source, kind, made.signature)


def over_http(made, forms, rounds, folder):
    """By rows and callers: what each of the three servers did in each round."""
    found = {}
    with ExitStack() as stack:
        servers = [
            started(stack, form, folder / f"{made.key}-{name}.json")
            for name, form in zip(NAMES, forms, strict=True)
        ]
        for rows, callers in CELLS[made.key]:
            sides = [
                side(name, server, made, rows, callers, quick=made.key in QUICK)
                for name, server in zip(NAMES, servers, strict=True)
            ]
            for one in sides:
                one.run()  # the first of a kind warms caches and learns what calls cost
            found[rows, callers] = interleave(sides, rounds)
            print(f"{made.key}: {rows} rows, {callers} callers", file=sys.stderr)
    return found


def inside(made, forms, sizes, folder):
    """By name and rows of a call: CPU microseconds; and how far the source is from itself."""
    rows = Rows(made.evaluation, len(next(iter(dict(np.load(made.evaluation)).values()))))
    source, *others = forms
    seconds = (4 if made.key in QUICK else 12) * len(sizes)
    found = timed(source, others, rows, Goal(batches=sizes), folder, seconds=seconds)
    taken = {}
    for name, one in zip(NAMES, (found.source, *found.forms), strict=True):
        if isinstance(one, str):
            raise SystemExit(f"{made.key}, {name}: {one}")
        for base, own in zip(found.source.times, one.times, strict=True):
            ratio = own.ratio if name != "source" else 1.0
            taken[name, own.rows] = base.cpu_us[1] / ratio
    return taken, found.source.noise


def nearest(rows):
    return min(SIZES, key=lambda size: abs(np.log(size / max(1.0, rows))))


def measured(key, rounds, folder):
    """The rows of the table for one network."""
    made = make(key, CACHE)
    source = Form(Recipe(), made.form, "onnx", made.signature)
    form = formed(made, GOOD[key], folder / key)
    forms = (source, form, nothing(folder / f"{key}-nothing", made.signature))
    asked = over_http(made, forms, rounds, folder)
    called = {
        (cell, name): nearest(float(np.median([one.rows for one in rounds_of[name]])))
        for cell, rounds_of in asked.items()
        for name in NAMES
    }
    taken, noise = inside(made, forms, tuple(sorted(set(called.values()))), folder)
    return [
        _row(form, cell, found, {name: called[cell, name] for name in NAMES}, taken, noise)
        | {"model": key}
        for cell, found in asked.items()
    ]


def _row(form, cell, found, called, taken, noise):
    rows, callers = cell
    every = {name: [one.cpu_us for one in found[name]] for name in (*NAMES, AGAIN)}
    gain = ratio_of(every["source"], every["form"])
    rates = [[one.rate for one in found[name]] for name in ("form", "source")]
    own = {name: taken[name, size] * rows / size for name, size in called.items()}
    medians = {name: float(np.median(values)) for name, values in every.items()}
    transport = max(0.0, medians["nothing"] - own["nothing"])
    alone = own["source"] / own["form"]
    most = (transport + own["source"]) / (transport + own["form"])
    noise = max(noise, ratio_of(every[AGAIN], every["source"]).noise)
    whole = most >= BAR * alone
    verdict = judge(gain, BAR * (alone if whole else most), noise=noise).split(":")[0]
    return {
        "form": form.recipe.title,
        "rows": rows,
        "callers": callers,
        "rows_a_call": [called["source"], called["form"]],
        "inside_us": [round(own["source"], 1), round(own["form"], 1)],
        "http_us": [round(medians["source"], 1), round(medians["form"], 1)],
        "transport_us": round(transport, 1),
        "inside": round(alone, 3),
        "http": round(gain.ratio, 3),
        "low": round(gain.low, 3),
        "high": round(gain.high, 3),
        "share": round(gain.ratio / alone, 3),
        "most": round(most, 3),
        "share_of_most": round(gain.ratio / most, 3),
        "requests": round(ratio_of(*rates).ratio, 3),
        "noise": round(noise, 3),
        "verdict": f"{verdict} of {'the gain' if whole else 'what can be had'}",
    }


def table(rows):
    """Markdown."""
    lines = [
        f"| {' | '.join(HEAD)} |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row['model']}, {row['form']} | {row['rows']}, {row['callers']} | "
        f"{row['rows_a_call'][0]}, {row['rows_a_call'][1]} | "
        f"{row['inside']:.2f} ({row['inside_us'][0]:.0f} / {row['inside_us'][1]:.0f} µs) | "
        f"{row['http']:.2f} ({row['low']:.2f} to {row['high']:.2f}) | {row['share']:.2f} | "
        f"{row['transport_us']:.0f} µs | {row['most']:.2f} | {row['share_of_most']:.2f} | "
        f"{row['noise']:.0%} | {row['verdict']} |"
        for row in rows
    ]
    return "\n".join(lines)


def main():
    """Measure, print, and say whether the bar is met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("keys", nargs="*", default=list(KEYS), metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are wanted: one for the servers, one for the load")
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for key in given.keys:
            rows += (found := measured(key, given.rounds, Path(folder)))
            print(table(found), file=sys.stderr)
    print(table(rows))
    how = "compiled" if compiled() else "python"
    print(f"request path: {how}; {given.rounds} rounds", file=sys.stderr)
    if given.save:
        kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
        kept = [row for row in kept if row["model"] not in given.keys]
        rows = [row | {"rounds": given.rounds, "request_path": how} for row in rows]
        RESULTS.write_text(json.dumps({"rows": kept + rows}, indent=1) + "\n")
    return int(any(row["verdict"].startswith(Verdict.MISSED) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
