"""The comparison with other servers, end to end: two cheap peers, one that fails, tiny rounds."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "benchmarks" / "peers" / "run.py"
ENDS_S = 1400


def wanting(*tools):
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"not here: {lacking}")
    if lacking:
        pytest.skip(f"apt-get install wrk util-linux: {lacking} is not here")


@pytest.fixture
def short():
    """A folder with a short name: mosec's and Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        yield Path(name)


def test_peers_are_installed_checked_and_measured_beside_ours_and_a_failure_is_listed(short):
    wanting("wrk", "taskset")
    tools = short / "bin"  # everything the run needs but Java
    tools.mkdir()
    for name in ("wrk", "taskset"):
        (tools / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [
            *(sys.executable, RUN, "--only", "fastapi,mosec,torchserve", "--models", "S"),
            *("--connections", "8", "--rounds", "2", "--seconds", "1", "--json"),
        ],
        cwd=short,
        env={**os.environ, "PATH": str(tools), "TMPDIR": str(short)},
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS_S,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [section] = json.loads(done.stdout)["models"].values()
    lacking = "not installed: java"
    assert section["failed"] == {"TorchServe": lacking, "TorchServe unbatched": lacking}
    assert set(section["servers"]) == {
        *("modelworks", "modelworks again", "FastAPI", "mosec", "mosec unbatched"),
        *("mosec bytes", "mosec bytes unbatched"),
    }
    for name, facts in section["servers"].items():
        assert facts["ready_s"] > 0, name
        assert facts["pss_mb"] > 10, name
        for wire, points in facts["points"].items():
            point = points["8"]
            assert len(point["requests_s"]) == 2, (name, wire)
            assert min(point["requests_s"]) > 10, (name, wire)
            assert min(point["cpu_us"]) > 1, (name, wire)
            assert point["errors"] == 0, (name, wire)
    assert section["servers"]["mosec"]["packages"] >= 3
    assert not [entry.name for entry in Path("/proc").iterdir() if of_this_run(entry, short)]


def part(folder, models):
    """A part of a run that is saved into `folder`."""
    return subprocess.Popen(
        [
            *(sys.executable, RUN, "--only", "fastapi", "--models", models, "--save", "--into"),
            *(folder / "results", "--connections", "8", "--rounds", "1", "--seconds", "1"),
        ],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_run_by_parts_is_merged_and_one_that_is_ended_loses_nothing_and_leaves_nothing(short):
    wanting("wrk", "taskset")
    first = part(short, "S")
    words = first.communicate(timeout=ENDS_S)[1]
    assert first.returncode == 0, words[-2000:]
    kept = json.loads((short / "results" / "peers.json").read_text())["models"]
    assert set(kept["S"]["servers"]) == {"modelworks", "modelworks again", "FastAPI"}

    ended = part(short, "M,S")  # S would be replaced after M
    for line in ended.stderr:
        if "M modelworks again: ready" in line:
            break
    assert any(of_this_run(entry, short) for entry in Path("/proc").iterdir())
    ended.terminate()
    ended.communicate(timeout=120)
    assert ended.returncode == 143
    assert json.loads((short / "results" / "peers.json").read_text())["models"] == kept
    assert not [entry.name for entry in Path("/proc").iterdir() if of_this_run(entry, short)]

    second = part(short, "M")
    words = second.communicate(timeout=ENDS_S)[1]
    assert second.returncode == 0, words[-2000:]
    both = json.loads((short / "results" / "peers.json").read_text())["models"]
    assert list(both) == ["S", "M"]
    assert both["S"] == kept["S"]
    assert both["M"]["at"] > kept["S"]["at"]
    assert both["M"]["servers"]["FastAPI"]["points"]["binary"]["8"]["errors"] == 0
    tables = (short / "results" / "peers.md").read_text()
    assert "| server | S, 8 conn. | M, 8 conn. |" in tables
    assert (short / "results" / "peers.svg").exists()


def test_a_narrower_run_is_refused_before_it_measures(short):
    (short / "results").mkdir()
    section = {"servers": {"modelworks": {}, "modelworks again": {}, "mosec": {}}, "failed": {}}
    document = json.dumps({"models": {"S": section}})
    (short / "results" / "peers.json").write_text(document)
    refused = part(short, "S")
    words = refused.communicate(timeout=120)[1]
    assert refused.returncode == 1
    assert "servers that this run leaves out (mosec): leave --only out" in words
    assert (short / "results" / "peers.json").read_text() == document


def of_this_run(entry, folder):
    try:
        words = (entry / "environ").read_bytes()
    except OSError:
        return False
    return b"MODELWORKS_PEER=" in words and str(folder).encode() in words


def test_a_server_that_answers_wrongly_or_ends_is_not_measured(tmp_path):
    sys.path.append(str(ROOT))
    from benchmarks.peers import asking, environments, models
    from benchmarks.peers.processes import Tree
    from benchmarks.peers.wires import Wire, plain_json

    model = models.make("S", environments.cache())
    ended = Tree([sys.executable, "-c", "raise OSError('no port')"], dict(os.environ), tmp_path, 0)
    ended.start()
    wire = plain_json("/", model)
    with pytest.raises(environments.MissingError, match="ended with 1: OSError: no port"):
        asking.until_ready(ended, 1, wire, model, seconds=60)
    ended.end()

    liar = (
        "import http.server as h, sys\n"
        "class A(h.BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        self.rfile.read(int(self.headers['Content-Length']))\n"
        "        self.send_response(200); self.end_headers()\n"
        '        self.wfile.write(b\'{"label": [1], "probabilities": [0.5, 0.5]}\')\n'
        "    def log_message(self, *_): pass\n"
        "s = h.ThreadingHTTPServer(('127.0.0.1', 0), A)\n"
        "open('port', 'w').write(str(s.server_port)); s.serve_forever()\n"
    )
    tree = Tree([sys.executable, "-c", liar], dict(os.environ), tmp_path, 0)
    tree.end()  # what was not started has nothing to end
    try:
        tree.start()
        port = wait_for(tmp_path / "port")
        with pytest.raises(environments.MissingError, match=r"not ready in 1 s \(a wrong answer\)"):
            asking.until_ready(tree, port, wire, model, seconds=1)
        with pytest.raises(asking.WrongError, match="256 of 256 answers are not onnxruntime's"):
            asking.check(port, wire, model)
        lost = Wire("/", wire.encode, lambda *_: {}["gone"])
        with pytest.raises(asking.WrongError, match="KeyError"):
            asking.check(port, lost, model)
    finally:
        tree.end()
    assert not tree.pids()


def wait_for(path):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError("it did not listen")
