"""Python environments of their own for tests: other frameworks, and older ones than ours.

Kept in the user's cache folder under a hash of the Python and of what was asked for, so that every
test that asks for the same gets the same one; made once, also where several tests ask at a time.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TENSORFLOW = ("tensorflow-cpu==2.21.0",)
"""With Keras 3; the converter that writes LiteRT files is in it."""


def made(name: str, wanted: tuple[str, ...], maker: str) -> Path:
    """The folder that a script of `tests/makers` fills in an environment of its own.

    Kept by the requirements and the script's own text; made once.

    Args:
        name: of the framework.
        wanted: requirement lines of the environment.
        maker: name of the script, called with an empty folder.
    """
    return _filled(environment(name, wanted), wanted, maker)


def made_here(maker: str) -> Path:
    """The same, with the Python that runs the tests; kept by its libraries' versions too."""
    versions = sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions())
    return _filled(Path(sys.executable), tuple(versions), maker)


def _filled(python: Path, wanted: tuple[str, ...], maker: str) -> Path:
    script = Path(__file__).resolve().parent / "makers" / maker
    text = script.read_text()
    key = hashlib.sha256(" ".join((sys.version, *wanted, text)).encode()).hexdigest()[:16]
    cache = _cache()
    folder = cache / f"made-{key}"
    with (cache / f"made-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            command = [python, "-W", "ignore", script, folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
            (folder / "complete").touch()
    return folder


def environment(name: str, wanted: tuple[str, ...]) -> Path:
    """The Python of an environment with exactly these requirements.

    Args:
        name: what to call it where it cannot be had.
        wanted: requirement lines.

    Returns:
        The interpreter. Where pip cannot bring the requirements the test is skipped, and fails
        with CI=true.
    """
    key = hashlib.sha256(" ".join((sys.version, *wanted)).encode()).hexdigest()[:16]
    cache = _cache()
    folder = cache / key
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(name, wanted, folder)
    return folder / "bin" / "python"


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelworks-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _make(name: str, wanted: tuple[str, ...], folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"])[-1]
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} cannot be installed: {last}")
        pytest.skip(f"{name} cannot be installed: {last}")
    (folder / "complete").touch()
