"""For how long records of a model are kept: a note a model, beside the segments.

Whoever records a model says so by its policy, and its logger notes it; whoever deletes what is too
old knows none of the servers.
"""

from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from modelworks.core.files import replace_text

DAYS: Final = "days"
"""Folder of the notes, in that of the records."""


def note_days(folder: Path, model: str, days: int) -> None:
    """Note what a model's policy says; the same is not written again.

    Args:
        folder: of the records.
        model: name.
        days: 0 = for ever.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / DAYS / quote(model, safe="")
    if not path.exists() or path.read_bytes() != b"%d" % days:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_text(path, f"{days}", 0o700)


def noted_days(folder: Path) -> dict[str, int]:
    """Days by model; a note that cannot be read is as if it were not there."""
    found = {}
    for path in (folder / DAYS).glob("[!.]*"):  # not those that are being written
        try:
            found[unquote(path.name)] = int(path.read_text())
        except (OSError, ValueError):
            continue
    return found
