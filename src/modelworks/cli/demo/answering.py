"""The demo's other answers: three models as one, the same rows as a job, a text in pieces."""

import json
from contextlib import closing
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
    server = shell.serve("serve", "committee", TELLER, "--jobs", "jobs", "--port", str(port))
    try:
        url = str(server.said["url"])
        with closing(DataPlane(url)) as plane:
            now = _committee(shell, plane, rows, votes)
            _job(shell, folder, url, rows, now)
            return _told(shell, plane, url)
    finally:
        server.stop()


def _values(rows: list[Any]) -> list[list[float]]:
    return [list(map(float, row.values())) for row in rows]


def _committee(
    shell: Shell, plane: DataPlane, rows: list[Any], votes: list[list[str]]
) -> list[str]:
    """Its labels: of each row the one that most originals gave."""
    found = plane.infer("committee", {"X": _values(rows)})["label"]
    now = [one.decode() for one in found.ravel()]
    wanted = [max(told, key=told.count) for told in zip(*votes, strict=True)]
    same = sum(one == other for one, other in zip(now, wanted, strict=True))
    shell.say(f"  the label of most originals on {same} of {len(rows)} unseen rows")
    if same != len(rows):
        raise CrashedError(f"the committee outvotes most originals on {len(rows) - same} rows")
    return now


def _job(shell: Shell, folder: Path, url: str, rows: list[Any], now: list[str]) -> None:
    """The same rows, later."""
    shape = [len(rows), len(rows[0])]
    tensor = {"name": "X", "datatype": "FP32", "shape": shape, "data": _values(rows)}
    (folder / "rows.json").write_text(json.dumps({"inputs": [tensor]}))
    asked = ("committee", "--request", "rows.json", "--wait", "60", "--url", url)
    later = json.loads(shell.modelworks("jobs", "submit", *asked, show=2))["outputs"][0]["data"]
    if later != now:
        raise CrashedError("the job says something else than the request")


def _told(shell: Shell, plane: DataPlane, url: str) -> int:
    asked = ("--max-tokens", str(_TOKENS), "--seed", "1", "--url", url)
    shell.modelworks("generate", TELLER, _PROMPT, *asked)
    pieces = list(plane.generate_stream(TELLER, _PROMPT, max_tokens=_TOKENS, seed=1))
    shell.say(f"  the same again, as events: {len(pieces)} pieces")
    if len([one for one in pieces if one["text_output"]]) < 2:
        raise CrashedError("the text came in one piece")
    return len(pieces)
