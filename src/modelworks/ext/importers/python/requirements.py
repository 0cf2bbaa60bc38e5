"""The `requirements.txt` of a Python folder: pinned lines, or refused."""

import re
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.sandbox.environments import requirements

_FILE = "requirements.txt"
_LONGEST = 64 << 10
_PINNED = re.compile(r"===?\s*[A-Za-z0-9.+!_-]+\s*(?:;|$)")


def pinned_lines(folder: Path) -> tuple[str, ...]:
    """The requirement lines of a folder; empty where it has no file of them.

    Raises:
        InvalidError: a line that is no requirement, or that leaves the version open.
    """
    file = folder / _FILE
    if not file.is_file():
        return ()
    data = file.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidError(f"{_FILE} is no UTF-8 text", field="requirements") from error
    if len(data) > _LONGEST:
        raise InvalidError(f"{_FILE} is longer than {_LONGEST} bytes", field="requirements")
    lines = requirements(text.splitlines())
    for line in lines:
        if not _PINNED.search(line):
            name = re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]
            raise InvalidError(
                f"{_FILE}: '{line}' leaves the version open, and the model would change with the "
                f"day it is installed: pin it ({name}==1.2.3; pip freeze says what you have)",
                field="requirements",
            )
    return lines
