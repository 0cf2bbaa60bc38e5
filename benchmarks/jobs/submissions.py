"""Jobs that a server accepts durably in a second, on one core, while it runs them too.

    python benchmarks/jobs/submissions.py [--seconds 8] [--connections 64] [--workers 1]

The server has one core (`taskset`), wrk another; every 202 leaves after an fsync. What was accepted
is then counted in the file, and held against what wrk was told.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server

_LUA = """
wrk.method = "POST"
wrk.path = "/v2/models/double/jobs"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '%s'
"""


def request() -> str:
    """Thirty numbers, as a table's row has them."""
    data = [round(0.37 * n - 3.1, 4) for n in range(30)]
    return json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP32", "data": data}]}
    )


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counts(path: Path) -> dict[str, int]:
    """State -> jobs, as the file has them."""
    with contextlib.closing(sqlite3.connect(path)) as base:
        return dict(base.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state"))


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", default=None, help="on the disk that is measured")
    given = parser.parse_args()
    wrk = shutil.which("wrk")
    if wrk is None:
        parser.error("wrk is wanted: apt-get install wrk")
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        root = Path(folder)
        model = models.double(root / "double.onnx", width=30)
        script = root / "post.lua"
        script.write_text(_LUA % request())
        arguments = ["--file", str(model), "--jobs", str(root / "jobs")]
        arguments += ["--workers", str(given.workers), "--jobs-open", "10000000"]
        with Server(arguments, ["taskset", "-c", str(cores[0])]) as server:
            began = cpu_of(server.pid)
            load = [wrk, "-t1", f"-c{given.connections}", f"-d{given.seconds}s", "--latency"]
            text = subprocess.run(
                ["taskset", "-c", str(cores[-1]), *load, "-s", str(script), server.url],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            spent = cpu_of(server.pid) - began
            found = counts(root / "jobs" / "jobs.sqlite")
            connection = http.client.HTTPConnection(server.address)
            behind = time.perf_counter()
            while counts(root / "jobs" / "jobs.sqlite").keys() - {"done"}:
                time.sleep(0.1)
            behind = time.perf_counter() - behind
            connection.close()
        accepted = int(re.search(r"(\d+) requests in", text)[1])
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
        told = dict(re.findall(r"(50|99)%\s+([\d.]+\w+)", text))
    print(f"accepted durably   {rate:.0f} a second ({accepted} in {given.seconds} s)")
    print(f"refused            {refused[1] if refused else 0}")
    print(f"in the file        {sum(found.values())}, of which {found.get('done', 0)} have run")
    print(f"latency            p50 {told['50']}, p99 {told['99']}")
    if given.workers == 1:
        print(f"CPU                {1e6 * spent / accepted:.0f} us a job, running it included")
    print(f"the rest ran in    {behind:.1f} s more")


if __name__ == "__main__":
    main()
