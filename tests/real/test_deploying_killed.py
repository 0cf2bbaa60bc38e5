"""`modelworks apply` as a user types it: killed at any moment and typed again, it completes."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from modelworks.testing import onnx_models
from store_servers import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

MANIFEST = """\
kind: Deployment
apiVersion: modelworks/v1
metadata: {{name: fraud}}
spec:
  model: fraud:{version}
  target: local
  replicas: 2
  access: {{port: {port}}}
  strategy: {{drain_s: 5}}
"""


class Desk:
    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MODELWORKS_")}
        self.environ = kept | {"MODELWORKS_HOME": str(folder / "home")}

    def type(self, *words, codes=(0,)):
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return json.loads(done.stdout)

    @staticmethod
    def command(*words):
        return [sys.executable, "-m", "modelworks.cli.main", *words, "--json"]

    def killed(self, after, *words):
        """Typed, and killed so many seconds after its first word of progress."""
        process = subprocess.Popen(
            self.command(*words)[:-1],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process.stderr:
            process.stderr.readline()
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
            process.wait(30)

    def write(self, version):
        text = MANIFEST.format(version=version, port=self.port)
        (self.folder / "modelworks.yaml").write_text(text)

    def call(self):
        entry = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 1, 1]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v2/models/fraud/infer",
            json.dumps({"inputs": [entry]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["outputs"][0]["data"][0]


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    for factor in (2.0, 3.0):
        onnx_models.double(tmp_path / "model.onnx", factor=factor)
        desk.type("import", "model.onnx", "--name", "fraud")
    yield desk
    if desk.type("status", codes=(0, 6))["deployments"]:
        desk.type("delete", "--deployment", "fraud", "--yes")


def test_a_killed_apply_completes_when_it_is_typed_again(desk):
    desk.write("1.0.0")
    desk.killed(0.0, "apply", "--yes")
    done = desk.type("apply", "--yes")
    assert [(one["state"], one["serving"]) for one in done["documents"]] == [("ready", 1)]
    assert desk.call() == 2.0
    desk.write("1.1.0")
    for after in (0.0, 0.5, 1.5):
        desk.killed(after, "apply", "--yes")
        assert desk.call() in {2.0, 3.0}  # somebody answers at every moment
    done = desk.type("apply", "--yes")
    assert [(one["state"], one["serving"]) for one in done["documents"]] == [("ready", 2)]
    assert desk.call() == 3.0
    shown = desk.type("status", "fraud")
    assert [(one["revision"], one["phase"]) for one in shown["seen"]] == [(2, "ready")] * 2
    again = desk.type("apply", "--yes")
    assert again == done
    after = desk.type("status", "fraud")
    assert (after["seen"], after["events"]) == (shown["seen"], shown["events"])
    assert desk.type("diff")["same"]


def test_a_killed_delete_completes_when_it_is_typed_again(desk):
    desk.write("1.0.0")
    desk.type("apply", "--yes")
    desk.killed(0.0, "delete", "--deployment", "fraud", "--yes")
    if desk.type("status", codes=(0, 6))["deployments"]:
        desk.type("delete", "--deployment", "fraud", "--yes")
    assert desk.type("status") == {"deployments": [], "routes": []}
    with pytest.raises(OSError, match="refused"):
        desk.call()
    assert list((desk.folder / "home" / "targets" / "local").iterdir()) == []
