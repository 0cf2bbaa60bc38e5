"""Environments of their own, made from wheels of the test's own: nothing is fetched."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelworks.core.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from modelworks.sandbox import environments
from modelworks.sandbox.jobs import Job, Warm, run
from modelworks.sandbox.limits import Limits

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's"),
]

LINES = ("numpy==0.0.1", "tiny==1.0")
JOB = """
import importlib.metadata as metadata, os, site, sys
def look(arguments, say):
    import numpy, tiny
    from modelworks.plugins.load import available
    return {
        "numpy": numpy.VALUE, "tiny": tiny.VALUE, "importers": sorted(available("importers")),
        "version": metadata.version("tiny"), "flags": [sys.flags.no_site, sys.flags.safe_path],
        "file": tiny.__file__,
    }
"""


def wheel(folder: Path, name: str, version: str, files=None, requires=()) -> None:
    """A package with one module that holds a number."""
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    content = {
        f"{name}/__init__.py": "VALUE = 42\n",
        f"{about}/METADATA": metadata,
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(files or {}),
    }
    record = ""
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text)}\n"
    content[f"{about}/RECORD"] = record + f"{about}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        for path, text in content.items():
            file.writestr(path, text)


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "numpy", "0.0.1")
    wheel(folder, "tiny", "1.0")
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "environments"


def left(root: Path) -> list[str]:
    return [p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".visible")]


def job(tmp_path: Path, python: Path) -> Job:
    code, work = tmp_path / "code", tmp_path / "work"
    code.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    (code / "environment_job.py").write_text(JOB)
    return Job("environment_job:look", {}, work, Limits(), path=(code,), python=python)


def test_a_job_runs_in_it_and_sees_us_and_nothing_else_of_ours(tmp_path, wheels, root):
    steps = []
    python = environments.make(LINES, root, steps.append, wheels=wheels)
    found = run(job(tmp_path, python)).value
    assert found["numpy"] == found["tiny"] == 42
    assert found["version"] == "1.0"
    assert {"onnx", "sklearn", "keras"} <= set(found["importers"])
    assert found["flags"] == [1, True]
    assert Path(found["file"]).is_relative_to(python.parent.parent)
    assert steps[0].startswith("Making an environment for")
    with Warm(("json",), python=python) as host:
        assert host.run(job(tmp_path, python)).value == found
    with Warm(("json",)) as host:  # of another Python: in a process of its own
        assert host.run(job(tmp_path, python)).value == found


def test_it_is_made_once_and_found_again(wheels, root):
    first = environments.make(LINES, root, wheels=wheels)
    made = environments.listed(root)
    assert environments.make(tuple(reversed(LINES)), root, wheels=root / "absent") == first
    assert environments.find(LINES, root) == first
    assert environments.listed(root) == made
    assert made[0].requirements == LINES
    assert made[0].size_bytes > 1000
    assert environments.find(("tiny==2.0",), root) is None


def test_several_at_a_time_make_one(wheels, root):
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(environments.make, LINES, root, wheels=wheels) for _ in range(3)]
        assert len({call.result() for call in calls}) == 1
    assert len(environments.listed(root)) == 1


def test_nothing_of_a_package_runs_outside_the_walls(tmp_path, wheels, root):
    """Neither a .pth file, whose lines Python runs at start, nor the set-up of a source archive."""
    canary = tmp_path / "canary"
    code = f"import pathlib; pathlib.Path({str(canary)!r}).touch()\n"
    wheel(wheels, "trap", "1.0", {"trap.pth": code, "sitecustomize.py": code})
    python = environments.make((*LINES, "trap==1.0"), root, wheels=wheels)
    run(job(tmp_path, python))
    assert not canary.exists()
    source = tmp_path / "built-1.0"
    source.mkdir()
    (source / "setup.py").write_text(code + "from setuptools import setup; setup(name='built')")
    subprocess.run(
        ["tar", "-czf", wheels / "built-1.0.tar.gz", "built-1.0"], cwd=tmp_path, check=True
    )
    with pytest.raises(InvalidError, match="no wheel of built"):
        environments.make((*LINES, "built==1.0"), root, wheels=wheels)
    assert not canary.exists()


def test_a_whole_list_brings_nothing_else(wheels, root):
    wheel(wheels, "hungry", "1.0", requires=("absent==9.9",))
    lines = (*LINES, "hungry==1.0")
    with pytest.raises(InvalidError, match="no wheel of absent"):
        environments.make(lines, root, wheels=wheels)
    assert environments.make((environments.WHOLE, *lines), root, wheels=wheels).exists()


def test_what_cannot_be_had_is_said_in_one_line_and_leaves_nothing(wheels, root):
    with pytest.raises(InvalidError, match=r"no wheel of tiny==7\.0 is in") as caught:
        environments.make(("numpy==0.0.1", "tiny==7.0"), root, wheels=wheels)
    assert caught.value.field == "requirements"
    wheel(wheels, "left", "1.0", requires=("tiny==1.0",))
    wheel(wheels, "right", "1.0", requires=("tiny==2.0",))
    wheel(wheels, "tiny", "2.0")
    with pytest.raises(InvalidError, match="contradict") as caught:
        environments.make(("numpy==0.0.1", "left==1.0", "right==1.0"), root, wheels=wheels)
    assert "\n" not in caught.value.message
    assert left(root) == []


def test_a_deadline_ends_it_and_leaves_nothing(wheels, root):
    with pytest.raises(UnavailableError, match="not ready in time"):
        environments.make(LINES, root, wheels=wheels, timeout_s=0.0)
    assert left(root) == []


def test_a_killed_maker_leaves_nothing_that_counts(tmp_path, wheels, root):
    code = (
        "import sys; from pathlib import Path; from modelworks.sandbox import environments;"
        f"environments.make({LINES!r}, Path({str(root)!r}), wheels=Path({str(wheels)!r}))"
    )
    maker = subprocess.Popen([sys.executable, "-c", code])
    folder = root / environments.name_of(LINES)
    patience = time.monotonic() + 60
    while not (folder / "bin" / "python").exists() and time.monotonic() < patience:
        time.sleep(0.005)
    maker.send_signal(signal.SIGKILL)
    maker.wait(10)
    assert environments.listed(root) == []
    (folder / "half-made").touch()
    python = environments.make(LINES, root, wheels=wheels)  # waits for an installer left behind
    assert run(job(tmp_path, python)).value["tiny"] == 42
    assert not (folder / "half-made").exists()


def test_a_full_disk_is_said_and_leaves_nothing(wheels, root):
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(root)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("a small file system cannot be mounted: run as root")
        pytest.skip("a small file system cannot be mounted: run as root")
    try:
        wheel(wheels, "big", "1.0", {"big/data.txt": "x" * (4 << 20)})
        with pytest.raises(UnavailableError, match="free some"):
            environments.make((*LINES, "big==1.0"), root, wheels=wheels)
        assert left(root) == []
    finally:
        subprocess.run(["umount", str(root)], check=True)


def test_it_is_removed_by_name_and_then_gone(tmp_path, wheels, root):
    python = environments.make(LINES, root, wheels=wheels)
    (name,) = left(root)
    with pytest.raises(NotFoundError, match="environments list"):
        environments.remove(name[:4], root)
    assert environments.remove(name[:8], root).name == name
    assert left(root) == []
    with pytest.raises(NotFoundError, match="is gone"):
        run(job(tmp_path, python))
    with pytest.raises(NotFoundError):
        environments.remove(name, root)


def test_one_that_is_being_made_is_not_removed(wheels, root):
    import fcntl

    environments.make(LINES, root, wheels=wheels)
    (name,) = left(root)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match="being made"):
            environments.remove(name, root)
    assert left(root) == [name]


def test_one_whose_python_was_taken_away_is_made_again(wheels, root):
    python = environments.make(LINES, root, wheels=wheels)
    python.unlink()
    assert environments.find(LINES, root) is None
    assert environments.make(LINES, root, wheels=wheels).exists()
