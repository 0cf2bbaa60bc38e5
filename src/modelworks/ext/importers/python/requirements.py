"""The `requirements.txt` of a Python folder: pinned lines, or refused."""

import re
from collections.abc import Iterable
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.sandbox.environments import requirements

_FILE = "requirements.txt"
_LONGEST = 64 << 10
_PINNED = re.compile(r"===?\s*[A-Za-z0-9.+!_-]+\s*(?:;|$)")


def pinned_lines(folder: Path, name: str = _FILE) -> tuple[str, ...]:
    """The requirement lines of a folder; empty where it has no file of them.

    Args:
        folder: that the file lies in.
        name: of the file.

    Raises:
        InvalidError: a line that is no requirement, or that leaves the version open.
    """
    file = folder / name
    if not file.is_file():
        return ()
    data = file.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidError(f"{name} is no UTF-8 text", field="requirements") from error
    if len(data) > _LONGEST:
        raise InvalidError(f"{name} is longer than {_LONGEST} bytes", field="requirements")
    return pinned(text.splitlines(), name)


def pinned(given: Iterable[str], file: str) -> tuple[str, ...]:
    """Requirement lines, each with its version.

    Args:
        given: lines, comments and blanks among them.
        file: that they are from, for messages.

    Raises:
        InvalidError: a line that is no requirement, or that leaves the version open.
    """
    lines = requirements(given)
    for line in lines:
        if not _PINNED.search(line):
            name = re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]
            raise InvalidError(
                f"{file}: '{line}' leaves the version open, and the model would change with the "
                f"day it is installed: pin it ({name}==1.2.3; pip freeze says what you have)",
                field="requirements",
            )
    return lines
