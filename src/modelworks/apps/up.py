"""Composition root of `modelworks up`: control plane, model server and worker, looked after."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from modelworks.apps.children import Child, free
from modelworks.apps.signals import on_signals
from modelworks.apps.stores import environment_of
from modelworks.client import endpoints
from modelworks.core.errors import ConflictError, MissingExtraError, ModelworksError
from modelworks.core.files import replace_text
from modelworks.core.home import Home, Stores
from modelworks.core.optimizing.variants import SOURCE

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
HEALTHY_SECONDS = 60.0
_POLL = 0.1
_PLATFORM = ("alembic", "fastapi", "jinja2", "obstore", "sqlalchemy", "uvicorn")


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What `up` runs.

    Attributes:
        home: the data folder; one `up` a folder.
        host: both listen there.
        control_port: of the control plane and console; 0 = a free one.
        port: of the model server; 0 = a free one.
        workers: processes of the model server, a number or `auto`.
        hosts: further names under which browsers may reach the control plane.
        stores: where rows and files are, where that is not the data folder.
        keys: file of API keys that both ask for; empty = none.
        tls_cert: certificate (PEM) of both; empty = plain HTTP.
        tls_key: its key; empty = in the same file.
        watch: whether a worker watches what the models do.
        window_s: of its windows of drift.
        recording: further arguments of the model server: what it records, and where.
        gateways: admin addresses of gateways on other machines, which count for roll-outs.
        address: of this machine, for gateways on others; empty = there are none.
        variant: which form of each version is served: `source`, or a goal.
    """

    home: Home
    host: str = "127.0.0.1"
    control_port: int = 8080
    port: int = 8000
    workers: str = "1"
    hosts: tuple[str, ...] = ()
    stores: Stores = field(default_factory=Stores)
    keys: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    watch: bool = True
    window_s: int = 3600
    recording: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    address: str = ""
    variant: str = SOURCE

    @property
    def guard(self) -> list[str]:
        """Options of both parts."""
        told = {"--keys": self.keys, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        return [word for option, file in told.items() if file for word in (option, file)]


@dataclass(frozen=True, slots=True)
class Running:
    """Where both answer."""

    control: str
    server: str


def _check_installed() -> None:
    """The control plane's libraries, looked for here so that the reason is not in a child's log.

    Raises:
        MissingExtraError: one is not there.
    """
    for name in _PLATFORM:
        if find_spec(name) is None:
            raise MissingExtraError("the control plane", "platform", name)


def wait_before(failures: int) -> float:
    """Seconds to wait before start number `failures` + 1: doubling, from half a second to 30."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures - 1, 16)) if failures > 0 else 0.0


class Part:
    """One supervised child; restarted with a growing wait when it ends by itself.

    Args:
        what: how messages call it.
        module: `modelworks.apps.server`.
        arguments: its command line; its port is added.
        port: 0 = a free one; None = it listens nowhere.
        log: file of its output.
        environ: variables on top of ours.
    """

    def __init__(
        self,
        what: str,
        module: str,
        arguments: list[str],
        port: int | None,
        log: Path,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.what = what
        self._environ = environ
        self.url = ""
        self._module = module
        self._arguments = arguments
        self._port = port
        self._log = log
        self._child: Child | None = None
        self._failures = 0
        self._due = 0.0

    @property
    def pid(self) -> int:
        """Of the process that runs now; 0 between two."""
        return self._child.pid if self._child is not None else 0

    def start(self) -> None:
        """Start it and wait until it is ready; the port stays the same from then on."""
        announced = self._launch(asked=True).wait_ready()
        self.url, self._port = announced.url, announced.port

    def begin(self) -> None:
        """Start it; nobody waits for it."""
        self._launch(asked=False)

    def tend(self, say: Callable[[str], None]) -> None:
        """Restart it where it has ended and its wait is over. Never blocks."""
        if self._child is None:
            if time.monotonic() >= self._due:
                self._launch(asked=False)
            return
        code = self._child.code()
        if code is None:
            return
        lived = time.monotonic() - self._child.started
        self._failures = 1 if lived > HEALTHY_SECONDS else self._failures + 1
        wait = wait_before(self._failures)
        self._child.stop()
        self._child = None
        self._due = time.monotonic() + wait
        say(f"the {self.what} ended (exit code {code}); again in {wait:g} s; log: {self._log}")

    def drain(self) -> None:
        """Ask it to end."""
        if self._child is not None:
            self._child.drain()

    def stop(self) -> None:
        """End it, after its drain."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def _launch(self, *, asked: bool) -> Child:
        told = [] if self._port is None else ["--port", str(self._port)]
        arguments = [*self._arguments, *told]
        self._child = Child(
            self.what, self._module, arguments, self._log, asked=asked, environ=self._environ
        )
        return self._child


def run(
    settings: UpSettings,
    ready: Callable[[Running], None],
    say: Callable[[str], None],
) -> None:
    """Run both until SIGTERM or SIGINT, then drain both.

    Args:
        settings: what to run.
        ready: called once, when both answer.
        say: told what happens afterwards, one sentence each.

    Raises:
        ConflictError: another `up` runs on this home, or a port is taken.
        MissingExtraError: the control plane is not installed.
        CrashedError: a part did not start; its last words are in the message.
    """
    _check_installed()
    home = settings.home.create()
    stopping = threading.Event()
    with ExitStack() as stack:
        note = stack.enter_context(_lock(home))
        if settings.port == settings.control_port != 0:
            raise ConflictError("the model server and the control plane need two ports")
        free(settings.host, settings.control_port)
        free(settings.host, settings.port)
        parts = _parts(settings)
        stack.enter_context(on_signals(partial(_stop, stopping, parts)))
        stack.callback(_end, parts)
        control, server, *others = parts
        try:
            for part in (control, server):
                part.start()
        except ModelworksError:
            if stopping.is_set():
                return  # a signal came before both were ready
            raise
        running = Running(control=control.url, server=server.url)
        note(running)
        entry = endpoints.register(home, "up", server.url, "up", ())
        stack.callback(entry.unlink, missing_ok=True)
        ready(running)
        for part in others:
            part.begin()
        while not stopping.wait(_POLL):
            for part in parts:
                part.tend(say)


def _parts(settings: UpSettings) -> tuple[Part, ...]:
    """The control plane first: it writes the list that the server serves."""
    home = settings.home
    served = str(home.run / "served.json")
    routes = home.run / "routes.json"
    if not routes.exists():  # the server wants one; roll-outs write it
        replace_text(routes, '{"generation": 0}')
    common = ["--host", settings.host, "--with-parent", *settings.guard]
    allowed = [f"--allow-host={name}" for name in settings.hosts]
    reached = [f"--address={settings.address}", f"--variant={settings.variant}"]
    control = Part(
        "control plane",
        "modelworks.apps.control",
        ["--home", str(home.root), "--served", served, *common, *allowed, *reached],
        settings.control_port,
        home.logs / "control.log",
        environment_of(settings.stores),
    )
    server = Part(
        "model server",
        "modelworks.apps.server",
        [
            "--served",
            served,
            "--routes",
            str(routes),
            "--workers",
            settings.workers,
            *common,
            *settings.recording,
        ],
        settings.port,
        home.logs / "server.log",
    )
    worker = Part(
        "worker",
        "modelworks.apps.worker",
        # Its number, for it may be gone before the worker can look.
        [
            "--home",
            str(home.root),
            f"--parent={os.getpid()}",
            f"--window={settings.window_s}",
            f"--gateways={','.join(settings.gateways)}",
        ],
        None,
        home.logs / "worker.log",
        environment_of(settings.stores),
    )
    return (control, server, worker) if settings.watch else (control, server)


def _end(parts: tuple[Part, ...]) -> None:
    """All drain at the same time."""
    for part in parts:
        part.drain()
    for part in parts:
        part.stop()


@contextmanager
def _lock(home: Home) -> Iterator[Callable[[Running], None]]:
    """Hold the home's `up.lock`; yields what writes the URLs into it.

    The kernel gives the lock back however the process ends, so a stale file harms nobody.
    """
    path = home.run / "up.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"modelworks up runs already on {home.root} (pid {_holder(path)}): end it first, "
                "or choose another MODELWORKS_HOME"
            ) from error

        def note(running: Running | None) -> None:
            urls = {"control": running.control, "server": running.server} if running else {}
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), **urls}))
            file.flush()

        note(None)
        try:
            yield note
        finally:
            file.truncate(0)


def _holder(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["pid"])
    except (OSError, ValueError, KeyError):
        return "unknown"


def _stop(stopping: threading.Event, parts: tuple[Part, ...]) -> None:
    """Set `stopping`, and let what is still starting end at once."""
    stopping.set()
    for part in parts:
        part.drain()
