"""The same closed loop by wrk, whose C leaves more of a core to spare than our own generator."""

import json
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, UnavailableError, UnsupportedError
from modelworks.measure.histogram import Histogram
from modelworks.measure.load import Load, Loaded

_SCRIPT: Final = """
local requests, turn = {}, 0
function init()
  for number = 0, tonumber(os.getenv("MODELWORKS_REQUESTS")) - 1 do
    local file = io.open(os.getenv("MODELWORKS_FOLDER") .. "/" .. number, "rb")
    requests[#requests + 1] = file:read("*a")
    file:close()
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local errors, parts = summary.errors, {}
  for number = 1, #latency do
    local value, count = latency(number)
    parts[#parts + 1] = string.format("[%d,%d]", value, count)
  end
  io.write(string.format(
    '\\n{"requests":%d,"us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write,
    errors.status, errors.timeout))
  io.write('"latency":[' .. table.concat(parts, ",") .. ']}\\n')
end
"""


def available() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def unfit(load: Load) -> str:
    """Why wrk cannot run this load; empty = it can."""
    reasons = (
        (load.rate is not None, "wrk knows no rate: an open loop is the own generator's"),
        (bool(load.target.unix), "wrk knows no Unix sockets"),
        (load.target.scheme != "http", "wrk checks no certificates"),
        (load.most is not None, "wrk counts no requests: give seconds"),
        (load.sample > 0, "wrk keeps no answers to check"),
        (load.deadline_s > 0, "wrk counts no deadlines"),
        (load.seconds < 1, "wrk runs whole seconds"),
    )
    return next((words for wrong, words in reasons if wrong), "")


def run_wrk(load: Load) -> Loaded:
    """Run the load by wrk; seconds are rounded to whole ones.

    wrk puts the answers of every status into its latencies and says of failures only how many.
    It corrects its latencies for coordinated omission by filling in what it expects a stall to
    have hidden, so that there are more of them than answers; service times it does not tell.

    Raises:
        UnsupportedError: wrk is not here, or cannot do that.
        UnavailableError: nothing listens there, or wrk failed.
        InvalidError: no such core.
    """
    if not available():
        raise UnsupportedError(
            "wrk is not installed: as root apt-get install wrk, or use --generator own"
        )
    reason = unfit(load)
    if reason:
        raise UnsupportedError(f"{reason}; use --generator own", field="generator")
    load.target.connect(None).close()  # wrk itself goes on trying where nothing listens
    with tempfile.TemporaryDirectory(prefix="modelworks-bench-") as folder:
        for number, request in enumerate(load.requests):
            Path(folder, str(number)).write_bytes(request)
        script = Path(folder, "script.lua")
        script.write_text(_SCRIPT)
        warmed = 0
        if load.warm_s:
            warmed = _call(load, max(1, round(load.warm_s)), script).answered
        found = _call(load, max(1, round(load.seconds)), script)
        return replace(found, every=found.answered + warmed)


def _call(load: Load, seconds: int, script: Path) -> Loaded:
    pin = [] if load.pin is None else ["taskset", "-c", str(load.pin)]
    if pin and shutil.which("taskset") is None:
        raise InvalidError("taskset is not installed, without which wrk is not pinned", field="pin")
    command = [
        *(*pin, "wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s"),
        *("--timeout", f"{max(1, round(load.timeout_s))}s", "-s", str(script)),
        f"http://{load.target.authority}/",
    ]
    told = {"MODELWORKS_FOLDER": str(script.parent), "MODELWORKS_REQUESTS": str(len(load.requests))}
    before, began = _children_cpu(), time.monotonic()
    try:
        ended = subprocess.run(
            command,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **told},
            capture_output=True,
            timeout=seconds + load.timeout_s + 30,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"wrk did not end within {error.timeout:g} s") from error
    span = time.monotonic() - began
    cpu = (_children_cpu() - before) / span
    lines = ended.stdout.decode(errors="replace").strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (ValueError, IndexError) as error:
        words = (ended.stderr or ended.stdout).decode(errors="replace").strip()[:200]
        raise UnavailableError(f"wrk failed on {load.target.url}: {words}") from error
    return _loaded(load, found, cpu)


def _loaded(load: Load, found: dict[str, Any], cpu: float) -> Loaded:
    """The figures as ours; which status a bad answer had, wrk does not say."""
    latency = Histogram()
    pairs = np.asarray(found["latency"], np.int64).reshape(-1, 2)
    latency.record(np.repeat(pairs[:, 0] * 1000, pairs[:, 1]))
    bad = int(found["status"])
    good = max(0, int(found["requests"]) - bad)
    failures = {
        "connect": found["connect"],
        "closed": found["read"] + found["write"],
        "timeout": found["timeout"],
        "status": bad,
    }
    return Loaded(
        connections=load.connections,
        rate=None,
        seconds=found["us"] / 1e6,
        answered=good,
        rows=load.rows,
        in_time=good,
        latency=latency,
        service=Histogram(),
        lag=Histogram(),
        refused=Histogram(),
        statuses={200: good},
        failures={kind: count for kind, count in failures.items() if count},
        cpu=min(1.0, cpu),
        generator="wrk",
    )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
