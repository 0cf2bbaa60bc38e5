"""The demo's optimization: the fastest form of a model that still gives the same answers."""

from typing import Any, Final

from modelworks.cli.demo.shell import Shell
from modelworks.client.data import DataPlane
from modelworks.core.errors import CrashedError

_BUDGET: Final = "12s"


def optimize(shell: Shell, ref: str, rows: list[Any], answers: list[str], port: int) -> str:
    """Look for a faster form within seconds, serve what is fastest here, compare its answers.

    Args:
        shell: runs the commands; `cancer-known.csv` lies in its folder.
        ref: of the version.
        rows: that the model has not seen.
        answers: the original's labels for those rows.
        port: of the server; 0 = a free one.

    Returns:
        What was served: `cancer:1.1.0#trees`, or the version itself where nothing was better here.

    Raises:
        CrashedError: the form says something else than the original.
    """
    told = ("--eval", "cancer-known.csv", "--label", "diagnosis", "--passes", "trees")
    shell.modelworks("optimize", ref, *told, "--batches", "1,64", "--budget", _BUDGET, show=12)
    shell.modelworks("variants", ref, show=6)
    server = shell.serve("serve", ref, "--variant", "fastest", "--port", str(port))
    try:
        (form,) = server.said["models"]
        plane = DataPlane(str(server.said["url"]))
        try:
            said = [str(one["label"]) for one in plane.predict(ref, rows)["predictions"]]
        finally:
            plane.close()
    finally:
        server.stop()
    same = sum(one == other for one, other in zip(said, answers, strict=True))
    shell.say(f"  {form}: the original's label on {same} of {len(rows)} unseen rows")
    if same != len(rows):
        raise CrashedError(f"{form} gives another label than the original on {len(rows) - same}")
    return str(form)
