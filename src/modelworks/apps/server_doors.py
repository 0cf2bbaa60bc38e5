"""Where a server listens beside its port."""

from pathlib import Path

from modelworks.apps.server_edge import EdgeSettings
from modelworks.edge.listener import BACKLOG
from modelworks.edge.unix import UnixSocket, listen_unix


def open_unix(settings: EdgeSettings) -> UnixSocket | None:
    """The Unix socket that was asked for, listening.

    Raises:
        ConflictError: somebody else listens on it.
        InvalidError: it cannot be made.
    """
    if not settings.unix:
        return None
    return listen_unix(Path(settings.unix), settings.mode, BACKLOG)
