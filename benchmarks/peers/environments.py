"""Each peer's own virtual environment, made from its lock file, kept by the lock's hash.

An environment lies in the cache folder (`~/.cache/modelworks-peers`), never in the checkout, and is
made once. What could not be made is a reason in the table, not an end of the run.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_S = 1800
NOT_THEIRS = ("pip", "setuptools", "wheel")
TORCH = "torch==2.13.0"
"""Installed first where a peer wants it: of its CPU build, so that nothing brings CUDA."""


class MissingError(Exception):
    """This peer cannot run here; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An installed peer.

    Attributes:
        python: its interpreter.
        megabytes: everything pip brought, pip itself not counted.
        packages: how many distributions that is.
        versions: of each, by name.
        roots: the ones that `requirements.in` names.
    """

    python: Path
    megabytes: float
    packages: int
    versions: dict[str, str]
    roots: tuple[str, ...]


def cache():
    """Where environments and models are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = home / "modelworks-peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environment(folder):
    """The environment of the adapter in `folder`, made if it is not there.

    Raises:
        MissingError: pip could not bring it.
    """
    lock = folder / "requirements.lock"
    if not lock.exists():
        raise MissingError(f"no {lock.name}; write it with: run.py --lock {folder.name}")
    words = f"{sys.version}\n{lock.read_text()}"
    place = cache() / f"{folder.name}-{hashlib.sha256(words.encode()).hexdigest()[:16]}"
    with place.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (place / "complete.json").exists():
            _make(place, ["-r", str(lock)], lock.read_text())
            (place / "complete.json").write_text(json.dumps(_weigh(place)))
    told = json.loads((place / "complete.json").read_text())
    return Environment(place / "bin" / "python", **told, roots=roots(folder))


def roots(folder):
    """Names that `requirements.in` asks for."""
    lines = (folder / "requirements.in").read_text().splitlines()
    names = (re.split(r"[\[<>=!~; ]", line)[0] for line in lines if not line.startswith("#"))
    return tuple(name for name in names if name)


def write_lock(folder):
    """Resolve `requirements.in` to `requirements.lock`, exact versions of everything.

    Raises:
        MissingError: pip could not.
    """
    wanted = folder / "requirements.in"
    place = cache() / f"lock-{folder.name}"
    try:
        _make(place, ["-r", str(wanted)], wanted.read_text())
        found = _weigh(place)["versions"]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    lines = sorted((f"{name}=={version}" for name, version in found.items()), key=str.casefold)
    (folder / "requirements.lock").write_text("\n".join(lines) + "\n")


def _make(place, wanted, words):
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=INSTALL_S)
    pip = [place / "bin" / "python", "-m", "pip", "install", "--quiet"]
    steps = [[*pip, *wanted]]
    if "torch==" in words:
        steps.insert(0, [*pip, TORCH])
    for step in steps:
        try:
            done = subprocess.run(
                step, capture_output=True, text=True, check=False, timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired:
            raise MissingError(f"pip took longer than {INSTALL_S} s") from None
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            raise MissingError(f"pip: {_reason(done.stderr)}")


def _reason(words):
    lines = [line for line in words.splitlines() if line.startswith("ERROR")]
    return (lines or words.splitlines() or ["no word"])[-1].removeprefix("ERROR: ")[:300]


def _weigh(place):
    asked = [place / "bin" / "python", "-m", "pip", "list", "--format", "json"]
    listed = subprocess.run(asked, check=True, capture_output=True, timeout=INSTALL_S)
    versions = {
        each["name"]: each["version"].partition("+")[0]
        for each in json.loads(listed.stdout)
        if each["name"] not in NOT_THEIRS
    }
    [packages] = (place / "lib").glob("python3*/site-packages")
    skipped = tuple(str(packages / name) for name in NOT_THEIRS)
    size = sum(
        path.lstat().st_size
        for path in packages.rglob("*")
        if path.is_file() and not str(path).startswith(skipped)
    )
    return {"megabytes": round(size / 1e6, 1), "packages": len(versions), "versions": versions}
