"""The demo's other answers: three models as one, the same rows as a job, a text in pieces."""

import json
from pathlib import Path
from typing import Any, Final

from modelworks.cli.demo.shell import Shell
from modelworks.client.data import DataPlane
from modelworks.core.errors import CrashedError

TELLER: Final = "teller"
_GRAPH: Final = """\
apiVersion: modelworks/v1
kind: Graph
metadata: {name: committee}
spec:
  inputs:
    - {name: X, datatype: FP32, shape: [null, 30]}
  steps:
    - {name: small, model: "cancer:1.0.0", inputs: {input: $input.X}}
    - {name: large, model: "cancer:1.1.0", inputs: {input: $input.X}}
    - {name: wide, cast: {of: $input.X, to: FP64}}
    - {name: near, model: neighbours, inputs: {input: steps.wide}}
    - {name: most, vote: {of: [steps.small.label, steps.large.label, steps.near.label]}}
  outputs: {label: steps.most}
"""
_COLUMNS: Final = 30
_PROMPT: Final = "Features are computed"
_TOKENS: Final = 24


def answer(shell: Shell, folder: Path, rows: list[Any], votes: list[list[str]], port: int) -> int:
    """A committee of three models, now and later; a text that comes piece by piece.

    Args:
        shell: runs the commands; `teller` lies in its folder.
        folder: that one.
        rows: that the models have not seen, by feature.
        votes: each original's labels for those rows.
        port: of the server; 0 = a free one.

    Returns:
        The pieces that the text came in.

    Raises:
        CrashedError: a row has not the label of most originals, the job says something else, or
            the text came in one piece.
    """
    (folder / "committee.yaml").write_text(_GRAPH)
    shell.modelworks("graph", "check", "committee.yaml", show=9)
    shell.modelworks("graph", "add", "committee.yaml")
    shell.modelworks("import", TELLER, "--name", TELLER, "--trust", show=3)
    named = ("serve", "committee", TELLER, "--jobs", "jobs", "--port", str(port))
    server = shell.serve(*named)
    try:
        url = str(server.said["url"])
        _committee(shell, folder, url, rows, votes)
        return _told(shell, url)
    finally:
        server.stop()


def _committee(
    shell: Shell, folder: Path, url: str, rows: list[Any], votes: list[list[str]]
) -> None:
    """The same rows at once and as a job: of each the label that most originals gave."""
    values = [list(map(float, row.values())) for row in rows]
    plane = DataPlane(url)
    try:
        now = [one.decode() for one in plane.infer("committee", {"X": values})["label"].ravel()]
    finally:
        plane.close()
    wanted = [max(told, key=told.count) for told in zip(*votes, strict=True)]
    same = sum(one == other for one, other in zip(now, wanted, strict=True))
    shell.say(f"  the label of most originals on {same} of {len(rows)} unseen rows")
    if same != len(rows):
        raise CrashedError(f"the committee outvotes most originals on {len(rows) - same} rows")
    tensor = {"name": "X", "datatype": "FP32", "shape": [len(rows), _COLUMNS], "data": values}
    (folder / "rows.json").write_text(json.dumps({"inputs": [tensor]}))
    asked = ("committee", "--request", "rows.json", "--wait", "60", "--url", url)
    later = json.loads(shell.modelworks("jobs", "submit", *asked, show=2))["outputs"][0]["data"]
    if later != now:
        raise CrashedError("the job says something else than the request")


def _told(shell: Shell, url: str) -> int:
    asked = ("--max-tokens", str(_TOKENS), "--seed", "1", "--url", url)
    shell.modelworks("generate", TELLER, _PROMPT, *asked)
    plane = DataPlane(url)
    try:
        pieces = list(plane.generate_stream(TELLER, _PROMPT, max_tokens=_TOKENS, seed=1))
    finally:
        plane.close()
    shell.say(f"  the same again, as events: {len(pieces)} pieces")
    if len([one for one in pieces if one["text_output"]]) < 2:
        raise CrashedError("the text came in one piece")
    return len(pieces)
