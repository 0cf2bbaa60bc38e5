"""The demo's watch: what a model is asked is recorded, and what moved is named first."""

from typing import Any, Final

from modelworks.cli.demo.shell import Shell
from modelworks.client.data import DataPlane
from modelworks.core.errors import CrashedError

SHIFTED: Final = "worst texture"
FACTOR: Final = 1.3
_REQUEST: Final = 11


def watch(shell: Shell, ref: str, rows: list[Any], port: int) -> str:
    """Serve with records, measure one feature wrongly, ask what drifted.

    Args:
        shell: runs the commands; `cancer-known.csv` lies in its folder.
        ref: of the version.
        rows: of people that the model has not seen, by feature.
        port: of the server; 0 = a free one.

    Returns:
        The feature that is named first.

    Raises:
        CrashedError: it is another than the one that was shifted.
    """
    known = ("--labels", "diagnosis", "--prediction", "out.label")
    shell.modelworks("reference", "build", "cancer-known.csv", "-o", "known.npz", *known)
    server = shell.serve("serve", ref, "--record", "1.0", "--port", str(port))
    try:
        shell.say(
            f"(an instrument reads '{SHIFTED}' {FACTOR - 1:.0%} too high: {len(rows)} people)"
        )
        plane = DataPlane(str(server.said["url"]))
        try:
            wrong = [{**row, SHIFTED: float(row[SHIFTED]) * FACTOR} for row in rows]
            for begin in range(0, len(wrong), _REQUEST):
                plane.predict(ref, wrong[begin : begin + _REQUEST])
        finally:
            plane.close()
    finally:
        server.stop()
    shell.modelworks("records", "compact")
    asked = ("drift", "--records", ref, "--reference", "known.npz", "--alone")
    told = shell.modelworks(*asked, show=6).splitlines()[0]
    if f"first {SHIFTED}" not in told:
        raise CrashedError(f"'{SHIFTED}' was shifted, and the report says: {told}")
    return SHIFTED
