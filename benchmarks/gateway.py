"""What the gateway adds, beside HAProxy and Envoy: one interleaved run on one machine.

    python benchmarks/gateway.py [--rounds 7] [--seconds 2] [--json] [--save]

An upstream (nginx, a fixed answer of 1 KB) and the load generator share one core, the proxy under
test has the other to itself. Asked is a POST with a body of 1 KB: on one connection, on 32, and at
half of what our gateway can carry. The bar: at most 0.2 ms more at p50 with one connection and at
half load, at least 12,000 requests a second a core.
"""

import argparse
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import shuffle

from modelworks.core import codec
from modelworks.core.routes import Arm, Endpoint, Route, Snapshot, Span
from modelworks.measure.load import Load, run
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.noise import Watch, calibrate, unsteady
from modelworks.measure.processes import ServerCpu
from modelworks.measure.target import Target
from modelworks.measure.wrk import run_wrk

PROXY_CORE, LOAD_CORE = "0", "1"
BODY = b"x" * 1024
PATH = "/v2/models/m/infer"
RESULT = Path(__file__).parent / "results" / "gateway.json"
BAR_ADDED_MS, BAR_RATE = 0.2, 12_000

NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {folder}; keepalive_requests 100000000;
server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json;
return 200 "{answer}"; }} }} }}
"""
HAPROXY = """global
  nbthread 1
defaults
  mode http
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  http-reuse always
  option forwardfor
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{upstream}
"""
_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def envoy(port, upstream):
    """Its configuration; JSON is YAML."""

    def at(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    def typed(name, kind, **more):
        return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{kind}", **more}}

    route = {"match": {"prefix": "/"}, "route": {"cluster": "c"}}
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        _HTTP,
        stat_prefix="x",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[typed("envoy.filters.http.router", _ROUTER)],
    )
    ends = [{"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}]
    cluster = {"name": "c", "type": "STATIC"}
    cluster["load_assignment"] = {"cluster_name": "c", "endpoints": ends}
    listener = {"address": at(port), "filter_chains": [{"filters": [manager]}]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


ALONE = ("--concurrency", "1", "--disable-hot-restart")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def started(command, port, core):
    """A program that listens on a port; its process id."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["taskset", "-c", core, *command], **quiet)
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} does not listen on {port}")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def proxies(folder, upstream):
    """Name, command and port of each that is here; and what is not."""
    found, missing = [], []
    port = free_port()
    arm = Arm("m/1", endpoints=(Endpoint(f"http://127.0.0.1:{upstream}"),))
    snapshot = Snapshot(1, (Route("m", (arm,), (Span(0, 10_000, "m/1"),), model="m"),))
    (folder / "routes.json").write_text(json.dumps(codec.encode(snapshot)))
    ours = [sys.executable, "-m", "modelworks.apps.gateway", "--admin-port", "-1"]
    ours += ["--snapshot", str(folder / "routes.json"), "--port", str(port)]
    found.append(("modelworks", ours, port))
    for name, write, options in (
        ("haproxy", HAPROXY.format, ["-db", "-f"]),
        ("envoy", envoy, [*ALONE, "-l", "off", "-c"]),
    ):
        beside = Path(sys.executable).parent / name
        program = str(beside) if beside.exists() else shutil.which(name)
        if program is None:
            missing.append(name)
            continue
        port = free_port()
        file = folder / f"{name}.yaml"
        file.write_text(write(port=port, upstream=upstream))
        found.append((name, [program, *options, str(file)], port))
    return found, missing


def asked(port, pid, seconds, *, connections=1, rate=None):
    """One round: p50 in ms, answers a second, CPU of the proxy a request in microseconds."""
    target = Target("http", "127.0.0.1", port, PATH)
    requests = [request_bytes(target, Body(BODY, "application/json"))]
    load = Load(
        target,
        requests,
        connections=connections,
        rate=rate,
        seconds=seconds,
        warm_s=0.3 if rate else 0,
        pin=int(LOAD_CORE),
    )
    cpu = ServerCpu([pid]) if pid else None
    seen = run(load) if rate else run_wrk(load)
    used = cpu.seconds() if cpu else 0.0
    return {
        "p50_ms": seen.latency.percentile(50) / 1e6,
        "rate": seen.throughput,
        "cpu_us": used / max(1, seen.every) * 1e6,
        "failed": seen.failed,
    }


