"""The model server against the yardstick sketch: throughput, latency, CPU a request, memory, start.

Model S: StandardScaler and 100 boosted trees on 30 floats. The server and the sketch are pinned to
one core, wrk to the other, which sends a different row each time. Rounds are short and interleaved,
so that a busy machine disturbs both alike; a ratio is the median of the rounds' own ratios, its
noise their interquartile range. Where a bar lies inside that range there is no verdict on it.
"""

import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from modelworks.testing.servers import Server

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
MODEL = "m"
SERVER_CORE, LOAD_CORE = "0", "1"
BODIES = 256
BARS = {"throughput_64": 0.5, "p50_1": 2.5, "resident_mb": 120, "ready_s": 1.5}


@dataclass
class Measured:
    """One server at one number of connections; lists have one figure a round."""

    requests_s: list[float] = field(default_factory=list)
    p50_us: list[int] = field(default_factory=list)
    p99_us: list[int] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)  # noisy a round: ticks are 10 ms
    errors: int = 0

    def middle(self, what):
        """The median over the rounds."""
        return statistics.median(getattr(self, what))


def train(folder):
    """Model S as ONNX, rows to ask for, and what scikit-learn answers."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    model = make_pipeline(
        StandardScaler(), GradientBoostingClassifier(n_estimators=100, random_state=0)
    ).fit(x, y)
    path = folder / "s.onnx"
    path.write_bytes(to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString())
    return path, x, model.predict_proba(x)


def body_of(row):
    """A request of one row."""
    entry = {"name": "X", "shape": [1, 30], "datatype": "FP32", "data": row.tolist()}
    return json.dumps({"inputs": [entry]}).encode()


def quartiles(ratios):
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"low": low, "ratio": middle, "high": high}


def check(url, rows, wanted):
    """Every answer equals scikit-learn's, before anything is timed."""
    for row, probabilities in zip(rows, wanted, strict=True):
        request = urllib.request.Request(url, body_of(row), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)["outputs"][1]["data"]
        np.testing.assert_allclose(np.ravel(found), probabilities, atol=1e-5)


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mb(pid):
    """Resident memory of a process."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
    )
    return int(line.split()[1]) / 1024


def wrk(url, body, connections, seconds, into, pid):
    """One round."""
    before = cpu_seconds(pid)
    ended = subprocess.run(
        [
            *("taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"),
            *("-s", str(ROOT / "benchmarks" / "post.lua"), url),
        ],
        env=os.environ | {"BODY": str(body)},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    used = cpu_seconds(pid) - before
    told = json.loads(ended.stdout.splitlines()[-1])
    into.requests_s.append(told["requests"] / told["seconds"])
    into.p50_us.append(told["p50_us"])
    into.p99_us.append(told["p99_us"])
    into.cpu_us.append(used / max(1, told["requests"]) * 1e6)
    into.errors += told["errors"]


def sketch_path():
    """The yardstick; None when it is not there."""
    given = os.environ.get("MODELWORKS_SKETCH")
    path = Path(given) if given else ROOT.parent / "shared" / "sketch" / "hot_path.py"
    return path if path.is_file() else None


def start_sketch(stack, script, model):
    """The sketch on a free port: (url, pid)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, sys.executable, str(script), str(model), str(port)]
    )
    stack.callback(process.wait)
    stack.callback(process.send_signal, signal.SIGTERM)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer", process.pid
    raise RuntimeError("the sketch did not start")


def pinned():
    """The command prefix that pins the server, where that is possible."""
    return ["taskset", "-c", SERVER_CORE]


def ready_seconds(model, times=3):
    """Start to announcement, median of a few."""
    taken = []
    for _ in range(times):
        with Server(["--file", str(model), "--name", MODEL]) as server:
            taken.append(server.ready_s)
    return statistics.median(taken)


