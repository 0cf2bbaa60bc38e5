"""What a server needs of the system to be reached: a Unix socket, open files for connections."""

import logging
import resource
import socket
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelworks.apps.server_edge import EdgeSettings
from modelworks.apps.server_settings import ServerSettings
from modelworks.core.errors import InvalidError
from modelworks.edge.limits import Limits
from modelworks.edge.listener import BACKLOG, bind
from modelworks.edge.unix import UnixSocket, listen_unix

_log = logging.getLogger("modelworks.server")
_OTHERS: Final = 256  # files that are no connections: models, libraries, links
_LEAST: Final = 16


def open_unix(settings: EdgeSettings) -> UnixSocket | None:
    """The Unix socket that was asked for, listening.

    Raises:
        ConflictError: somebody else listens on it.
        InvalidError: it cannot be made.
    """
    if not settings.unix:
        return None
    return listen_unix(Path(settings.unix), settings.mode, BACKLOG)


def bind_grpc(settings: ServerSettings, *, reuse_port: bool = False) -> socket.socket | None:
    """The second port, where one was asked for; see `edge.listener.bind`.

    Raises:
        ConflictError: it is taken.
        InvalidError: it cannot be had, or is the first one, which speaks gRPC already.
    """
    if not settings.grpc_port:
        return None
    if settings.grpc_port == settings.port:
        raise InvalidError(
            f"grpc_port: {settings.port} is the server's port, which speaks gRPC too: leave it out",
            field="grpc_port",
        )
    return bind(settings.host, settings.grpc_port, reuse_port)


def with_files(limits: Limits) -> Limits:
    """The limits, with as many connections as this process can open.

    The system's soft limit is raised as far as it may be (1024 is common, and 4096 connections
    would meet it first: no health check could come in, and none could be refused).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Connections that are being refused, or linger, come on top.
    wanted = 2 * limits.max_connections + _OTHERS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < limits.max_connections + _OTHERS:
            possible = max(_LEAST, soft - _OTHERS)
            _log.warning(
                "%d connections are possible, not %d: this process may open %d files (ulimit -n)",
                possible,
                limits.max_connections,
                hard,
            )
            return replace(limits, max_connections=possible)
    return limits
