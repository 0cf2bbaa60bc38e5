"""Our server beside the servers that pip can bring, on three models, in interleaved rounds.

    python benchmarks/peers/run.py                 # everything; says how long before it begins
    python benchmarks/peers/run.py --only mosec,FastAPI --models S --rounds 2 --seconds 1
    python benchmarks/peers/run.py --save          # results/peers.{json,svg} and docs/peers.md

Each peer gets a virtual environment of its own in the cache folder, with the exact versions of
its `requirements.lock`; server on core 0, load on core 1; answers are compared with onnxruntime's
before anything is timed. A peer that cannot be installed, started or asked is listed with the
reason.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.peers import asking, environments, models, plot, report, rounds  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "peers.md"
ADAPTERS = (
    "modelworks",
    "mosec",
    "fastapi",
    "pytriton",
    "kserve",
    "mlserver",
    "litserve",
    "bentoml",
    "torchserve",
    "mlflow",
    "ray",
)
PLANS = {
    "S": rounds.Plan((1, 8, 64), 5, 1),
    "M": rounds.Plan((8,), 5, 2, best_wire=True),
    "T": rounds.Plan((8,), 5, 2, best_wire=True),
}


def peers(only=""):
    """Every adapter's servers; with `only`, those named by server or adapter, and ours."""
    wanted = {name.strip().lower() for name in only.split(",") if name.strip()}
    found = []
    for adapter in ADAPTERS:
        module = importlib.import_module(f"benchmarks.peers.servers.{adapter}.adapter")
        found += [
            peer
            for peer in module.PEERS
            if not wanted or peer.folder is None or wanted & {adapter, peer.name.lower()}
        ]
    known = {*ADAPTERS, *(peer.name.lower() for peer in found)}
    if unknown := wanted - known:
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}; --list names them")
    return found


def plan_for(key, arguments):
    """The plan of a model, changed by what was asked."""
    plan = PLANS[key]
    connections = plan.connections
    if arguments.connections:
        connections = tuple(int(each) for each in arguments.connections.split(","))
    return rounds.Plan(
        connections,
        arguments.rounds or plan.rounds,
        arguments.seconds or plan.seconds,
        best_wire=plan.best_wire and not arguments.all_wires,
    )


def listing():
    """Every peer and its setting."""
    return "\n".join(f"{peer.name:20} {peer.setting}" for peer in peers())


def measure(arguments):
    """Run what was asked; the document."""
    document = {"machine": rounds.machine(), "models": {}}
    for key in arguments.models.split(","):
        chosen = [peer for peer in peers(arguments.only) if key in peer.models]
        plan = plan_for(key, arguments)
        rounds.say(
            f"{key}: {len(chosen)} servers, {plan.rounds} rounds of {plan.seconds} s, about "
            f"{plan.minutes(chosen):.0f} minutes once installed; load {os.getloadavg()[0]:.1f}"
        )
        began = time.monotonic()
        section = rounds.run(models.make(key, environments.cache()), chosen, plan)
        section["minutes"] = round((time.monotonic() - began) / 60, 1)
        document["models"][key] = section
    return document


def save(document, arguments):
    """Write the results; sections of models that were not asked stay as they were."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "peers.json"
    if path.exists():
        document["models"] = {
            **json.loads(path.read_text())["models"],
            **document["models"],
        }
    path.write_text(json.dumps(document, indent=1) + "\n")
    publish(document)
    rounds.say(f"written: {path}, peers.svg beside it, {PAGE} ({arguments.models})")


def publish(document):
    """The plot and the page's table from the document."""
    (RESULTS / "peers.svg").write_text(plot.svg(document))
    if PAGE.exists():
        PAGE.write_text(report.filled(PAGE.read_text(), document))


def parsed():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="names with commas; ours always runs")
    parser.add_argument("--models", default="S,M,T", help="of S, M, T")
    parser.add_argument("--connections", default="", help="such as 1,8,64")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0, help="of one round at least")
    parser.add_argument(
        "--all-wires", action="store_true", help="JSON too where M and T have binary"
    )
    parser.add_argument("--list", action="store_true", help="the peers and their settings")
    parser.add_argument("--install", action="store_true", help="make the environments, no more")
    parser.add_argument("--lock", default="", help="resolve these peers' requirements.in anew")
    parser.add_argument("--json", action="store_true", help="print the document")
    parser.add_argument("--save", action="store_true", help="write the results and the page")
    parser.add_argument("--publish", action="store_true", help="page and plot from the saved run")
    arguments = parser.parse_args()
    if unknown := set(arguments.models.split(",")) - set(models.TITLES):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are S, M and T")
    return arguments


def install(only):
    """Every chosen environment; 1 where one failed."""
    failed = 0
    for folder in sorted({peer.service for peer in peers(only) if peer.folder}):
        try:
            found = environments.environment(folder)
        except environments.MissingError as error:
            failed, words = 1, str(error)
        else:
            words = f"{found.megabytes:.0f} MB, {found.packages} packages"
        print(f"{folder.name:12} {words}")
    return failed


def main():
    arguments = parsed()
    if arguments.list:
        print(listing())
        return 0
    if arguments.lock:
        for name in arguments.lock.split(","):
            environments.write_lock(Path(__file__).parent / "servers" / name)
        return 0
    if arguments.install:
        return install(arguments.only)
    if arguments.publish:
        publish(json.loads((RESULTS / "peers.json").read_text()))
        return 0
    if lacking := asking.tools():
        raise SystemExit(f"not here: {', '.join(lacking)}; as root: apt-get install wrk util-linux")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every server is ended
    document = measure(arguments)
    print(json.dumps(document, indent=1) if arguments.json else report.markdown(document))
    if arguments.save:
        save(document, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
