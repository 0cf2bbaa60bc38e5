"""The whole line on PostgreSQL and S3, by public commands, while the database comes and goes."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import store_servers
from modelworks.testing import onnx_models

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

WAIT = 90.0


@pytest.fixture
def own_server():
    """A PostgreSQL server that this test may stop."""
    with store_servers.postgres() as server:
        server.run("CREATE DATABASE registry")
        yield server


@pytest.fixture
def environ(own_server, s3_server, home):
    """What an operator exports."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MODELWORKS_", "AWS_"))}
    return {
        **clean,
        "MODELWORKS_HOME": str(home.root),
        "MODELWORKS_DATABASE": own_server.url("registry"),
        "MODELWORKS_ARTIFACTS": s3_server.new(),
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-of-s3",
    }


def modelworks(environ, *arguments, code=0):
    """One command; its JSON document."""
    done = subprocess.run(
        [sys.executable, "-m", "modelworks.cli.main", *arguments, "--json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def predict(url, name="twice"):
    """What the server says of [[1, 2]]; None while it does not serve the model."""
    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    )
    request = urllib.request.Request(f"{url}/v2/models/{name}/infer", body.encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["outputs"][0]["data"]
    except urllib.error.HTTPError as error:
        error.close()
        return None


def eventually(what, asked):
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if asked():
            return
        time.sleep(0.2)
    pytest.fail(f"not within {WAIT:.0f} s: {what}")


@pytest.fixture
def up(environ):
    """`modelworks up`, on free ports; its two URLs."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "modelworks.cli.main",
            "up",
            *["--port", "0", "--control-port", "0", "--json"],
        ],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield lambda: json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


def test_the_database_may_go_away_while_models_are_served(environ, own_server, up, home, tmp_path):
    model = onnx_models.double(tmp_path / "twice.onnx", 2)
    made = modelworks(environ, "import", str(model), "--name", "twice")
    assert f"{made['name']}:{made['version']}" == "twice:1.0.0"
    assert not home.database.exists()
    assert list(home.blobs.iterdir()) == []
    urls = up()
    server = urls["server"]
    eventually("the first answer", lambda: predict(server) == [2.0, 4.0])
    secrets = (own_server.password, "secret-of-s3")
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert not [secret for secret in secrets if secret in commands.stdout]

    own_server.stop(signal.SIGQUIT)
    for _ in range(20):
        assert predict(server) == [2.0, 4.0]  # the data plane does not ask it
        time.sleep(0.1)
    said = modelworks(environ, "models", code=6)
    assert "check that the server runs" in said["error"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{urls['control']}/api/v1/models", timeout=30)
    with caught.value as answer:
        assert answer.code == 503

    own_server.start()
    assert [m["name"] for m in modelworks(environ, "models")] == ["twice"]
    modelworks(environ, "import", str(model), "--name", "again")
    eventually("the second model is served", lambda: predict(server, "again") == [2.0, 4.0])
    assert modelworks(environ, "verify", "again")["ok"]
    assert modelworks(environ, "doctor")["ok"]
    logs = "".join(path.read_text(errors="replace") for path in home.logs.iterdir())
    assert not [secret for secret in secrets if secret in logs]
