"""`modelworks demo`, whole: models in, endpoints out, nothing left behind."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture
def environ(tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return os.environ | {"MODELWORKS_HOME": str(tmp_path / "mine"), "TMPDIR": str(temporary)}


def test_the_demo_runs_and_tidies_up(tmp_path, environ):
    done = subprocess.run(
        [sys.executable, "-m", "modelworks.cli.main", "demo"],
        capture_output=True,
        text=True,
        env=environ,
        timeout=840,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = ("$ modelworks import", "parity", "$ curl", "0 failed", "cancer:1.1.0", "p99")
    wanted += ("the label of most originals on 143 of 143 unseen rows",)
    wanted += ("cancer:1.1.0#trees: the original's label on 143 of 143 unseen rows",)
    for said in (*wanted, "1 of 31 features drifted, first worst texture"):
        assert said.lower() in done.stdout.lower()
    assert not (tmp_path / "mine").exists()
    assert [p for p in (tmp_path / "tmp").iterdir() if p.name.startswith("modelworks-")] == []


def test_kept_it_answers_until_a_signal(tmp_path, environ):
    process = subprocess.Popen(
        [sys.executable, "-m", "modelworks.cli.main", "demo", "--keep", "--json"],
        stdout=subprocess.PIPE,
        env=environ,
        text=True,
    )
    try:
        said = json.loads(process.stdout.readline())
        assert {model["ref"] for model in said["models"]} >= {"cancer:1.0.0", "digits:1.0.0"}
        assert all(model["same_label"] == model["rows"] for model in said["models"])
        assert said["drifted"] == "worst texture"
        assert said["pieces"] > 10
        assert said["fastest"] == "cancer:1.1.0#trees"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "modelworks.cli.main", "predict", "digits"),
                *("--rows", json.dumps([[0.0] * 64]), "--url", said["server"]),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "label" in json.loads(done.stdout)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
    assert [p for p in (tmp_path / "tmp").iterdir() if p.name.startswith("modelworks-")] == []
