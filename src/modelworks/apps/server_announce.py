"""Where a server says that it is ready, and where it listens."""

import json
import os
import socket
import sys
from pathlib import Path

from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.serving.sizing import Sizing

_LOOPBACK = ("127.", "::1", "localhost")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is bound is the user's choice


def url_of(host: str, port: int) -> str:
    """`http://127.0.0.1:8000`; an address that means every one becomes loopback."""
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def warn_if_open(host: str) -> str:
    """A warning for a host that others can reach; empty for loopback."""
    if host.startswith(_LOOPBACK):
        return ""
    return (
        f"listening on {host}: there is no access control yet, everybody who reaches this address "
        "can use and unload the models; put a proxy that checks callers in front of it"
    )


def announce(settings: ServerSettings, sock: socket.socket, sizing: Sizing) -> None:
    """Write the announcement (atomically) and one line for humans."""
    port = sock.getsockname()[1]
    url = url_of(settings.host, port)
    if settings.announce:
        path = Path(settings.announce)
        data = {"url": url, "pid": os.getpid(), "port": port, "workers": settings.workers}
        data |= {"threads": sizing.threads, "sizing": codec.encode(sizing)}
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(data))
        temporary.replace(path)
    sys.stderr.write(f"serving on {url}\n")
    sys.stderr.flush()
