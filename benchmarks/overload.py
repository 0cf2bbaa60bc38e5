"""Goodput of a server that is asked for more than it can do: offered load against good answers.

A model of known cost behind one worker on one core, an open loop on the other: requests leave when
they are due, whether the server keeps up or not, each with a `timeout`. First the capacity, by a
closed loop; then rounds of several offered rates, interleaved. Good is an answer 200 within the
time-out and a tenth (the way there and back, and the generator's own delay).

python benchmarks/overload.py [--quick] [--json] [--save]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from modelworks.core.served import Batching, ServedModel
from modelworks.measure.load import Load, Loaded, run
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import parse_target
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server, serve_list

RESULTS = Path(__file__).resolve().parent / "results"
RATIOS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
BAR = 0.85  # of the best goodput, at three times the capacity
KEPT = 0.95  # of what was answered 200, within its time
SLACK = 1.1
MOST_CONNECTIONS = 1024


@dataclass
class Step:
    """One offered rate; lists have one figure a round."""

    ratio: float
    offered: list[float] = field(default_factory=list)
    good: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)  # of the answers 200, the share in time
    refused_ms: list[float] = field(default_factory=list)  # median time to a refusal
    refused_p99_ms: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    unsent: int = 0
    bottleneck: str = ""


@dataclass(frozen=True)
class Case:
    """One model under load."""

    name: str
    width: int
    batch: int

    def file(self, folder: Path) -> Path:
        """Its model."""
        path = folder / f"{self.name}.onnx"
        if self.name == "loop":
            return onnx_models.counting(path, 1000)
        return onnx_models.heavy(path, layers=16, width=self.width)


CASES = (Case("loop", 3, 1), Case("network", 512, 16))


def body_of(width: int, timeout_us: int) -> bytes:
    """A request of one row with its own time-out."""
    data = [round(value / width, 3) for value in range(width)]
    entry = {"name": "x", "shape": [1, width], "datatype": "FP32", "data": data}
    document = {"inputs": [entry], "parameters": {"timeout": timeout_us} if timeout_us else {}}
    return json.dumps(document).encode()


def measure(case: Case, *, rounds: int, seconds: float, folder: Path, pinned: bool) -> dict:
    """One model: its capacity, and goodput at every ratio of it."""
    model = ServedModel(
        case.name, "1.0.0", str(case.file(folder)), "", batching=Batching(case.batch)
    )
    listed = serve_list(folder / f"{case.name}.json", [model])
    prefix = ["taskset", "-c", "0"] if pinned else []
    with Server(["--served", str(listed)], prefix) as server:
        target = parse_target(f"{server.url}/v2/models/{case.name}/infer")
        pin = 1 if pinned else None

        def closed(connections: int) -> Loaded:
            wire = request_bytes(target, Body(body_of(case.width, 0)))
            return run(Load(target, [wire], connections, seconds=seconds, pin=pin))

        alone = closed(1).service.percentile(50) / 1e9
        capacities = [closed(2 * case.batch + 4).throughput for _ in range(rounds)]
        capacity = statistics.median(capacities)
        timeout = max(0.05, 20 * alone)
        wire = request_bytes(target, Body(body_of(case.width, int(timeout * 1e6))))
        steps = {ratio: Step(ratio) for ratio in RATIOS}
        for _ in range(rounds):
            for ratio, step in steps.items():
                rate = ratio * capacity
                many = int(min(MOST_CONNECTIONS, 16 + 2 * rate * timeout))
                found = run(
                    Load(
                        target,
                        [wire],
                        many,
                        rate=rate,
                        seconds=seconds,
                        warm_s=0.5,
                        pin=pin,
                        deadline_s=SLACK * timeout,
                    )
                )
                note(step, found, rate)
    return {
        "capacity": capacity,
        "service_ms": alone * 1e3,
        "timeout_ms": timeout * 1e3,
        "batch": case.batch,
        "steps": [asdict(step) for step in steps.values()],
    }


def note(step: Step, found: Loaded, rate: float) -> None:
    """Add one round."""
    step.offered.append(rate)
    step.good.append(found.goodput)
    step.kept.append(found.in_time / max(1, found.latency.count))
    if found.refused.count:
        step.refused_ms.append(found.refused.percentile(50) / 1e6)
        step.refused_p99_ms.append(found.refused.percentile(99) / 1e6)
    for into, more in ((step.statuses, found.statuses), (step.failures, found.failures)):
        for key, count in more.items():
            into[key] = into.get(key, 0) + count
    step.unsent += found.unsent
    step.bottleneck = step.bottleneck or found.bottleneck


def middle(values: list[float]) -> float:
    """The median; nan of nothing."""
    return statistics.median(values) if values else float("nan")


def shares(case: dict) -> dict[float, list[float]]:
    """Each ratio's goodput a round, in that of the round's best ratio."""
    rounds = list(zip(*(step["good"] for step in case["steps"]), strict=True))
    best = [max(each) or 1.0 for each in rounds]
    return {
        step["ratio"]: [good / top for good, top in zip(step["good"], best, strict=True)]
        for step in case["steps"]
    }


def table(document: dict) -> str:
    """The figures for humans."""
    lines = []
    for name, case in document["cases"].items():
        lines += [
            "",
            (
                f"{name}: a call alone {case['service_ms']:.1f} ms, batches up to {case['batch']}, "
                f"capacity {case['capacity']:.0f}/s, time-out {case['timeout_ms']:.0f} ms"
            ),
            "",
            "| offered | goodput/s | of the best | 200 in time | refusal p50 / p99 ms | answers |",
            "|---:|---:|---:|---:|---:|---|",
        ]
        found = shares(case)
        for step in case["steps"]:
            statuses = ", ".join(f"{k}: {v}" for k, v in sorted(step["statuses"].items()))
            lines.append(
                f"| {step['ratio']:g} x | {middle(step['good']):.0f} | "
                f"{middle(found[step['ratio']]):.2f} | {middle(step['kept']):.1%} | "
                f"{middle(step['refused_ms']):.1f} / {middle(step['refused_p99_ms']):.1f} | "
                f"{statuses} |"
            )
            if step["bottleneck"]:
                lines.append(f"|  | the generator: {step['bottleneck']} | | | | |")
    return "\n".join(lines)


def verdicts(document: dict) -> list[tuple[str, bool | None]]:
    """(sentence, True met, False missed, None too noisy to say)."""
    said = []
    for name, case in document["cases"].items():
        last = case["steps"][-1]
        found = sorted(shares(case)[last["ratio"]])
        ratio = middle(found)
        split = found[0] < BAR <= found[-1] if len(found) > 1 else False
        noisy = split or bool(last["bottleneck"])
        sentence = f"{name}: {ratio:.2f} of the best goodput at {last['ratio']:g} x, at least {BAR}"
        said.append((sentence, True if ratio >= BAR else None if noisy else False))
        kept = middle(last["kept"])
        sentence = f"{name}: {kept:.1%} of the answers 200 in time, at least {KEPT:.0%}"
        said.append((sentence, True if kept >= KEPT else None if noisy else False))
    return said


def measure_all(*, quick: bool) -> dict:
    """All cases; a document."""
    rounds, seconds = (2, 1.0) if quick else (5, 4.0)
    pinned = (os.cpu_count() or 1) > 1 and hasattr(os, "sched_setaffinity")
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            case.name: measure(
                case, rounds=rounds, seconds=seconds, folder=Path(folder), pinned=pinned
            )
            for case in CASES
        }
    return {
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rounds": rounds,
        "seconds": seconds,
        "load_before": before,
        "load_after": os.getloadavg(),
        "cases": cases,
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds of a second")
    parser.add_argument("--json", action="store_true", help="print the document")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    arguments = parser.parse_args()
    document = measure_all(quick=arguments.quick)
    words = {True: "met", False: "MISSED", None: "no verdict: too noisy a machine"}
    said = verdicts(document)
    document["verdicts"] = {sentence: words[verdict] for sentence, verdict in said}
    sys.stdout.write((json.dumps(document, indent=1) if arguments.json else table(document)) + "\n")
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "overload.json").write_text(json.dumps(document, indent=1) + "\n")
    for sentence, verdict in said:
        sys.stderr.write(f"{words[verdict]}: {sentence}\n")
    return 1 if any(verdict is False for _, verdict in said) else 0


if __name__ == "__main__":
    sys.exit(main())
