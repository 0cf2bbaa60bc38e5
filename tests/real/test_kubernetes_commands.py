"""The commands on a Kubernetes target, each a process: from a manifest to objects and back.

The cluster is the emulation of `kubernetes_server`.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from kubernetes_place import USUAL
from kubernetes_server import serving
from modelworks.testing import onnx_models

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]  # a dozen processes of the command line
RUN_S = 120
MANIFEST = """
apiVersion: modelworks/v1
kind: Deployment
metadata: {name: fraud, labels: {team: risk}}
spec:
  model: fraud
  target: {type: kubernetes, settings: {namespace: models}}
  image: {repository: registry.example.com/fraud, digest: "sha256:%s"}
  replicas: %d
  secrets: [{name: TOKEN, source: {secret: db}}]
"""


class Desk:
    """Somebody at a shell, in a folder with a manifest."""

    def __init__(self, folder, cluster, file):
        self.folder = folder
        self.cluster = cluster
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        home = str(folder / "home")
        self.environment = {**kept, "MODELWORKS_HOME": home, "KUBECONFIG": str(file)}

    def begin(self, *words):
        command = [sys.executable, "-m", "modelworks.cli.main", *words]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, *words, code=0):
        process = self.begin(*words)
        out, err = process.communicate(timeout=RUN_S)
        assert process.returncode == code, (out, err)
        return out

    def write(self, replicas=2, digit="a"):
        (self.folder / "modelworks.yaml").write_text(MANIFEST % (digit * 64, replicas))

    def deployed(self):
        return self.cluster.get("deployments")["spec"]


@pytest.fixture
def desk(tmp_path):
    with serving(tmp_path) as (cluster, file):
        found = Desk(tmp_path, cluster, file)
        onnx_models.double(tmp_path / "model.onnx", factor=2.0)
        found.says("import", "model.onnx", "--name", "fraud")
        found.write()
        yield found


def test_from_a_manifest_to_objects_and_back(desk):
    assert "honoured  spec.secrets[0].source.secret" in desk.says("plan")
    assert desk.cluster.writes == []
    assert "ready, revision 1 at http://fraud.models.svc:8080" in desk.says("apply", "--yes")
    ours = {name for name in desk.cluster.names() if not name.startswith("pods/")}
    assert ours == {*USUAL, "poddisruptionbudgets/fraud"}
    desk.cluster.writes.clear()
    desk.says("apply", "--yes")
    assert desk.cluster.writes == []

    desk.write(replicas=3, digit="b")
    desk.says("apply", "--yes")
    [server] = desk.deployed()["template"]["spec"]["containers"]
    assert server["image"].endswith("b" * 64)
    assert desk.deployed()["replicas"] == 3
    desk.says("rollback", "fraud", "--to", "1")
    [server] = desk.deployed()["template"]["spec"]["containers"]
    assert server["image"].endswith("a" * 64)

    desk.cluster.change("deployments", lambda live: live["spec"].update(replicas=7))
    seen = desk.says("status", "--json")
    assert "spec.replicas is 7" in seen
    assert "(kubectl)" in seen
    assert json.loads(seen)

    desk.says("delete", "--deployment", "fraud", "--yes")
    assert desk.cluster.names() == []


def test_an_apply_that_was_killed_completes(desk):
    process = desk.begin("apply", "--yes")
    end = time.monotonic() + RUN_S
    while len(desk.cluster.writes) < 4:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=RUN_S)
    assert "ready" in desk.says("apply", "--yes")
    assert desk.deployed()["replicas"] == 2
    assert desk.cluster.get("deployments")["status"]["availableReplicas"] == 2
