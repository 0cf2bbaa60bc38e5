"""Real container engines for tests: dockerd of the test's own, and a base image without a registry.

Everything is made by root from Debian's packages, listens on a Unix socket in a folder of its own,
and is gone afterwards: containers, mounts, network namespaces. A test process that is killed takes
its engine with it.
"""

import ctypes
import fcntl
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelworks.packaging.oci import Change, Layer, Layout, extend
from store_servers import free_port, missing, running

BASE = "local/python:3.11-bookworm"
"""The image that every engine here has."""
DOCKER = "/usr/bin/docker"
DOCKERD = "/usr/sbin/dockerd"
COMPOSE = "/usr/bin/docker-compose"
REGISTRY = "/usr/bin/docker-registry"
CACHE = "MODELWORKS_TEST_CONTAINERS"
"""The variable that says where base images are kept; else the folder of all tests' caches."""
_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
_SUITE = "bookworm"
_READY_S = 60.0
_MADE_S = 600.0
_LARGEST = "4g"  # of all images and containers; only what is used takes memory
_OPEN_FILES = 20000  # more is refused where a runner lacks CAP_SYS_RESOURCE
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REGISTRY = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}, secret: s}}
log: {{level: error}}
"""
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Engine:
    """A running dockerd.

    Attributes:
        host: what DOCKER_HOST says: `unix:///...`.
        folder: of its socket and log; tests may keep files below it.
        namespace: the file of its network's namespace; "" = this machine's network.
    """

    host: str
    folder: Path
    namespace: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that uses it."""
        plain = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        return {**plain, "DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.folder / "client")}

    @property
    def inside(self) -> list[str]:
        """Before a command, so that it runs in the engine's network."""
        return ["nsenter", f"--net={self.namespace}", "--"] if self.namespace else []

    def docker(self, *words: object, seconds: float = 120, check: bool = True) -> str:
        """What a docker command says; a failure unless `check` is off."""
        return self.run([DOCKER, *map(str, words)], seconds=seconds, check=check)

    def run(
        self,
        command: list[str],
        *,
        seconds: float = 120,
        check: bool = True,
        variables: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> str:
        """What a command says that reaches the engine by DOCKER_HOST, in the engine's network."""
        done = subprocess.run(
            [*self.inside, *command],
            env={**self.environment, **(variables or {})},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            said = (done.stderr + done.stdout)[-3000:]
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}: {said}")
        return done.stdout

    @contextmanager
    def network(self) -> Iterator[None]:
        """This thread, and what it starts, in the engine's network: published ports answer.

        Threads that run already stay where they are.
        """
        if not self.namespace:
            yield
            return
        with (
            Path(f"/proc/self/task/{threading.get_native_id()}/ns/net").open("rb") as own,
            Path(self.namespace).open("rb") as there,
        ):
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())

    def clear(self) -> None:
        """Remove every container, and networks and volumes that nobody uses."""
        for one in self.docker("ps", "-aq").split():
            self.docker("rm", "-f", "-v", one, check=False)
        self.docker("network", "prune", "-f")
        self.docker("volume", "prune", "-f")

    def containers(self) -> list[str]:
        """Names of all containers, those that ended included."""
        return sorted(self.docker("ps", "-a", "--format", "{{.Names}}").split())


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def program(path: str, package: str) -> str:
    """A program of Debian's by its full path: others of the same name may stand before it."""
    if not Path(path).exists():
        missing(Path(path).name, f"as root: apt-get install --no-install-recommends {package}")
    return path


def base_archive() -> Path:
    """The base system with Python as a tar of files; made once, in some 40 s.

    Kept below the user's cache folder, or where `MODELWORKS_TEST_CONTAINERS` says.
    """
    general = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelworks-tests"
    cache = Path(os.environ.get(CACHE) or general)
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"base-{_SUITE}-{platform.machine()}-1.tar"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _make_base(path)
    return path


def _make_base(path: Path) -> None:
    if os.geteuid() != 0:
        missing("a base image", "run the tests as root")
    command = [program("/usr/bin/mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase"]
    command += [f"--include={_PACKAGES}", _SUITE]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "base.tar"
        done = subprocess.run(
            [*command, str(made)], capture_output=True, text=True, timeout=_MADE_S, check=False
        )
        if done.returncode:
            missing("a base image", f"mmdebstrap ended: {done.stderr.strip()[-300:]}")
        made.replace(path)


def base_layout(folder: Path) -> Path:
    """The same base as an OCI layout at `folder`, for those who build without an engine."""
    layout = Layout.create(folder)
    with base_archive().open("rb") as file:
        tar = layout.add_file(file, "application/vnd.oci.image.layer.v1.tar")
    said = Change(command=("/bin/bash",), environment={"PATH": _PATH})
    image = extend(layout, None, [Layer(tar, tar.digest, layout.path(tar))], said)
    layout.name(image.descriptor, BASE, image.platform)
    return folder


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry on a free port; its host."""
    serve, port = program(REGISTRY, "docker-registry"), free_port()
    (folder / "registry.yml").write_text(_REGISTRY.format(folder=folder, port=port))
    command = [serve, "serve", str(folder / "registry.yml")]
    with running("docker-registry", command, port, folder / "registry.log"):
        yield f"127.0.0.1:{port}"


@contextmanager
def docker_engine(*, bridge: bool) -> Iterator[Engine]:
    """A dockerd that has the base image.

    Args:
        bridge: in a network namespace of its own with a bridge, where published ports and names of
            services work; else in this machine's network, where only `--network host` and `none`
            do.
    """
    if os.geteuid() != 0:
        missing("dockerd", "run the tests as root")
    daemon = program(DOCKERD, "docker.io")
    program(DOCKER, "docker.io")
    archive = base_archive()
    # Not pytest's folder: the path of a Unix socket has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="dk-"))
    try:
        (folder / "data").mkdir()
        with _daemon(folder, daemon, bridge=bridge) as engine:
            engine.docker("import", "--change", 'CMD ["/bin/bash"]', archive, BASE)
            yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _daemon(folder: Path, daemon: str, *, bridge: bool) -> Iterator[Engine]:
    """A dockerd in namespaces of its own: what it mounts and its network end with it.

    Its images lie in memory: to remove some ten thousand small files takes a busy disk a minute.
    """
    first = f"mount -t tmpfs -o mode=711,size={_LARGEST} tmpfs {folder}/data"
    first += " && ip link set lo up" if bridge else ""
    host = f"unix://{folder}/docker.sock"
    command = ["setpriv", "--pdeathsig", "TERM", "--"]
    command += ["unshare", "--mount", "--propagation", "slave", *(["--net"] if bridge else [])]
    command += ["sh", "-c", f'{first} && exec "$0" "$@"', daemon]
    command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/run", "-H", host]
    command += ["-p", f"{folder}/pid", "--storage-driver=overlay2", "--log-level=warn"]
    command += [f"--default-ulimit=nofile={_OPEN_FILES}:{_OPEN_FILES}"]
    command += [] if bridge else ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    engine = Engine(host, folder, f"/proc/{process.pid}/ns/net" if bridge else "")
    try:
        _until_ready(engine, process)
        yield engine
        if process.poll() is None:
            engine.docker("swarm", "leave", "--force", check=False)
            engine.clear()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(engine: Engine, process: subprocess.Popen) -> None:
    end = time.monotonic() + _READY_S
    while "Server Version" not in engine.docker("info", check=False):
        if process.poll() is not None or time.monotonic() > end:
            last = (engine.folder / "log").read_text(errors="replace")[-2000:]
            pytest.fail(f"dockerd does not answer: {last}")
        time.sleep(0.1)
