"""The sections of our benchmark: S beside the sketch, M and T beside onnxruntime.

Every section is a document of rounds and ratios; `bars` judges it and `table` prints it.
"""

from contextlib import ExitStack
from dataclasses import asdict, dataclass

import targets
import workloads
from rounds import Endpoint, Measured, compared
from workloads import BINARY, JSON, SHORT

from modelworks.measure.compare import Side

OURS, SKETCH, ENGINE = "modelworks", "sketch", "onnxruntime"
OURS_BINARY, OURS_JSON = "modelworks, binary", "modelworks, JSON"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long: rounds and seconds of each.

    Attributes:
        small: rounds of model S.
        small_s: seconds of each, whole ones (wrk).
        large: rounds of models M and T.
        large_s: seconds of each.
    """

    small: int
    small_s: int
    large: int
    large_s: float


FULL = Plan(small=9, small_s=2, large=9, large_s=3.0)
QUICK = Plan(small=5, small_s=1, large=5, large_s=1.0)
SMOKE = Plan(small=1, small_s=1, large=1, large_s=1.0)


def small(plan, say):
    """Model S: JSON beside the sketch, and binary."""
    model = workloads.cached("S")
    ready = targets.ready_seconds(model)
    with ExitStack() as stack:
        server = stack.enter_context(targets.server(model))
        where = workloads.target(server.url)
        ours = Endpoint(OURS, where, server.pid, model, JSON)
        raw = Endpoint(OURS_BINARY, where, server.pid, model, BINARY)
        for form in (JSON, BINARY):
            workloads.check(where, model, form)
        sides = [ours]
        script = targets.sketch_path()
        if script is not None:
            url, pid = stack.enter_context(targets.sketch(script, model))
            other = workloads.target(url)
            workloads.check_sketch(other, model)
            sides.append(Endpoint(SKETCH, other, pid, model, JSON))
        base = SKETCH if script is not None else OURS
        found = {}
        for connections in (1, 8, 64):
            say(f"S, {connections} connections")
            asked = [end.side(connections, plan.small_s, wrk=True) for end in sides]
            found[str(connections)] = compared(asked, plan.small, base)
        say("S, binary")
        forms = [end.side(64, plan.small_s, wrk=True) for end in (raw, ours)]
        found["64, binary beside JSON"] = compared(forms, plan.small, OURS)
        resident = targets.resident_mb(server.pid)
    return {"ready_s": ready, "resident_mb": resident, "connections": found}


def large(key, plan, say):
    """Model M or T: binary tensors over HTTP beside onnxruntime at its best batch size."""
    model = workloads.cached(key)
    with targets.server(model) as server, targets.Engine(model) as engine:
        where = workloads.target(server.url)
        ours = Endpoint(OURS_BINARY, where, server.pid, model, BINARY)
        workloads.check(where, model, BINARY)
        found = {}
        for connections in (8, 64):
            say(f"{key}, {connections} connections; onnxruntime is best at {engine.batch}")
            sides = [
                ours.side(connections, plan.large_s, wrk=False),
                Side(ENGINE, lambda: Measured(**engine.run(plan.large_s))),
            ]
            found[str(connections)] = compared(sides, plan.large, ENGINE)
        if key == "M":
            say("M, JSON beside binary")
            workloads.check(where, model, SHORT)
            text = Endpoint(OURS_JSON, where, server.pid, model, SHORT)
            forms = [end.side(1, plan.large_s, wrk=False) for end in (text, ours)]
            found["1, JSON beside binary"] = compared(forms, plan.large, OURS_BINARY)
        resident = targets.resident_mb(server.pid)
    return {
        "engine": {"batch": engine.batch, "rows_s": engine.curve},
        "resident_mb": resident,
        "connections": found,
    }


def measure(plan, sections, say):
    """The sections asked for: a document."""
    found = {"plan": asdict(plan)}
    if "S" in sections:
        found["S"] = small(plan, say)
    for key in ("M", "T"):
        if key in sections:
            found[key] = large(key, plan, say)
    return found
