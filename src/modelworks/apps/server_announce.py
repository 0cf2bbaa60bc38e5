"""Where a server says that it is ready, and where it listens."""

import json
import os
import socket
import sys
from pathlib import Path

from modelworks.apps.exposure import exposure
from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.edge.unix import UnixSocket
from modelworks.serving.sizing import Sizing

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is bound is the user's choice


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """`http://127.0.0.1:8000`; an address that means every one becomes loopback."""
    host = _ANY.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def warn_if_open(settings: ServerSettings) -> str:
    """A warning for a host that others can reach; empty where nobody or only the known can."""
    if settings.unix_only or settings.client_ca:
        return ""
    return exposure(
        settings.host,
        "use and unload the models",
        keys=bool(settings.keys),
        tls=bool(settings.tls_cert),
        cure=" or certificates (--client-ca), or put a proxy that checks callers in front of it",
    )


def announce(
    settings: ServerSettings,
    sock: socket.socket | None,
    unix: UnixSocket | None,
    sizing: Sizing,
) -> None:
    """Write the announcement (atomically) and one line for humans."""
    port = sock.getsockname()[1] if sock is not None else 0
    urls = []
    if sock is not None:
        urls.append(url_of(settings.host, port, "https" if settings.tls_cert else "http"))
    if unix is not None:
        urls.append(f"unix://{unix.path}")
    url = urls[0]
    if settings.announce:
        path = Path(settings.announce)
        data = {"url": url, "pid": os.getpid(), "port": port, "workers": settings.workers}
        data |= {"threads": sizing.threads, "sizing": codec.encode(sizing)}
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(data))
        temporary.replace(path)
    sys.stderr.write(f"serving on {' and '.join(urls)}\n")
    sys.stderr.flush()
