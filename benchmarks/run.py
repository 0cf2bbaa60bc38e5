"""Run our own benchmarks: `make bench`, or `make bench BENCH=--quick`; 1 = a bar is missed.

    python benchmarks/run.py [--quick] [--smoke] [--only S,M,T] [--json] [--save]

`--smoke` is one short round of each that judges nothing: it fails only where something does not
work.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import bars
import data_plane
import table
import targets

from modelworks.measure.compare import Verdict
from modelworks.measure.noise import Watch, calibrate, unsteady

RESULTS = Path(__file__).resolve().parent / "results"
SECTIONS = ("S", "M", "T")


def described(calibration, before):
    """The machine, and how calm it was before."""
    why = unsteady(calibration)
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    load = os.getloadavg()[0]
    calm = f"not calm: {why}" if why else "calm at the start"
    return {
        "text": f"{os.cpu_count()} cores, {model}, {platform.platform()}, Python "
        f"{platform.python_version()}; {targets.request_path()}",
        "calm": f"{calm}; load average {before:.1f} before, {load:.1f} after",
        "calibration": asdict(calibration),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="few short rounds")
    parser.add_argument("--smoke", action="store_true", help="one round of each, no verdicts")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by comma")
    parser.add_argument("--json", action="store_true", help="print the document")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    arguments = parser.parse_args()
    targets.tools()
    sections = arguments.only.split(",")
    if unknown := set(sections) - set(SECTIONS):
        raise SystemExit(f"{', '.join(sorted(unknown))}: known are {', '.join(SECTIONS)}")
    plan = data_plane.QUICK if arguments.quick else data_plane.FULL
    plan = data_plane.SMOKE if arguments.smoke else plan
    calibration, before, watch = calibrate(), os.getloadavg()[0], Watch()
    document = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    document |= data_plane.measure(plan, sections, lambda words: print(words, file=sys.stderr))
    document["machine"] = described(calibration, before) | {"during": asdict(watch.end())}
    judged = bars.verdicts(document)
    document["verdicts"] = {one.sentence: str(one.verdict) for one in judged}
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "data_plane.json").write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1) if arguments.json else table.table(document))
    if arguments.smoke:
        return 0
    print(f"\n{table.judged(document)}", file=sys.stderr if arguments.json else sys.stdout)
    return 1 if any(one.verdict is Verdict.MISSED for one in judged) else 0


if __name__ == "__main__":
    sys.exit(main())
