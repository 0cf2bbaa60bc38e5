"""What recording costs the server: CPU a request beside one that records nothing, and the p99.

Two servers of one model on one core, asked in turn in short rounds; the loggers run on the other
core, with the load. CPU is that of the server's process alone. The bars: 1.5 us a request when
every request is recorded, and nothing of the p99 at 5,000 requests a second.

python benchmarks/recording.py [--quick] [--json] [--save]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from modelworks.core.compiled import compiled
from modelworks.measure.compare import AGAIN, Side, interleave, ratio_of
from modelworks.measure.load import Load, run
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.processes import cpu_ns, tree
from modelworks.measure.target import parse_target
from modelworks.measure.wrk import run_wrk
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server

RESULTS = Path(__file__).resolve().parent / "results"
SERVER_CORE, LOAD_CORE = 0, 1
COST_BAR_US = 1.5
RATE = 5000.0
PLAIN, RECORDING = "plain", "recording"
WIDTH = 30


@dataclass(frozen=True, slots=True)
class Measured:
    """One server in one round.

    Attributes:
        cpu_us: of its process, a request.
        p50_us: latency.
        p99_us: latency.
        rate: answers a second.
        failed: requests without a good answer.
    """

    cpu_us: float
    p50_us: float
    p99_us: float
    rate: float
    failed: int


def body() -> bytes:
    """Thirty floats as JSON."""
    data = [round(value / 7, 4) for value in range(WIDTH)]
    entry = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [entry]}).encode()


def asked(server: Server, connections: int, seconds: float, rate: float | None) -> Measured:
    """One round: a closed loop by wrk, or an open one."""
    target = parse_target(f"{server.url}/v2/models/model/infer")
    wire = request_bytes(target, Body(body()))
    warm = 0.0 if rate is None else 0.3
    load = Load(
        *(target, [wire], connections), rate=rate, seconds=seconds, warm_s=warm, pin=LOAD_CORE
    )
    before = cpu_ns(server.pid) or 0
    found = run_wrk(load) if rate is None else run(load)
    used = (cpu_ns(server.pid) or 0) - before
    return Measured(
        cpu_us=used / max(1, found.every) / 1000,
        p50_us=found.latency.percentile(50) / 1000,
        p99_us=found.latency.percentile(99) / 1000,
        rate=found.throughput,
        failed=found.failed,
    )


def apart(server: Server) -> list[int]:
    """Move a server's logger off its core; its process ids."""
    loggers = [pid for pid in tree([server.pid]) if pid != server.pid]
    for pid in loggers:
        os.sched_setaffinity(pid, {LOAD_CORE})
    return loggers


def difference(left: list[float], right: list[float]) -> dict[str, float]:
    """The median of the rounds' differences, with its 95 % bootstrap interval."""
    each = np.subtract(left, right)
    picks = np.random.default_rng(0).integers(0, len(each), (2000, len(each)))
    low, high = np.percentile(np.median(each[picks], axis=1), [2.5, 97.5])
    return {"median": float(np.median(each)), "low": float(low), "high": float(high)}


def measure(*, rounds: int, seconds: float, sample: float) -> dict:
    """Everything, as a document."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = onnx_models.heavy(folder / "model.onnx", layers=1, width=WIDTH)
        pinned = ["taskset", "-c", str(SERVER_CORE)]
        common = ["--file", str(path), "--name", "model"]
        plain = stack.enter_context(Server(common, pinned))
        told = ["--records", str(folder / "records"), "--record", str(sample)]
        recording = stack.enter_context(Server([*common, *told], pinned))
        for server in (plain, recording):
            asked(server, 8, 1, None)
        loggers = apart(recording)
        cases = {}
        for name, connections, rate in (
            ("5,000 a second", 32, RATE),
            ("64 connections", 64, None),
            ("8 connections", 8, None),
            ("1 connection", 1, None),
        ):
            sides = [
                Side(server_name, partial(asked, server, connections, seconds, rate))
                for server_name, server in ((PLAIN, plain), (RECORDING, recording))
            ]
            before = sum(cpu_ns(pid) or 0 for pid in loggers)
            found = interleave(sides, rounds)
            used = sum(cpu_ns(pid) or 0 for pid in loggers) - before
            cases[name] = case_of(found, used, seconds)
            print(line(name, cases[name]), file=sys.stderr, flush=True)
        time.sleep(0.5)
        kept = sum(p.stat().st_size for p in (folder / "records" / "segments").iterdir())
    return {
        "compiled": compiled(),
        "python": platform.python_version(),
        "sample": sample,
        "rounds": rounds,
        "seconds": seconds,
        "segment_bytes": kept,
        "cases": cases,
    }


def case_of(found: dict[str, list[Measured]], logger_ns: int, seconds: float) -> dict:
    """The figures of one case."""
    cpu = {name: [one.cpu_us for one in each] for name, each in found.items()}
    p99 = {name: [one.p99_us for one in each] for name, each in found.items()}
    answered = sum(one.rate for one in found[RECORDING]) * seconds
    return {
        "plain_cpu_us": statistics.median(cpu[PLAIN]),
        "cost_us": difference(cpu[RECORDING], cpu[PLAIN]),
        "noise_us": difference(cpu[AGAIN], cpu[PLAIN]),
        "p99_us": {name: statistics.median(each) for name, each in p99.items()},
        "p99_ratio": asdict(ratio_of(p99[RECORDING], p99[PLAIN])),
        "p99_noise": asdict(ratio_of(p99[AGAIN], p99[PLAIN])),
        "logger_us": logger_ns / max(1, answered) / 1000,
        "rate": {name: statistics.median(o.rate for o in each) for name, each in found.items()},
        "failed": sum(one.failed for each in found.values() for one in each),
    }


def line(name: str, case: dict) -> str:
    """One case for humans."""
    cost, noise, ratio = case["cost_us"], case["noise_us"], case["p99_ratio"]
    return (
        f"{name}: {case['plain_cpu_us']:.1f} us of CPU a request; recording {cost['median']:+.2f} "
        f"({cost['low']:+.2f} to {cost['high']:+.2f}), A/A {noise['median']:+.2f}; p99 x "
        f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}), A/A x "
        f"{case['p99_noise']['ratio']:.2f}; logger {case['logger_us']:.1f} us a record"
    )


def main() -> int:
    """Measure, print, perhaps keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--sample", type=float, default=1.0, help="share that is recorded")
    parser.add_argument("--json", action="store_true", help="the document, not the lines")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    given = parser.parse_args()
    rounds = 7 if given.quick else 21
    document = measure(rounds=rounds, seconds=1, sample=given.sample)
    if given.json:
        print(json.dumps(document, indent=1))
    if given.save:
        kind = "compiled" if document["compiled"] else "python"
        (RESULTS / f"recording-{kind}.json").write_text(json.dumps(document, indent=1) + "\n")
    over = [
        name for name, case in document["cases"].items() if case["cost_us"]["low"] > COST_BAR_US
    ]
    print(f"over {COST_BAR_US} us: {', '.join(over) or 'none'}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
