"""The demo's deployment: one manifest, another revision under load, and back."""

import socket
from pathlib import Path

from modelworks.cli.demo.callers import Callers
from modelworks.cli.demo.shell import Shell
from modelworks.core.errors import CrashedError

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
    callers = Callers(f"http://127.0.0.1:{port}/predict/cancer", row)
    try:
        with callers.asking():
            manifest.write_text(_MANIFEST.format(model=versions[1], port=port))
            shell.say(f"(the manifest says {versions[1]} now, and callers do not pause)")
            shell.modelworks("apply", "--yes")
            shell.modelworks("rollback", "cancer")
            shell.modelworks("status")
    finally:
        shell.modelworks("delete", "-f", "modelworks.yaml", "--yes")
    shell.say(f"  {callers.told}")
    if callers.failed or len(callers.versions) != len(versions):
        raise CrashedError(f"two versions were to answer: {callers.told}; {callers.failed[:1]}")


def _free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
