"""The whole bundle, installed where there is no network, and the platform's image of its wheels.

What a damaged bundle does, and the rest of its script, stands in the real tests.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import backups
import containers
from backups import quiet
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from store_servers import free_port, missing

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def ran(*words, **more):
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Ours."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    ran(*command, "--no-build-isolation", "-w", folder, ROOT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, wheel):
    """A bundle with two versions of a model."""
    folder = tmp_path_factory.mktemp("bundle")
    with Factory(Home(folder / "source").create()) as factory:
        backups.publish(factory, folder / "work", [b"one", b"two"])
        saved, _ = factory.backup(folder / "saved.tar", quiet)
    environ = {**os.environ, "PYTHON": sys.executable, "EXTRAS": "platform"}
    told = ran(DEPLOY / "bundle.sh", wheel, folder / "bundle.tar", saved, env=environ)
    assert told.split()[1] == str(folder / "bundle.tar")
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
    return folder / "bundle.tar"


def unpacked(bundle, folder):
    with tarfile.open(bundle) as tar:
        tar.extractall(folder, filter="data")
    return folder / "modelworks-bundle"


def offline(*words):
    """A command line in a network of its own, with nothing in it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("a network namespace", "run as root, with util-linux")
    return ["unshare", "--net", *map(str, words)]


def installing(folder, bundle, **more):
    words = [bundle / "install.sh", "--prefix", folder / "opt", "--home", folder / "data"]
    environ = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(
        offline(*words), capture_output=True, text=True, check=False, env=environ, **more
    )


def test_it_installs_and_restores_without_a_network(bundle, tmp_path):
    done = installing(tmp_path, unpacked(bundle, tmp_path))
    assert done.returncode == 0, done.stderr
    program = tmp_path / "opt" / "bin" / "modelworks"
    environ = {"PATH": "/usr/bin:/bin", "MODELWORKS_HOME": str(tmp_path / "data")}
    told = subprocess.run(
        offline(program, "verify", "--all", "--json"),
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        cwd="/",
    )
    assert told.returncode == 0, told.stderr
    assert {one["ref"]: one["ok"] for one in json.loads(told.stdout)} == {
        "fraud:1.0.0": True,
        "fraud:1.1.0": True,
    }


def asked(url, key=""):
    headers = {"Host": "localhost"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_image_runs_on_a_read_only_root_without_rights(wheel, bundle, tmp_path):
    context = tmp_path / "context"
    shutil.copytree(DEPLOY, context)
    shutil.copytree(unpacked(bundle, tmp_path) / "wheels", context / "wheels")
    text = (context / "Dockerfile").read_text()
    # The wheels of the bundle are for fewer extras than the image has.
    less = text.replace("[platform,postgres,kubernetes]", "[platform]")
    assert less != text
    (context / "Dockerfile").write_text(less)
    (tmp_path / "keys").mkdir(mode=0o755)
    key = KeyFile(tmp_path / "keys" / "keys").add("ada", Role.ADMIN)
    (tmp_path / "keys" / "keys").chmod(0o644)
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 10001, 10001)
    server, control = free_port(), free_port()
    with containers.docker_engine(bridge=False) as engine:
        environ = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_BUILDKIT": "0"}

        def docker(*words):
            return ran(containers.DOCKER, *words, env=environ)

        build = ["build", "--quiet", "--network=none", "--build-arg", f"BASE={containers.BASE}"]
        docker(*build, "-t", "platform", context)
        walls = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "10001:10001"]
        walls += ["--security-opt", "no-new-privileges", "--network", "host"]
        mounts = ["-v", f"{data}:/data", "-v", f"{tmp_path / 'keys'}:/etc/modelworks/keys:ro"]
        words = ["up", f"--port={server}", f"--control-port={control}"]
        words += ["--keys=/etc/modelworks/keys/keys"]
        docker("run", "-d", "--name", "platform", *walls, *mounts, "platform", *words)
        models = f"http://127.0.0.1:{control}/api/v1/models"
        live = f"http://127.0.0.1:{server}/v2/health/live"
        limit = time.monotonic() + 120
        while asked(models, key) != 200 or asked(live) != 200:
            state = docker("inspect", "-f", "{{.State.Running}}", "platform").strip()
            assert state == "true", docker("logs", "platform")
            assert time.monotonic() < limit, docker("logs", "platform")
            time.sleep(0.3)
        assert asked(models) == 401
        docker("stop", "-t", "60", "platform")
        assert docker("inspect", "-f", "{{.State.ExitCode}}", "platform").strip() == "0"
        assert {p.name for p in data.iterdir()} >= {"registry.db", "blobs"}