def measure(rounds, seconds, say):
    """Everything, as a document."""
    before, watch = calibrate(), Watch()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = free_port()
        config = folder / "nginx.conf"
        answer = "y" * 1024
        config.write_text(NGINX.format(folder=folder, port=upstream, answer=answer))
        stack.enter_context(started(["nginx", "-c", str(config)], upstream, LOAD_CORE))
        found, missing = proxies(folder, upstream)
        sides = {"direct": (upstream, 0)}
        for name, command, port in found:
            sides[name] = (port, stack.enter_context(started(command, port, PROXY_CORE)))
        seen = {name: {"one": [], "many": [], "half": []} for name in sides}
        half = 0.0
        for number in range(rounds):
            for kind in ("one", "many", "half"):
                order = list(sides.items())
                shuffle(order)
                if kind == "half" and not half:
                    costs = [one["cpu_us"] for one in seen["modelworks"]["many"]]
                    half = 1e6 / statistics.median(costs) / 2
                for name, (port, pid) in order:
                    more = {"connections": 32} if kind == "many" else {}
                    more = {"connections": 32, "rate": half} if kind == "half" else more
                    seen[name][kind].append(asked(port, pid, seconds, **more))
            say(f"round {number + 1} of {rounds}")
    noise = [text for text in (unsteady(before), *watch.end().noisy) if text]
    return {"rounds": rounds, "missing": missing, "noise": noise, "half_rate": half, "seen": seen}


def middle(found, name, kind, what):
    return statistics.median(one[what] for one in found["seen"][name][kind])


def summed(found):
    """A line a side."""
    lines = {}
    for name in found["seen"]:
        cost = middle(found, name, "many", "cpu_us")
        lines[name] = {
            "p50_one_ms": middle(found, name, "one", "p50_ms"),
            "added_one_ms": middle(found, name, "one", "p50_ms")
            - middle(found, "direct", "one", "p50_ms"),
            "added_half_ms": middle(found, name, "half", "p50_ms")
            - middle(found, "direct", "half", "p50_ms"),
            "rate_32": middle(found, name, "many", "rate"),
            "rate_a_core": 1e6 / cost if cost else None,
            "failed": sum(one["failed"] for kind in found["seen"][name].values() for one in kind),
        }
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write it, unless the machine is noisy")
    given = parser.parse_args()
    found = measure(given.rounds, given.seconds, lambda text: print(text, file=sys.stderr))
    found["sides"] = summed(found)
    ours = found["sides"]["modelworks"]
    found["met"] = (
        max(ours["added_one_ms"], ours["added_half_ms"]) < BAR_ADDED_MS
        and ours["rate_a_core"] >= BAR_RATE
    )
    if given.json:
        print(json.dumps(found))
    else:
        print("| | p50, one connection | added | added at half load | 32 connections | a core |")
        print("|---|---:|---:|---:|---:|---:|")
        for name, line in found["sides"].items():
            core = f"{line['rate_a_core']:,.0f}/s" if line["rate_a_core"] else "-"
            print(
                f"| {name} | {line['p50_one_ms']:.3f} ms | {line['added_one_ms']:.3f} ms | "
                f"{line['added_half_ms']:.3f} ms | {line['rate_32']:,.0f}/s | {core} |"
            )
        met = "met" if found["met"] else "missed"
        print(f"half load: {found['half_rate']:,.0f}/s; the bar is {met}")
        for text in (*found["noise"], *(f"{name} is not here" for name in found["missing"])):
            print(f"note: {text}")
    if given.save and not found["noise"]:
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    elif given.save:
        print("not saved: the machine is too noisy", file=sys.stderr)


if __name__ == "__main__":
    main()
