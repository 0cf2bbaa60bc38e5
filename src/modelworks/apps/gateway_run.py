"""One gateway process: the whole gateway, or one worker of a supervisor."""

import contextlib
import json
import logging
import mmap
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from modelworks.apps.exposure import exposure
from modelworks.apps.gateway_settings import GatewaySettings
from modelworks.apps.server_announce import url_of
from modelworks.apps.server_doors import with_files
from modelworks.core.errors import InvalidError
from modelworks.core.files import replace_text
from modelworks.edge.access_lines import Form
from modelworks.edge.listener import bind
from modelworks.edge.sharing import Board, Sharing
from modelworks.gateway.fetch import Fetcher
from modelworks.gateway.worker import GatewayOptions, GatewayWorker

_log = logging.getLogger("modelworks.gateway")
_FIRST_S = 5.0  # that the first routes are waited for; without them it answers 503


def serve(settings: GatewaySettings) -> int:
    """Serve until a signal; 0 when drained.

    Raises:
        ModelworksError: a port, a file or the routes cannot be had.
    """
    if settings.worker:
        return _serve_worker(settings)
    warn(settings)
    sock = bind(settings.host, settings.port, settings.share_port)
    admin = bind_admin(settings)
    fetcher = fetcher_of(settings)
    options = _options(settings, snapshot_of(settings), sock, admin)

    def ready() -> None:
        announce(settings, sock.getsockname()[1], admin.getsockname()[1] if admin else 0)

    async def run() -> None:
        worker = GatewayWorker(options, ready, fetcher)
        if fetcher is not None:
            fetcher.start()
            fetcher.first(_FIRST_S)
        await worker.run()

    uvloop.run(run())
    return 0


def _serve_worker(settings: GatewaySettings) -> int:
    told = json.loads(settings.worker)
    sock = bind(settings.host, settings.port, reuse_port=True)
    admin = None
    if settings.admin_port >= 0:
        admin = bind(settings.admin_host, settings.admin_port, reuse_port=True)
    options = _options(settings, Path(told["snapshot"]), sock, admin, told)

    async def run() -> None:
        await GatewayWorker(options, partial(_say, told["ready"])).run()

    uvloop.run(run())
    return 0


def _say(fd: int) -> None:
    """Tell the supervisor that callers are served; for one that was started again nobody waits."""
    with contextlib.suppress(BrokenPipeError):
        os.write(fd, b".")
    os.close(fd)


def _options(
    settings: GatewaySettings,
    snapshot: Path,
    sock: socket.socket,
    admin: socket.socket | None,
    told: dict[str, Any] | None = None,
) -> GatewayOptions:
    slot = told["slot"] if told else 0
    pairs = Path(settings.pairs) if settings.pairs else None
    if pairs is not None and told:
        pairs = pairs.with_name(f"{pairs.name}.{slot}")
    sharing = cells = None
    if told:
        sharing = Sharing(
            slot,
            Board(settings.workers, told["board"]),
            [socket.socket(fileno=fd) for fd in told["inboxes"]],
            socket.socket(fileno=told["inbox"]),
        )
        cells = memoryview(mmap.mmap(told["cells"], told["cells_size"])).cast("d")
    return GatewayOptions(
        snapshot=snapshot,
        socks=(sock,),
        admin=admin,
        ways=settings.ways,
        limits=with_files(settings.limits),
        tls=settings.tls,
        upstream_ca=Path(settings.upstream_ca) if settings.upstream_ca else None,
        zone=settings.zone,
        access_log=settings.access_log,
        form=Form(settings.access_log_format),
        pairs=pairs,
        check_s=settings.check_seconds,
        drain_s=settings.drain_seconds,
        parent=settings.with_parent or bool(told),
        sharing=sharing,
        cells=cells,
        tallies=Path(told["tallies"]) if told else None,
        slot=slot,
        strict=settings.share_port,
        directories={
            "dns": (settings.dns, ""),
            "consul": (settings.consul, _secret(settings.consul_token, "consul_token")),
        },
        began=told["began"] if told else 0.0,
    )


def bind_admin(settings: GatewaySettings) -> socket.socket | None:
    """The admin address's socket; None = there is none."""
    if settings.admin_port < 0:
        return None
    return bind(settings.admin_host, settings.admin_port)


def snapshot_of(settings: GatewaySettings) -> Path:
    """The file that is followed."""
    if not settings.remote:
        return Path(settings.snapshot)
    return Path(settings.cache)


def fetcher_of(settings: GatewaySettings) -> Fetcher | None:
    """What polls the control plane; None where there is none.

    Raises:
        InvalidError: no address, or the file with the key cannot be read.
    """
    if not settings.remote:
        return None
    key = _secret(settings.control_key, "control_key")
    return Fetcher(settings.snapshot, snapshot_of(settings), key, ca=settings.upstream_ca)


def _secret(path: str, field: str) -> str:
    """What a file keeps; empty where there is none to read."""
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise InvalidError(
            f"the key in {path} cannot be read: {error.strerror}", field=field
        ) from error


def warn(settings: GatewaySettings) -> None:
    """Say what an open address means."""
    warning = exposure(
        settings.host,
        "use the models, unless the routes ask for keys",
        keys=False,
        tls=bool(settings.tls_cert),
        cure=" in the snapshot, or certificates (--client-ca)",
    )
    if warning and not settings.client_ca:
        _log.warning("%s", warning)


def announce(settings: GatewaySettings, port: int, admin_port: int) -> None:
    """Say that it is ready: a file, and a line for people."""
    url = url_of(settings.host, port, "https" if settings.tls_cert else "http")
    admin = url_of(settings.admin_host, admin_port) if settings.admin_port >= 0 else ""
    told = {"url": url, "port": port, "pid": os.getpid(), "admin": admin}
    if settings.announce:
        replace_text(Path(settings.announce), json.dumps(told | {"workers": settings.workers}))
    sys.stderr.write(f"gateway on {url}{f', admin on {admin}' if admin else ''}\n")
    sys.stderr.flush()
