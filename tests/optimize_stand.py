"""The product's own bench over one artifact in ONNX: passes in the sandbox, rows, clocks, gates."""

import time
from contextlib import contextmanager

from modelworks.core import digest
from modelworks.core.ids import now_ns
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.optimize import data
from modelworks.optimize.applying import Stock, Workshop
from modelworks.optimize.facts import Have, known_passes
from modelworks.optimize.forms import Form
from modelworks.optimize.hardware import this_machine
from modelworks.optimize.memory import Cache
from modelworks.optimize.often import often
from modelworks.optimize.planning import Ground
from modelworks.optimize.run import Run, RunFile
from modelworks.optimize.search import Journal, Search
from modelworks.optimize.sketch import sketch
from modelworks.optimize.trying import Pace
from modelworks.optimize.workbench import Workbench


@contextmanager
def stand(artifact, signature, asked, goal, folder, passes=()):
    """A bench and the ground of a plan, with nothing known of an earlier run.

    `asked` names files of rows, `folder` is empty, `passes` are the ones that may be used (none =
    all that are installed).
    """
    rooms = {name: folder / name for name in ("rows", "facts", "bench")}
    for room in rooms.values():
        room.mkdir(parents=True)
    rows = data.prepared(signature, asked, artifact, rooms["rows"])
    known = known_passes(passes, folder / "facts.json", rooms["facts"])
    hardware, outline = this_machine(), sketch(artifact, "onnx")
    source = Form(Recipe(run=Execution("onnxruntime")), artifact, "onnx", signature)
    stock = Stock(
        signature,
        digest.of_entries(digest.tree(artifact)),
        hardware,
        calibration=rows.calibration,
        threads=max(goal.threads, min(2, hardware.cores)),
    )
    have = Have(
        rows=rows.calibration is not None,
        labels=rows.calibration is not None and rows.calibration.labels is not None,
        hardware=hardware,
        objective=goal.objective,
        kind=outline.kind,
    )
    sizes = None if rows.calibration is None else often(signature.inputs, rows.calibration.inputs)
    with Cache(folder / "cache") as cache:
        shop = Workshop(cache, known.facts, source, stock)
        bench = Workbench(shop, signature, goal, rows, rooms["bench"])
        yield bench, Ground("onnx", outline, goal, known, have, sizes)


def search_over(bench, ground, folder, seconds, say=lambda _line: None):
    """A search that may take so many seconds; its journal lies in `folder`."""
    stock = bench.workshop.stock
    run = Run("stand", "network", stock.digest, ground.goal, stock.hardware, bench.rows.facts)
    path = folder / "run.jsonl"
    file = RunFile(path)
    file.begin(run)
    pace = Pace.of(seconds, time.monotonic())
    return Search(bench, ground, Journal(run, file, path), pace, say, now_ns)
