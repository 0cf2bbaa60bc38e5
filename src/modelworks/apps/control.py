"""Composition root of the control plane: `python -m modelworks.apps.control`."""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvicorn

from modelworks.api.app import create_app
from modelworks.api.front import Waiters
from modelworks.apps.control_tls import FollowedTls, tls_files
from modelworks.apps.exposure import exposure, public
from modelworks.apps.limits import limits_of
from modelworks.apps.stores import stores_of
from modelworks.console.pages import install
from modelworks.control.access import Access
from modelworks.control.endpoints import Watch
from modelworks.control.front.sources import Reach
from modelworks.control.reconcile import Reconciler
from modelworks.control.service import Factory
from modelworks.core.ecs import set_up_logs
from modelworks.core.errors import ConflictError, InvalidError, ModelworksError
from modelworks.core.home import Home, Stores
from modelworks.core.optimizing.variants import SOURCE
from modelworks.core.optimizing.wanted import GOALS
from modelworks.edge.key_ring import KeyRing
from modelworks.edge.tls import TlsFiles
from modelworks.sandbox.limits import Limits

_log = logging.getLogger("modelworks.control")
PARENT_SECONDS = 0.5
DRAIN_SECONDS = 20


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """What one control plane runs with.

    Attributes:
        home: the data folder.
        host: it listens there.
        port: 0 = a free one.
        served: the list that it keeps for a model server.
        announce: file that tells where it listens, once it answers; None = nobody asks.
        with_parent: end when the process that started it is gone.
        hosts: further names under which browsers may reach it.
        stores: where rows and files are, where that is not the data folder.
        limits: of imports.
        keys: file of API keys that are asked for; None = none are.
        tls: certificate and key; None = plain HTTP.
        address: of this machine, for gateways on others; empty = there are none.
        variant: which form of each version is served: `source`, or a goal.
    """

    home: Home
    host: str = "127.0.0.1"
    port: int = 8080
    served: Path | None = None
    announce: Path | None = None
    with_parent: bool = False
    hosts: tuple[str, ...] = ()
    stores: Stores = field(default_factory=Stores)
    limits: Limits = field(default_factory=Limits)
    keys: Path | None = None
    tls: TlsFiles | None = None
    address: str = ""
    variant: str = SOURCE

    @property
    def warning(self) -> str:
        """Of an address that others reach, and nobody guards; empty = all is well."""
        guarded, secret = self.keys is not None, self.tls is not None
        return exposure(self.host, "change the registry", keys=guarded, tls=secret)


class _Server(uvicorn.Server):
    """uvicorn, that says when it answers, and comes back after a signal instead of dying of it."""

    def __init__(
        self,
        config: uvicorn.Config,
        listening: socket.socket,
        path: Path | None,
        ending: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._listening = listening
        self._path = path
        self._ending = ending

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()  # who waits for routes would be waited for
        await super().shutdown(sockets=sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._path is not None and self.started:
            host, port = self._listening.getsockname()[:2]
            scheme = "https" if self.config.is_ssl else "http"
            url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
            temporary = self._path.with_name(self._path.name + ".tmp")
            temporary.write_text(json.dumps({"url": url, "port": port}))
            temporary.replace(self._path)


def run(settings: ControlSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way.

    Raises:
        ModelworksError: the data folder, the key file or TLS's files cannot be used, or the port
            is taken.
    """
    with ExitStack() as stack:
        access = _access(settings, stack)
        tls = _tls(settings, stack)
        listening = stack.enter_context(_listen(settings.host, settings.port))
        factory = stack.enter_context(
            Factory(settings.home, stores=settings.stores, limits=settings.limits)
        )
        watch = Watch(factory.home)
        stack.callback(watch.close)
        served = settings.served or factory.home.run / "served.json"
        reconciler = Reconciler(partial(factory.desired, want=settings.variant), served)
        reconciler.tick()  # before anybody is told that we are ready: the server reads it
        reconciler.start()
        stack.callback(reconciler.close)
        healer = factory.deploying.healer()
        healer.start()
        stack.callback(healer.close)
        names = (settings.host, *settings.hosts)
        watched = factory.watching
        reach = Reach(settings.address, public(settings.host), awaited=settings.with_parent)
        front = factory.front(served, reach)
        front.start()
        stack.callback(front.close)
        waiters = Waiters()
        told = (front, waiters)
        app = create_app(factory, watch, names, access=access, series=watched.series, front=told)
        install(app, factory, watch, watched, access)
        watch.start()
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=DRAIN_SECONDS,
            limit_concurrency=256,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
        )
        server = _Server(config, listening, settings.announce, waiters.close)
        if settings.with_parent:
            _follow(server)
        server.run(sockets=[listening])


def _access(settings: ControlSettings, stack: ExitStack) -> Access | None:
    """Who may use it, followed until the stack ends; None = everybody."""
    if warning := settings.warning:
        _log.warning("%s", warning)
    if settings.keys is None:
        return None
    ring = KeyRing(settings.keys)
    stack.callback(ring.close)
    ring.start()
    return Access(ring)


def _tls(settings: ControlSettings, stack: ExitStack) -> FollowedTls | None:
    """TLS, followed until the stack ends; None = plain HTTP."""
    if settings.tls is None:
        return None
    tls = FollowedTls(settings.tls)
    stack.callback(tls.close)
    tls.start()
    return tls


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run; the exit code."""
    form = "%(levelname)s %(name)s: %(message)s"
    set_up_logs("modelworks-control", os.environ, form, logging.WARNING)
    logging.getLogger("modelworks").setLevel(logging.INFO)
    try:
        run(_settings(arguments))
    except ModelworksError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0


def _settings(arguments: Sequence[str] | None) -> ControlSettings:
    parser = argparse.ArgumentParser(prog="modelworks.apps.control", allow_abbrev=False)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--served", type=Path)
    parser.add_argument("--announce", type=Path)
    parser.add_argument("--with-parent", action="store_true")
    parser.add_argument("--allow-host", action="append", default=[])
    parser.add_argument("--keys", type=Path, help="file of API keys that are asked for")
    parser.add_argument("--tls-cert", default="", help="certificate (PEM): speak HTTPS")
    parser.add_argument("--tls-key", default="", help="its key, if not in the same file")
    parser.add_argument("--address", default="", help="of this machine, for gateways on others")
    parser.add_argument("--variant", default=SOURCE, choices=[SOURCE, *GOALS])
    parser.add_argument("--database", default="", help="URL (MODELWORKS_DATABASE)")
    parser.add_argument("--artifacts", default="", help="URL (MODELWORKS_ARTIFACTS)")
    found = parser.parse_args(arguments)
    return ControlSettings(
        home=Home(found.home),
        host=found.host,
        port=found.port,
        served=found.served,
        announce=found.announce,
        with_parent=found.with_parent,
        hosts=tuple(found.allow_host),
        stores=stores_of(os.environ, found.database, found.artifacts),
        limits=limits_of(os.environ),
        keys=found.keys,
        tls=tls_files(found.tls_cert, found.tls_key),
        address=found.address,
        variant=found.variant,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind)
    except (OSError, OverflowError) as error:
        raise InvalidError(f"cannot listen on {host} port {port}: {error}", field="host") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ConflictError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another port, "
            "or 0 for a free one",
            field="port",
        ) from error
    return listening


def _follow(server: uvicorn.Server) -> None:
    """Ask the server to end when our parent is gone."""
    parent = os.getppid()

    def watch() -> None:
        gone = threading.Event()
        while os.getppid() == parent:
            gone.wait(PARENT_SECONDS)
        server.should_exit = True

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
