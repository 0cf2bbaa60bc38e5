"""The demo's roll-out: a new version earns its traffic, and a broken one is rolled back."""

import time
from pathlib import Path
from typing import Final

from modelworks.cli.demo.callers import Callers
from modelworks.cli.demo.shell import Shell
from modelworks.core.errors import CrashedError

_MANIFEST: Final = """\
apiVersion: modelworks/v1
kind: Rollout
metadata: {{name: cancer-next}}
spec:
  route: cancer
  stable: {stable}
  candidate: {candidate}
  steps:
  - {{share: 30%, bake: 2s, sample: 30}}
  - {{share: 100%}}
  primary: {{metric: error_rate, margin: 5pp}}
  minimum_sample: 50
  max_duration: 5m
"""
_REQUEST_S: Final = 0.01
_RECORDS: Final = 100
_RECORDED_S: Final = 60.0


def roll_out(shell: Shell, folder: Path, versions: tuple[str, str], row: object, port: int) -> None:
    """Replay, roll out under traffic until it is promoted; then a drill with a broken candidate.

    Args:
        shell: runs the commands.
        folder: where it does.
        versions: `name:number` of the first and of the one that follows.
        row: of a request.
        port: of the server; 0 = a free one.

    Raises:
        CrashedError: a request failed meanwhile, or the new version was not promoted.
    """
    stable, candidate = (ref.partition(":")[2] for ref in versions)
    manifest = folder / "rollout.yaml"
    manifest.write_text(_MANIFEST.format(stable=stable, candidate=candidate))
    shell.say("$ cat rollout.yaml")
    shell.say("  " + manifest.read_text().rstrip().replace("\n", "\n  "))
    reason = "the next one has to earn it"
    shell.modelworks("alias", "set", "cancer@champion", stable, "--reason", reason)
    words = ("up", "--port", str(port), "--control-port", "0", "--record", "1")
    factory = shell.serve(*words)
    try:
        callers = Callers(f"{factory.said['server']}/predict/cancer", row, _REQUEST_S)
        with callers.asking():
            _recorded(shell)
            shell.modelworks("replay", versions[1], "--since", "1h", "--speed", "max", show=12)
            shell.modelworks("rollout", "start", "-f", "rollout.yaml")
            shell.modelworks("rollout", "watch", "cancer-next", show=12)
        shell.modelworks("rollout", "history", "cancer-next", show=12)
        shell.say(f"  {callers.told}")
        phase = shell.ask("rollout", "status", "cancer-next")["rollout"]["phase"]
        if callers.failed or phase != "promoted":
            raise CrashedError(f"cancer-next is {phase}; {callers.told}; {callers.failed[:1]}")
    finally:
        factory.stop()
    shell.modelworks("drill", "-f", "rollout.yaml", "--fault", "failing", show=12)


def _recorded(shell: Shell) -> None:
    """Wait until some of what callers asked is in the store."""
    end = time.monotonic() + _RECORDED_S
    while time.monotonic() < end:
        shell.ask("records", "compact")
        held = [one for one in shell.ask("records", "list") if one["model"] == "cancer"]
        if sum(one["records"] for one in held) > _RECORDS:
            return
    raise CrashedError("what callers asked did not come to the store")
