"""Several workers on one port, under one supervisor process."""

import json
import logging
import sys
from collections.abc import Sequence

from modelworks.apps.server_announce import announce, warn_if_open
from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.edge.listener import bind
from modelworks.serving.block_file import shared_file
from modelworks.serving.sizing import Sizing
from modelworks.serving.supervisor import Start, Supervisor

_log = logging.getLogger("modelworks.server")


def supervise(settings: ServerSettings, arguments: Sequence[str], sizing: Sizing) -> int:
    """Run `settings.workers` workers until a signal; the exit code.

    Args:
        settings: with the workers and threads of `sizing`.
        arguments: of the command line, given on to the workers.
        sizing: why so many; told to whoever asks.

    Raises:
        ConflictError: the port is taken.
        InvalidError: the address is none.
    """
    # Alone first: a port that is shared on purpose would not tell that somebody has it.
    with bind(settings.host, settings.port) as probe:
        port = probe.getsockname()[1]
    sock = bind(settings.host, port, reuse_port=True)  # never listens; keeps the port ours
    block = shared_file(settings.workers)
    if warning := warn_if_open(settings.host):
        _log.warning("%s", warning)

    def command(start: Start) -> list[str]:
        told = {
            "slot": start.slot,
            "link": start.link,
            "block": block,
            "patient": start.patient,
            "overrides": start.overrides,
            "sizing": codec.encode(sizing),
        }
        module = [sys.executable, "-m", "modelworks.apps.server"]
        chosen = ["--workers", str(sizing.workers), "--threads", str(sizing.threads)]
        return [*module, *arguments, *chosen, "--port", str(port), "--worker", json.dumps(told)]

    supervisor = Supervisor(
        settings.workers,
        command,
        (block,),
        settings.drain_seconds,
        lambda: announce(settings, sock, sizing),
        parent=settings.with_parent,
    )
    return supervisor.run()