def demo_resident_mb(folder, model):
    """Resident memory of a server with the models of the demo: trees and a small network."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    from modelworks.core.served import ServedModel
    from modelworks.testing.servers import serve_list

    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    network = MLPClassifier((64,), max_iter=30, random_state=0)
    network.out_activation_ = "softmax"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to weigh what it weighs
        network.fit(x, y)
    path = folder / "digits.onnx"
    path.write_bytes(to_onnx(network, x[:1], options={"zipmap": False}).SerializeToString())
    served = [ServedModel(n, "1.0.0", str(p), "") for n, p in (("s", model), ("digits", path))]
    listed = serve_list(folder / "served.json", served)
    with (
        Server(["--served", str(listed)]) as server,
        urllib.request.urlopen(f"{server.url}/v2/models/digits", timeout=10),
    ):
        return resident_mb(server.pid)


def run(*, quick, connections=(1, 8, 64)):
    """Measure everything; a document."""
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not here; as root: apt-get install wrk util-linux")
    rounds, seconds = (4, 1) if quick else (15, 2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model, rows, wanted = train(folder)
        body = folder / "bodies.jsonl"
        body.write_bytes(b"\n".join(body_of(row) for row in rows[:BODIES]))
        load_before = os.getloadavg()
        ready = ready_seconds(model)
        resident = demo_resident_mb(folder, model)
        server = stack.enter_context(Server(["--file", str(model), "--name", MODEL], pinned()))
        targets = {"modelworks": (f"{server.url}/v2/models/{MODEL}/infer", server.pid)}
        script = sketch_path()
        if script is not None:
            targets["sketch"] = start_sketch(stack, script, model)
        for url, _ in targets.values():
            check(url, rows[:50], wanted[:50])
        measured = {name: {c: Measured() for c in connections} for name in targets}
        for _ in range(rounds):
            for count in connections:
                for name, (url, pid) in targets.items():
                    wrk(url, body, count, seconds, measured[name][count], pid)
        after_load = resident_mb(server.pid)
    return {
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "python": platform.python_version(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rounds": rounds,
        "seconds": seconds,
        "load_before": load_before,
        "load_after": os.getloadavg(),
        "ready_s": ready,
        "resident_mb": resident,
        "resident_after_load_mb": after_load,
        "measured": {
            name: {str(c): asdict(found) for c, found in by.items()}
            for name, by in measured.items()
        },
        "ratios": ratios(measured, connections),
    }


def ratios(measured, connections):
    """Ours to the sketch's: medians of the rounds' ratios, each with its noise."""
    if "sketch" not in measured:
        return {}
    found = {}
    for count in connections:
        ours, theirs = measured["modelworks"][count], measured["sketch"][count]
        found[str(count)] = {}
        for what in ("requests_s", "p50_us", "p99_us", "cpu_us"):
            pairs = zip(getattr(ours, what), getattr(theirs, what), strict=True)
            found[str(count)][what] = quartiles([left / max(right, 1e-9) for left, right in pairs])
    return found


def table(document):
    """The figures for humans."""
    before, after = document["load_before"][0], document["load_after"][0]
    rounds = f"{document['rounds']} interleaved rounds of {document['seconds']} s"
    lines = [
        f"{rounds}; load average {before:.1f} before, {after:.1f} after",
        "",
        "| server | connections | req/s | p50 ms | p99 ms | CPU us/req | errors |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, by in document["measured"].items():
        for count, values in by.items():
            found = Measured(**values)
            lines.append(
                f"| {name} | {count} | {found.middle('requests_s'):,.0f} | "
                f"{found.middle('p50_us') / 1000:.2f} | {found.middle('p99_us') / 1000:.2f} | "
                f"{found.middle('cpu_us'):.1f} | {found.errors} |"
            )
    lines.append("")
    for count, ratio in document["ratios"].items():
        said = ", ".join(
            "{ratio:.2f} {words} ({low:.2f} to {high:.2f})".format(words=words, **ratio[key])
            for key, words in (
                ("requests_s", "of the sketch's throughput"),
                ("p50_us", "x its p50"),
                ("p99_us", "x its p99"),
                ("cpu_us", "x its CPU a request"),
            )
        )
        lines.append(f"at {count} connections: {said}")
    if not document["ratios"]:
        lines.append("no sketch: MODELWORKS_SKETCH names none, and ../shared has none")
    lines.append(
        f"ready in {document['ready_s']:.2f} s; {document['resident_mb']:.0f} MB resident with "
        f"the demo's models, {document['resident_after_load_mb']:.0f} MB after the load"
    )
    return "\n".join(lines)


def verdicts(document):
    """The bars: (sentence, True met, False missed, None too noisy to say)."""
    found = []
    ratio = document["ratios"]
    if ratio:
        least, most = BARS["throughput_64"], BARS["p50_1"]
        share, p50 = ratio["64"]["requests_s"], ratio["1"]["p50_us"]
        found = [
            (
                f"{share['ratio']:.2f} x the sketch's rate at 64 connections, at least {least}",
                None if share["low"] < least <= share["high"] else share["ratio"] >= least,
            ),
            (
                f"{p50['ratio']:.2f} x the sketch's p50 at 1 connection, at most {BARS['p50_1']}",
                None if p50["low"] <= most < p50["high"] else p50["ratio"] <= most,
            ),
        ]
    found += [
        (f"{what} {document[what]:.2f}, at most {BARS[what]}", document[what] <= BARS[what])
        for what in ("resident_mb", "ready_s")
    ]
    errors = sum(found["errors"] for found in document["measured"]["modelworks"].values())
    found.append((f"{errors} failed requests", not errors))
    return found
