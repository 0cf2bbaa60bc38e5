"""The bundle's two scripts, with a wheel of a few lines in place of ours: whole, or nothing."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from store_servers import missing

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROGRAM = """
import os, sys
def main():
    if os.environ.get("FAIL"):
        sys.exit("no")
    print(os.environ.get("MODELWORKS_HOME"), *sys.argv[1:])
"""
INFO = "modelworks-0.1.0.dist-info"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle, made without an index: its wheel needs nothing."""
    folder = tmp_path_factory.mktemp("bundle")
    wheel = folder / "modelworks-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("modelworks_stand_in.py", PROGRAM)
        told = "Metadata-Version: 2.1\nName: modelworks\nVersion: 0.1.0\nProvides-Extra: platform\n"
        file.writestr(f"{INFO}/METADATA", told)
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{INFO}/WHEEL", tag)
        points = "[console_scripts]\nmodelworks = modelworks_stand_in:main\n"
        file.writestr(f"{INFO}/entry_points.txt", points)
        file.writestr(f"{INFO}/RECORD", "")
    (folder / "saved.tar").write_bytes(b"a backup")
    done = made(wheel, folder / "bundle.tar", folder / "saved.tar")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in folder.iterdir()} == {wheel.name, "saved.tar", "bundle.tar"}
    assert made(wheel, folder / "bundle.tar").returncode == 1  # never replaced
    return folder / "bundle.tar"


def made(*words):
    environ = {**os.environ, "PYTHON": sys.executable, "EXTRAS": "platform"}
    command = [DEPLOY / "bundle.sh", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


@pytest.fixture
def folder(bundle, tmp_path):
    with tarfile.open(bundle) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "modelworks-bundle"


def install(tmp_path, folder, *more, **environ):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("a network namespace", "run as root, with util-linux")
    words = ["unshare", "--net", folder / "install.sh"]
    words += ["--prefix", tmp_path / "opt", "--home", tmp_path / "data", *more]
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHON": sys.executable, **environ},
    )


def sums_again(folder):
    script = "find . -type f ! -name SHA256SUMS -print0 | xargs -0 sha256sum > SHA256SUMS"
    subprocess.run(["sh", "-c", script], check=True, cwd=folder)


def test_it_installs_without_a_network_and_restores_the_backup(folder, tmp_path):
    done = install(tmp_path, folder)
    assert done.returncode == 0, done.stderr
    program = tmp_path / "opt" / "bin" / "modelworks"
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'data'} restore backup.tar",
        f"installed: {program}",
    ]
    again = install(tmp_path, folder)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert program.exists()


@pytest.mark.parametrize("what", ["changed", "added", "gone", "no wheel", "other python", "word"])
def test_a_bundle_that_is_not_whole_installs_nothing(folder, tmp_path, what):
    (wheel,) = folder.glob("wheels/*.whl")
    more = []
    if what == "changed":
        (folder / "backup.tar").write_bytes(b"another")
    elif what == "added":
        (folder / "wheels" / "evil.whl").write_bytes(b"x")
    elif what == "gone":
        wheel.unlink()
    elif what == "no wheel":
        wheel.unlink()
        sums_again(folder)
    elif what == "other python":
        (folder / "python").write_text("3.99\n")
        sums_again(folder)
    else:
        more = ["--prefx", "x"]
    done = install(tmp_path, folder, *more)
    assert done.returncode == (2 if what == "word" else 1)
    assert done.stderr
    assert not (tmp_path / "opt").exists()
    assert not (tmp_path / "data").exists()


def test_a_restore_that_fails_is_said(folder, tmp_path):
    done = install(tmp_path, folder, FAIL="1")
    assert done.returncode == 1
    assert done.stderr == "no\n"


def test_the_scripts_say_how_they_are_called():
    for name in ("bundle.sh", "install.sh"):
        done = subprocess.run(
            [DEPLOY / name, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert name in done.stderr
        assert "set -euo" not in done.stderr
