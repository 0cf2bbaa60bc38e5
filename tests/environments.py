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
import sysconfig
from pathlib import Path

import pytest

from modelworks.core.errors import ModelworksError
from modelworks.ext.importers.keras import pins
from modelworks.sandbox.environments import make

TENSORFLOW = pins.requirements()
"""What Modelworks itself reads TensorFlow's files in; the converter that writes LiteRT is in it."""


def made(name: str, wanted: tuple[str, ...], maker: str, *, beside: bool = False) -> Path:
    """The folder that a script of `tests/makers` fills in an environment of its own.

    Kept by the requirements and the script's own text; made once.

    Args:
        name: of the framework.
        wanted: requirement lines of the environment.
        maker: name of the script, called with an empty folder.
        beside: the script gets the folder of our own libraries too, to put it last on its path:
            for tools that write files of frameworks which are installed here.
    """
    python = environment(name, wanted)
    if not beside:
        return _filled(python, wanted, maker)
    return _filled(python, (*wanted, *_versions()), maker, sysconfig.get_path("purelib"))


def made_here(maker: str) -> Path:
    """The same, with the Python that runs the tests; kept by its libraries' versions too."""
    return _filled(Path(sys.executable), _versions(), maker)


def _versions() -> tuple[str, ...]:
    return tuple(sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions()))


def _filled(python: Path, wanted: tuple[str, ...], maker: str, *more: str) -> Path:
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
            command = [python, "-W", "ignore", script, folder, *more]
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
    if wanted == TENSORFLOW:
        return tensorflow()
    key = hashlib.sha256(" ".join((sys.version, *wanted)).encode()).hexdigest()[:16]
    cache = _cache()
    folder = cache / key
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(name, wanted, folder)
    return folder / "bin" / "python"


def kept() -> Path:
    """The folder of environments that tests give to Modelworks as its own."""
    return _cache() / "environments"


def tensorflow() -> Path:
    """The Python of TensorFlow's environment, made as Modelworks makes it."""
    try:
        return make(TENSORFLOW, kept())
    except ModelworksError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(error.message)
        pytest.skip(error.message)


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
