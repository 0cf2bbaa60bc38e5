"""Our server beside the servers that pip can bring, on three models, in interleaved rounds.

    python benchmarks/peers/run.py                 # everything; says how long before it begins
    python benchmarks/peers/run.py --only mosec,FastAPI --models S --rounds 2 --seconds 1
    python benchmarks/peers/run.py --save          # results/peers.{json,svg} and docs/peers.md
    python benchmarks/peers/run.py --save --models M,T   # a part: what is saved of S stays

Each peer gets a virtual environment of its own in the cache folder, with the exact versions of
its `requirements.lock`; server on core 0, load on core 1; answers are compared with onnxruntime's
before anything is timed. A peer that cannot be installed, started or asked is listed with the
reason.
"""

import argparse
import importlib
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.peers import asking, environments, models, ratios, report, rounds, saved  # noqa: E402
from benchmarks.peers.environments import MissingError  # noqa: E402

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
    return "\n".join(f"{peer.name:34} {peer.setting}" for peer in peers())


def parts(arguments):
    """Measure what was asked, model by model: key and section as soon as each is there.

    A model's part that fails gives the error in place of the section; the next one goes on.
    """
    for key in arguments.models:
        chosen = [peer for peer in peers(arguments.only) if key in peer.models]
        plan = plan_for(key, arguments)
        rounds.say(
            f"{key}: {len(chosen)} servers, {plan.rounds} rounds of {plan.seconds} s, about "
            f"{plan.minutes(chosen):.0f} minutes once installed; load {os.getloadavg()[0]:.1f}"
        )
        began = time.monotonic()
        try:
            section = rounds.run(models.make(key, environments.cache()), chosen, plan)
        except Exception as error:  # noqa: BLE001 - one part's failure is not the others'
            yield key, error
            continue
        if ratios.OURS not in section["servers"]:
            yield key, MissingError(f"our own server: {section['failed'].get(ratios.OURS)}")
            continue
        section["minutes"] = round((time.monotonic() - began) / 60, 1)
        section["command"] = shlex.join(["benchmarks/peers/run.py", *sys.argv[1:]])
        yield key, section


def measure(arguments):
    """Run, print and, where asked, save part by part; 1 where a part failed."""
    document, failed = {"models": {}}, []
    for key, section in parts(arguments):
        if isinstance(section, Exception):
            rounds.say(f"{key} failed, what is saved of it stays: {section!r}")
            failed.append(key)
            continue
        document = saved.merged(document, key, section)
        if arguments.save:
            saved.keep(arguments.into, key, section)
            rounds.say(f"{key}: written to {arguments.into}")
    print(json.dumps(document, indent=1) if arguments.json else report.markdown(document))
    if failed:
        rounds.say(f"once more: run.py --models {','.join(failed)}")
    return 1 if failed else 0


def refuse_losses(arguments):
    """A section is of one run: one of fewer servers would lose the others' figures.

    Without `--only` it has all there are, and what is saved of others is of another time.
    """
    if not arguments.only:
        return
    document = saved.load(arguments.into)
    for key in arguments.models:
        names = [peer.name for peer in peers(arguments.only) if key in peer.models]
        if lost := saved.dropped(document, key, names):
            raise SystemExit(
                f"the saved section {key} has servers that this run leaves out "
                f"({', '.join(lost)}): leave --only out, or save it --into another folder"
            )


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
    parser.add_argument(
        "--save", action="store_true", help="write results, plot and page, model by model"
    )
    parser.add_argument(
        "--into", type=Path, default=saved.RESULTS, help="folder that --save and --publish write"
    )
    parser.add_argument("--publish", action="store_true", help="page and plot from the saved run")
    arguments = parser.parse_args()
    arguments.models = arguments.models.split(",")
    arguments.into = arguments.into.resolve()
    if unknown := set(arguments.models) - set(models.TITLES):
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


def ended(*_):
    """End every server first; a second signal does not cut that short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


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
        saved.publish(arguments.into, saved.load(arguments.into))
        return 0
    if lacking := asking.tools():
        raise SystemExit(f"not here: {', '.join(lacking)}; as root: apt-get install wrk util-linux")
    signal.signal(signal.SIGTERM, ended)
    if arguments.save:
        refuse_losses(arguments)
    return measure(arguments)


if __name__ == "__main__":
    sys.exit(main())
