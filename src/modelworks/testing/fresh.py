"""A Python of its own for what the process that runs the tests cannot tell of itself."""

import json
import subprocess
import sys
from typing import Any


def told(
    code: str,
    *arguments: object,
    environment: dict[str, str] | None = None,
    timeout_s: float = 100,
) -> Any:
    """What a script says in a fresh interpreter, as JSON on its last line.

    For memory above all: what earlier tests freed is used again before the process grows, so that
    its own numbers say little about the test that reads them.

    Args:
        code: the script; `sys.argv[1:]` are the arguments.
        arguments: given to it as text.
        environment: its variables; those of this process unless given.
        timeout_s: seconds until it is killed.

    Raises:
        AssertionError: it failed; with what it wrote last.
        subprocess.TimeoutExpired: it took too long.
    """
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
