"""Records that a manifest asks for, on this machine: by the commands that a user types."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from modelworks.core.local_folder import Layout, replicas_of
from modelworks.core.processes import descendants
from modelworks.protocol.records.kept import noted_days
from modelworks.testing import onnx_models
from store_servers import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
MANIFEST = """\
kind: Deployment
metadata: {{name: front}}
spec:
  model: fraud
  target: local
  access: {{port: {port}, keys: {{file: {keys}}}}}
  probes: {{period_s: 1}}
  strategy: {{drain_s: 5}}
  monitoring:
    records:
      sample: 1
      subject: header:X-User
      fields: [{{field: header:X-User, act: {act}}}, {{field: {field}, act: drop}}]
"""


class Desk:
    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.key = ""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MODELWORKS_")}
        self.environ = kept | {"MODELWORKS_HOME": str(folder / "home")}

    def type(self, *words, codes=(0,)):
        done = subprocess.run(
            [sys.executable, "-m", "modelworks.cli.main", *words, "--json"],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return json.loads(done.stdout) if done.returncode == 0 else done.stdout + done.stderr

    def write(self, act, field="x"):
        keys = self.folder / "keys"
        text = MANIFEST.format(port=self.port, keys=keys, act=act, field=field)
        (self.folder / "modelworks.yaml").write_text(text)

    def ask(self, name, user="ana-7"):
        entry = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v2/models/fraud/infer",
            json.dumps({"id": name, "inputs": [entry]}).encode(),
            {"X-User": user, "Authorization": f"Bearer {self.key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    def records(self, count):
        """So many, by their id, once they are in the store."""
        end = time.monotonic() + 60
        while (count := count - self.type("records", "compact")["records"]) > 0:
            assert time.monotonic() < end, f"{count} are missing"
            time.sleep(0.5)
        return {one["id"]: one for one in self.type("records", "query", "SELECT * FROM records")}


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    onnx_models.double(tmp_path / "model.onnx")
    desk.type("import", "model.onnx", "--name", "fraud")
    made = desk.type("keys", "add", "shop", "--file", "keys")
    desk.key = made["key"]
    yield desk
    if desk.type("status", codes=(0, 6))["deployments"]:
        desk.type("delete", "--deployment", "front", "--yes")


def test_records_carry_revision_and_caller_and_a_changed_policy_is_another_revision(desk):
    desk.write("hash", field="incme")
    said = desk.type("plan", codes=(4,))
    assert "modelworks.yaml:13:52: " in said
    assert "spec.monitoring.records.fields[1].field: fraud:1.0.0 has no field 'incme'" in said

    desk.write("hash")
    desk.type("apply", "--yes")
    for number in range(3):
        desk.ask(f"first-{number}")
    desk.write("keep")
    [done] = desk.type("apply", "--yes")["documents"]
    assert done["serving"] == 2
    desk.ask("second")
    desk.type("rollback", "front")
    desk.ask("third")
    _kill_replica(desk)
    desk.type("apply", "--yes")
    desk.type("delete", "--deployment", "front", "--yes")

    found = desk.records(5)
    assert {name: one["revision"] for name, one in found.items()} == {
        **dict.fromkeys(("first-0", "first-1", "first-2", "third"), "front/1"),
        "second": "front/2",
    }
    assert {one["caller"] for one in found.values()} == {"shop"}
    assert {one["version"] for one in found.values()} == {"1.0.0"}
    assert found["second"]["subject"] == "ana-7"
    assert len(found["third"]["subject"]) == 64
    assert all(one["out.y"] == [2.0, 4.0, 6.0] for one in found.values())
    assert not any("in.x" in one for one in found.values())
    assert noted_days(Path(desk.environ["MODELWORKS_HOME"]) / "records") == {"fraud": 30}
    assert desk.type("records", "erase", "ana-7", "--yes")["records"] == 5


def _kill_replica(desk):
    """Server and logger, a moment after they answered; what was answered is written by then."""
    time.sleep(1.0)
    layout = Layout(Path(desk.environ["MODELWORKS_HOME"]) / "targets" / "local" / "front")
    [pid] = replicas_of(layout.folder)
    for one in descendants(pid):
        os.kill(one, signal.SIGKILL)
