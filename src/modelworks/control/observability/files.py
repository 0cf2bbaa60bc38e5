"""Files that are generated into a folder: written once, kept up to date, never over a change."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from modelworks.core.errors import ConflictError, InvalidError
from modelworks.core.files import replace_text

NOTE: Final = ".modelworks.json"
"""What was written, by digest: a file that is still as it was written may be replaced."""


class Outcome(StrEnum):
    """What became of a file."""

    WRITTEN = "written"
    REPLACED = "replaced"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Written:
    """One file.

    Attributes:
        path: below the folder.
        outcome: what became of it.
    """

    path: str
    outcome: Outcome


def write_files(folder: Path, texts: Mapping[str, str], *, force: bool) -> tuple[Written, ...]:
    """Write them all, or none.

    Args:
        folder: made where it is not there.
        texts: path below the folder -> content.
        force: replace what somebody has changed, too.

    Raises:
        ConflictError: a file is there that is not as it was written last; the message names it.
        InvalidError: the folder cannot be written.
    """
    try:
        known = _read_note(folder)
        found = {
            path: _outcome(folder / path, text, known.get(path)) for path, text in texts.items()
        }
        changed = [path for path, outcome in found.items() if outcome is None]
        if changed and not force:
            raise ConflictError(
                f"{folder / changed[0]} was changed by hand"
                + (f", and {len(changed) - 1} more" if changed[1:] else "")
                + ": --force replaces it, -o DIR writes beside it; nothing was written"
            )
        for path, text in texts.items():
            if found[path] is not Outcome.SAME:
                replace_text(folder / path, text, 0o755)
                (folder / path).chmod(0o644)
        note = known | {path: _digest(text) for path, text in texts.items()}
        told = json.dumps(dict(sorted(note.items())), indent=1) + "\n"
        if note != known:
            replace_text(folder / NOTE, told, 0o755)
    except OSError as error:
        raise InvalidError(f"{folder} cannot be written: {error.strerror or error}") from error
    return tuple(
        Written(path, Outcome.REPLACED if outcome is None else outcome)
        for path, outcome in found.items()
    )


def _outcome(path: Path, text: str, written: str | None) -> Outcome | None:
    """What is to become of a file; None = somebody has changed it."""
    try:
        there = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Outcome.WRITTEN
    except UnicodeDecodeError:
        return None
    if there == text:
        return Outcome.SAME
    return Outcome.REPLACED if _digest(there) == written else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_note(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / NOTE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
