"""A form behind the real server, asked by many callers at once: what a request costs it.

Requests, rows and engine calls are the server's own counts, read when it is idle again; CPU time is
that of its whole process between the same two moments. So nothing is missed of what was begun and
not read by the load generator, and it is known how many rows shared a call.
"""

import re
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import urllib3
from onnx import TensorProto, helper

from modelworks.core import digest
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.served import ServedModel
from modelworks.measure import wrk
from modelworks.measure.compare import Side
from modelworks.measure.load import Load, run
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.processes import ServerCpu
from modelworks.measure.tally import Failure
from modelworks.measure.target import parse_target
from modelworks.optimize.forms import Form
from modelworks.protocol.oip.caller import build_request
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server, serve_list

SERVER_CORE, LOAD_CORE = 0, 1
BODIES, SECONDS, IDLE_S = 8, 1.0, 0.05
COUNTED = ("modelworks_requests_total", "modelworks_items_total", "modelworks_batch_items_count")
HTTP = urllib3.PoolManager(maxsize=1, retries=False, timeout=20)


@dataclass(frozen=True, slots=True)
class Asked:
    """One round of one server.

    Attributes:
        cpu_us: of the server, a request.
        rate: requests a second.
        rows: of an engine call, on average.
    """

    cpu_us: float
    rate: float
    rows: float


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


def nothing(folder, signature):
    """A form of the same inputs and output that computes next to nothing: the transport's own."""
    first, (out,) = signature.inputs[0], signature.outputs
    axes = np.arange(1, len(first.shape), dtype=np.int64)
    constants = {
        "starts": np.zeros_like(axes),
        "ends": np.ones_like(axes),
        "axes": axes,
        "column": np.array([-1, 1], np.int64),
        "wide": np.ones((1, out.shape[1]), np.float32),
    }
    nodes = [
        helper.make_node("Slice", [first.name, "starts", "ends", "axes"], ["corner"]),
        helper.make_node("Cast", ["corner"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["number", "column"], ["one"]),
        helper.make_node("Mul", ["one", "wide"], [out.name]),
    ]
    sides = [
        [onnx_models.info(spec.name, spec.datatype, spec.shape) for spec in specs]
        for specs in (signature.inputs, signature.outputs)
    ]
    folder.mkdir(parents=True)
    onnx_models.write(folder / "model.onnx", nodes, *sides, constants)
    return Form(Recipe(), folder, "onnx", signature)


def requests(url, made, rows):
    """Whole requests of so many rows with binary bodies, and where they go."""
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


def started(stack, form, path):
    """A server of one form on its core."""
    prefix = ("taskset", "-c", str(SERVER_CORE))
    arguments = ["--served", str(served(form, path)), "--threads", "1"]
    return stack.enter_context(Server(arguments, prefix))


def side(name, server, made, rows, callers, *, quick):
    """A server under load as a side of a comparison.

    Args:
        name: of the side.
        server: that is asked.
        made: the network whose rows are sent.
        rows: of a request.
        callers: connections that each wait for their answer before they ask again.
        quick: our own generator would be the limit: wrk is taken where it is installed.
    """
    where, bodies = requests(server.url, made, rows)
    fast = quick and wrk.available()
    warm = 0.0 if fast else 0.3
    plan = Load(where, bodies, connections=callers, seconds=SECONDS, warm_s=warm, pin=LOAD_CORE)
    return Side(name, partial(_round, plan, server, wrk.run_wrk if fast else run))


def _round(plan, server, generate):
    cpu, before = ServerCpu([server.pid]), _idle(server.url)
    found = generate(plan)
    bad = {kind: count for kind, count in found.failures.items() if kind != Failure.UNFINISHED}
    bad |= {status: count for status, count in found.statuses.items() if status != 200}
    if bad:  # what was under way at the end and took seconds is no failure
        raise SystemExit(f"requests failed: {bad}")
    after = _idle(server.url)
    count, rows, calls = (b - a for a, b in zip(before, after, strict=True))
    return Asked(cpu.seconds() / max(1, count) * 1e6, found.throughput, rows / max(1, calls))


def _idle(url):
    """The server's counts, once they rise no more."""
    last, now = None, _counts(url)
    while last != now:
        time.sleep(IDLE_S)
        last, now = now, _counts(url)
    return now


def _counts(url):
    text = HTTP.request("GET", f"{url}/metrics").data.decode()
    found = []
    for name in COUNTED:
        lines = re.findall(rf"^{name}\{{[^}}]*\}} (\S+)", text, re.MULTILINE)
        found.append(sum(map(float, lines)))
    return tuple(found)
