"""How Python is started for a sandboxed process: which one, and with nothing of ours around it."""

import os
import site
import sys
from dataclasses import dataclass
from pathlib import Path

from modelworks.sandbox.environments import Launch, launch


@dataclass(frozen=True, slots=True)
class How:
    """A way to start it.

    Attributes:
        command: the interpreter and its flags; `-m MODULE ...` follows.
        path: for PYTHONPATH.
        reads: folders that it must be able to read, beside what it finds by itself.
    """

    command: tuple[str, ...]
    path: tuple[str, ...]
    reads: tuple[Path, ...]

    def environment(self, threads: int) -> dict[str, str]:
        """Only what Python and the numeric libraries must know.

        Args:
            threads: that numeric libraries may start.
        """
        found = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "PYTHONPATH": ":".join(self.path),
            "JOBLIB_MULTIPROCESSING": "0",
            "LOKY_MAX_CPU_COUNT": "1",
            "ORT_DISABLE_TELEMETRY": "1",
        }
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            found[name] = str(threads)
        return found


def how(interpreter: str = "") -> How:
    """How to start a Python.

    Args:
        interpreter: of an environment that `environments.make` made; empty = the one running here,
            with the libraries that are importable here.

    Raises:
        NotFoundError: that environment is gone.
    """
    if interpreter and Path(interpreter) != Path(sys.executable):
        found: Launch = launch(Path(interpreter))
        return How(found.command, found.path, found.reads)
    # The folder of the script that is running, and the present one, are the user's, not Python's.
    here = {Path.cwd(), Path(sys.argv[0] or ".").resolve().parent}
    path = [p for p in sys.path if Path(p).is_absolute() and ":" not in p and Path(p) not in here]
    flags = ["-P"] if site.ENABLE_USER_SITE else ["-P", "-s"]
    return How((sys.executable, *flags), tuple(path), ())
