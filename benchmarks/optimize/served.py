"""What of a form's gain is left through the real server: in-process beside HTTP, in the same run.

    python benchmarks/optimize/served.py [mlp cnn minilm] [--rounds 9] [--save]

The source form and one good form of each network (the passes that its row names) are timed in one
process as the search does it, and are then served by `modelworks.apps.server`, each by a process
bound to one core, and asked by one connection with binary bodies from the other core, in turn. The
gain is the ratio of CPU time a request of the whole server process. Of calls of a millisecond and
more nine tenths of the gain have to be left, else the exit status is 1. It wants a calm machine: a
server that waits for its core finds its caches cold. `--save` writes results/optimize-served.json.
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "benchmarks") not in sys.path:
    sys.path.append(str(ROOT / "benchmarks"))

import numpy as np  # noqa: E402
from models import KEYS, make  # noqa: E402

from modelworks.core import digest  # noqa: E402
from modelworks.core.optimizing.passes import PassJob, settled  # noqa: E402
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep  # noqa: E402
from modelworks.core.optimizing.variants import Goal  # noqa: E402
from modelworks.core.served import ServedModel  # noqa: E402
from modelworks.measure.compare import AGAIN, Side, interleave, ratio_of  # noqa: E402
from modelworks.measure.load import Load, run  # noqa: E402
from modelworks.measure.message import Body, request_bytes  # noqa: E402
from modelworks.measure.processes import ServerCpu  # noqa: E402
from modelworks.measure.target import parse_target  # noqa: E402
from modelworks.optimize.forms import Form, Rows  # noqa: E402
from modelworks.optimize.timing import timed  # noqa: E402
from modelworks.plugins.load import load  # noqa: E402
from modelworks.protocol.oip.caller import build_request  # noqa: E402
from modelworks.testing.servers import Server, serve_list  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "optimize-served.json"
CACHE = Path.home() / ".cache" / "modelworks-benchmarks"
GOOD = {
    "mlp": ("litert", "litert_int8_static"),
    "cnn": ("int8_static",),
    "minilm": ("nncf_int8",),
}
SIZES = (1, 16)
SERVER_CORE, LOAD_CORE = 0, 1
BODIES, SECONDS = 8, 1.0
BAR, LARGE_US = 0.9, 1000  # of calls that long: a request itself costs tens of microseconds


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


def served(form, path):
    """A list with one form as the model `m`."""
    model = ServedModel(
        name="m",
        version="1.0.0",
        path=str(form.folder),
        digest=digest.of_entries(digest.tree(form.folder)),
        format=form.format,
        engine=form.recipe.run.engine,
        signature=form.signature,
    )
    return serve_list(path, [model])


def requests(url, made, rows):
    """Whole requests of so many rows, and where they go."""
    where = parse_target(f"{url}/v2/models/m/infer")
    inputs = dict(np.load(made.evaluation))
    inputs = {spec.name: inputs[spec.name] for spec in made.signature.inputs}
    found = []
    for number in range(BODIES):
        part = {name: array[number * rows : (number + 1) * rows] for name, array in inputs.items()}
        data, kind, extra = build_request(part, binary=True)
        headers = tuple((name.decode(), value.decode()) for name, value in extra)
        found.append(request_bytes(where, Body(data, kind.decode(), headers)))
    return where, found


def asked(plan, pid):
    """CPU microseconds a request, and requests a second, of one round."""
    cpu = ServerCpu([pid])
    found = run(plan)
    if found.failed:
        raise SystemExit(f"{found.failed} requests failed")
    return cpu.seconds() / max(1, found.every) * 1e6, found.throughput


def over_http(made, forms, rows, rounds, folder):
    """The ratio of CPU time a request, its noise, and the ratio of requests a second."""
    with ExitStack() as stack:
        sides = []
        for number, form in enumerate(forms):
            path = served(form, folder / f"served-{rows}-{number}.json")
            prefix = ("taskset", "-c", str(SERVER_CORE))
            server = stack.enter_context(Server(["--served", str(path), "--threads", "1"], prefix))
            where, bodies = requests(server.url, made, rows)
            plan = Load(where, bodies, connections=1, seconds=SECONDS, warm_s=0.3, pin=LOAD_CORE)
            sides.append(Side(str(number), partial(asked, plan, server.pid)))
        found = interleave(sides, rounds)
    source, form, again = (np.array(found[name]) for name in ("0", "1", AGAIN))
    gain = ratio_of(source[:, 0].tolist(), form[:, 0].tolist())
    noise = ratio_of(again[:, 0].tolist(), source[:, 0].tolist()).noise
    rate = ratio_of(form[:, 1].tolist(), source[:, 1].tolist())
    return gain, noise, rate, float(np.median(source[:, 0])), float(np.median(form[:, 0]))


def measured(key, rounds, folder):
    """The rows of the table for one network."""
    made = make(key, CACHE)
    source = Form(Recipe(), made.form, "onnx", made.signature)
    form = formed(made, GOOD[key], folder / key)
    count = len(next(iter(dict(np.load(made.evaluation)).values())))
    rows = Rows(made.evaluation, count)
    inside = timed(source, [form], rows, Goal(batches=SIZES), folder, seconds=12)
    (own,) = inside.forms
    if isinstance(own, str):
        raise SystemExit(f"{key}: {own}")
    found = []
    for size, alone, before_us in zip(SIZES, own.times, inside.source.times, strict=True):
        gain, noise, rate, before, after = over_http(made, (source, form), size, rounds, folder)
        found.append(
            {
                "model": key,
                "form": form.recipe.title,
                "rows": size,
                "inside": round(alone.ratio, 3),
                "call_us": round(before_us.cpu_us[1], 1),
                "http": round(gain.ratio, 3),
                "low": round(gain.low, 3),
                "high": round(gain.high, 3),
                "share": round(gain.ratio / alone.ratio, 3),
                "noise": round(max(noise, own.noise), 3),
                "requests": round(rate.ratio, 3),
                "cpu_us": [round(before, 1), round(after, 1)],
            }
        )
        print(table(found[-1:]).splitlines()[-1], file=sys.stderr)
    return found


def table(rows):
    """Markdown."""
    lines = [
        "| network | form | rows | in-process | over HTTP | share | CPU us a request | noise |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['model']} | {row['form']} | {row['rows']} | {row['inside']:.2f} | "
        f"{row['http']:.2f} ({row['low']:.2f} to {row['high']:.2f}) | {row['share']:.2f} | "
        f"{row['cpu_us'][0]:.0f} to {row['cpu_us'][1]:.0f} | {row['noise']:.0%} |"
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
        rows = [row for key in given.keys for row in measured(key, given.rounds, Path(folder))]
    print(table(rows))
    if given.save:
        RESULTS.write_text(json.dumps({"rounds": given.rounds, "rows": rows}, indent=1) + "\n")
    missed = [row for row in rows if row["share"] < BAR and row["call_us"] >= LARGE_US]
    for row in missed:
        print(f"{row['model']} at {row['rows']}: {row['share']:.2f} of the gain", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
