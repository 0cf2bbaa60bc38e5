"""What a loaded model weighs, and whether memory comes back: our server beside bare sessions.

    python benchmarks/many_models.py [--models 100] [--cycles 500] [--isolated 60] [--save]

Resident memory of processes of their own. A model's weight is the growth from the first model to
the last, so that libraries do not count: once of a server that has answered every model, once of a
process with nothing but onnxruntime sessions of the same settings, which have run once too. Cycles
load and unload one model over HTTP and answer a request in between; memory is read while nothing is
loaded, from cycle 50 on. Prints one JSON document; exit 1 where a bar is missed.
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from modelworks.core.served import Isolation, ServedModel
from modelworks.testing.servers import Server, serve_list

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
SETTLED = 50  # cycles: allocators have their size by then
BARS = {"over_bare_mb": 0.3, "small_mb": 1.0, "flat": 0.05}


def small(folder):
    """Model S: StandardScaler and 100 boosted trees on 30 floats."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(0)
    x = generator.normal(size=(569, 30)).astype(np.float32)
    y = (x[:, :3].sum(axis=1) > 0).astype(int)
    boosted = GradientBoostingClassifier(n_estimators=100, random_state=0)
    model = make_pipeline(StandardScaler(), boosted).fit(x, y)
    path = folder / "small.onnx"
    path.write_bytes(to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString())
    return path, "X", 30


def network(folder):
    """Four square layers of 256: a megabyte of weights."""
    from modelworks.testing import onnx_models

    return onnx_models.heavy(folder / "network.onnx", layers=4, width=256), "x", 256


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def call(connection, path, body=b""):
    connection.request("POST", path, body)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {data[:300]!r}")
    return data


def question(name, width):
    row = [round(0.01 * place, 2) for place in range(width)]
    entry = {"name": name, "shape": [1, width], "datatype": "FP32", "data": row}
    return json.dumps({"inputs": [entry]}).encode()


def served(folder, path, count, isolation=Isolation.THREAD):
    lines = [
        ServedModel(
            f"m{number}", "1.0.0", str(path), f"sha256:{path.name}", autoload=False,
            isolation=isolation,
        )
        for number in range(count)
    ]  # fmt: skip
    return serve_list(folder / f"served-{path.stem}-{count}-{isolation}.json", lines)


def weight(folder, path, name, width, count):
    """Bytes a model in our server, by number of models loaded."""
    found = []
    with Server(["--served", str(served(folder, path, count))]) as server:
        connection = http.client.HTTPConnection(server.address, timeout=60)
        for number in range(count):
            call(connection, f"/v2/repository/models/m{number}/load")
            call(connection, f"/v2/models/m{number}/infer", question(name, width))
            found.append(resident(server.pid))
    return found


BARE = """
import ctypes, json, os, sys
import numpy as np
import onnxruntime as ort
path, name, width, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
trim = ctypes.CDLL(None).malloc_trim
kept, found = [], []
for _ in range(count):
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = settings.enable_mem_pattern = False
    session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    session.run(None, {name: np.zeros((1, width), np.float32)})
    kept.append(session)
    trim(0)
    found.append(resident())
print(json.dumps(found))
"""


def bare(path, name, width, count):
    """The same of onnxruntime alone."""
    command = [sys.executable, "-c", BARE, str(path), name, str(width), str(count)]
    told = subprocess.run(command, check=True, capture_output=True, timeout=600)
    return json.loads(told.stdout)


def cycles(folder, path, name, width, count, isolation=Isolation.THREAD):
    """Resident bytes after every tenth load and unload."""
    found = []
    with Server(["--served", str(served(folder, path, 1, isolation))]) as server:
        connection = http.client.HTTPConnection(server.address, timeout=60)
        for cycle in range(1, count + 1):
            call(connection, "/v2/repository/models/m0/load")
            call(connection, "/v2/models/m0/infer", question(name, width))
            call(connection, "/v2/repository/models/m0/unload")
            if cycle % 10 == 0:
                found.append((cycle, resident(server.pid)))
    return found


def flatness(found, settled=SETTLED):
    """How far memory strays, and where it goes: both as parts of its middle."""
    sizes = [size for cycle, size in found if cycle >= settled]
    middle = statistics.median(sizes)
    quarter = max(1, len(sizes) // 4)
    trend = statistics.median(sizes[-quarter:]) - statistics.median(sizes[:quarter])
    return {
        "cycles": found[-1][0],
        "middle_mb": round(middle / MIB, 2),
        "spread": round((max(sizes) - min(sizes)) / middle, 4),
        "trend": round(trend / middle, 4),
    }


def slope(sizes):
    """Megabytes a model, from the first to the last."""
    return (sizes[-1] - sizes[0]) / (len(sizes) - 1) / MIB


def measured(arguments, folder):
    document = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "models": arguments.models,
    }
    for make in (small, network):
        path, name, width = make(folder)
        ours = slope(weight(folder, path, name, width, arguments.models))
        theirs = slope(bare(path, name, width, arguments.models))
        document[make.__name__] = {
            "file_mb": round(path.stat().st_size / MIB, 3),
            "ours_mb": round(ours, 3),
            "bare_mb": round(theirs, 3),
            "over_bare_mb": round(ours - theirs, 3),
        }
        if arguments.cycles:
            found = cycles(folder, path, name, width, arguments.cycles)
            document[make.__name__]["cycles"] = flatness(found, min(SETTLED, arguments.cycles // 2))
    if arguments.isolated:
        found = cycles(folder, path, name, width, arguments.isolated, Isolation.PROCESS)
        document["isolated_cycles"] = flatness(found, min(SETTLED, arguments.isolated // 2))
    return document


def strays(found):
    return found["spread"] > BARS["flat"]


def missed(document):
    """Bars that are not met, as sentences."""
    found = []
    for kind in ("small", "network"):
        part = document[kind]
        if part["over_bare_mb"] > BARS["over_bare_mb"]:
            found.append(f"{kind}: {part['over_bare_mb']} MB over its bare session")
        runs = [part["cycles"]] if "cycles" in part else []
        found += [f"{kind}: memory strays by {r['spread']:.1%}" for r in runs if strays(r)]
    if "isolated_cycles" in document and strays(document["isolated_cycles"]):
        found.append(f"isolated: memory strays by {document['isolated_cycles']['spread']:.1%}")
    if document["small"]["ours_mb"] > BARS["small_mb"]:
        found.append(f"the small model takes {document['small']['ours_mb']} MB")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--isolated", type=int, default=60, help="cycles with a process each")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = measured(arguments, Path(folder))
    document["missed"] = missed(document)
    print(json.dumps(document, indent=1))
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "many_models.json").write_text(json.dumps(document, indent=1) + "\n")
    return 1 if document["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
