"""Modules compiled beforehand: a server is ready in half the time, on a root it cannot write to."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelworks.core.errors import CrashedError
from modelworks.packaging import bytecode_child
from modelworks.packaging.oci import Entry
from modelworks.packaging.oci.layer import tree
from modelworks.packaging.wheels import Wheel

WORK: Final = ".work-"
"""What the names of folders begin with that a killed process may leave."""
_SECONDS: Final = 900.0  # a few on a machine that does nothing else


def fits(python: tuple[int, int] | None) -> bool:
    """Whether what this Python compiles is good for that one."""
    return python == sys.version_info[:2] and sys.implementation.name == "cpython"


@contextmanager
def compiled(wheels: Sequence[Wheel], site: str, within: Path) -> Iterator[list[Entry]]:
    """The compiled modules of some wheels below the folder `site` of an image.

    Args:
        wheels: whose.
        site: of the image.
        within: a folder to work in.

    Raises:
        CrashedError: the compiler failed.
    """
    with tempfile.TemporaryDirectory(prefix=WORK, dir=within) as folder:
        child = [sys.executable, "-I", "-S", bytecode_child.__file__, folder, site]
        try:
            done = subprocess.run(
                [*child, *(str(wheel.path) for wheel in wheels)],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
                env={"PYTHONHASHSEED": "0"},
            )
        except subprocess.TimeoutExpired:
            raise CrashedError("the libraries were not compiled in time; try again") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
            raise CrashedError(f"the libraries cannot be compiled: {last}")
        yield list(tree(Path(folder), site))
