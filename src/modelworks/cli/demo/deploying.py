"""The demo's deployment: one manifest, another revision under load, and back."""

import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from modelworks.cli.demo.shell import Shell
from modelworks.core.errors import CrashedError, ModelworksError
from modelworks.measure.exchange import exchange
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import parse_target

_MANIFEST = """\
apiVersion: modelworks/v1
kind: Deployment
metadata: {{name: cancer}}
spec:
  model: {model}
  target: local
  replicas: 2
  access: {{port: {port}}}
  batching: {{max_batch_size: 32}}
  resources: {{memory: 512Mi}}
"""


@dataclass
class _Asked:
    """Callers that never pause.

    Attributes:
        url: of the prediction.
        body: of every request.
        versions: that answered, and how often.
        failed: what went wrong.
    """

    url: str
    body: bytes
    versions: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Requests on fresh connections until told to stop."""
        target = parse_target(self.url)
        wire = request_bytes(target, Body(self.body))
        while not self.over.is_set():
            try:
                answer = exchange(target, wire, 30.0)
                version = json.loads(answer.body)["version"] if answer.good else ""
            except (ModelworksError, ValueError, KeyError) as error:
                self.failed.append(str(error))
                continue
            if not version:
                self.failed.append(f"status {answer.status}")
            self.versions[version] = self.versions.get(version, 0) + 1


def deploy(shell: Shell, folder: Path, versions: tuple[str, str], row: object) -> None:
    """Plan, apply, another version under load, back, delete.

    Args:
        shell: runs the commands.
        folder: where it does.
        versions: `name:number` of the first and of the one that follows.
        row: of a request.

    Raises:
        CrashedError: a request failed meanwhile.
    """
    port = _free()
    manifest = folder / "modelworks.yaml"
    manifest.write_text(_MANIFEST.format(model=versions[0], port=port))
    shell.say("$ cat modelworks.yaml")
    shell.say("  " + manifest.read_text().rstrip().replace("\n", "\n  "))
    shell.modelworks("plan")
    shell.modelworks("apply", "--yes")
    url = f"http://127.0.0.1:{port}/predict/cancer"
    asked = _Asked(url, json.dumps({"rows": [row]}).encode())
    thread = threading.Thread(target=asked.run, daemon=True)
    thread.start()
    try:
        manifest.write_text(_MANIFEST.format(model=versions[1], port=port))
        shell.say(f"(the manifest says {versions[1]} now, and callers do not pause)")
        shell.modelworks("apply", "--yes")
        shell.modelworks("rollback", "cancer")
        shell.modelworks("status")
    finally:
        asked.over.set()
        thread.join(timeout=30)
        shell.modelworks("delete", "-f", "modelworks.yaml", "--yes")
    told = ", ".join(f"{count} by {version}" for version, count in asked.versions.items())
    shell.say(f"  answered: {told}; failed: {len(asked.failed)}")
    if asked.failed or len(asked.versions) != len(versions):
        raise CrashedError(f"two versions were to answer: {told}; {asked.failed[:1]}")


def _free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
