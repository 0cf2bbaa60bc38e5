"""The last words of a process that ended, from its log."""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Final

_LOGGED: Final = re.compile(r"^[\d-]+ [\d:,]+ [A-Z]+ \d+ [\w.]+ |^[A-Z]+ [\w.]+: ")
"""What the parts' logs put before a message."""
_TAIL: Final = 4096
_LONGEST: Final = 500


def last_words(log: Path) -> str:
    """Of the log's last line; "" = it said nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return plain(lines[-1]) if lines else ""


def plain(line: str) -> str:
    """A logged line without what the log put before it; of a JSON line, the message."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError, AttributeError):
            line = str(json.loads(line).get("message", line))
    return _LOGGED.sub("", line).removeprefix("error: ")[:_LONGEST]
