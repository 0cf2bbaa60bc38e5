"""A process of the calibration: loads the models, measures what it is told to, and ends.

`--workers auto` starts one a core. They read commands from a socket, one JSON object a line, and
answer each with one; the end of the socket is their end.
"""

import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from modelworks.apps.server_models import policy_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.core.errors import CrashedError, ModelworksError
from modelworks.core.served import ServedModel, read_served
from modelworks.serving.probe import Probe
from modelworks.serving.wire import Lines, Message, line, pack_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the commands of one socket until it ends; the exit code.

    The arguments are the descriptor of the socket, and the server's own `--served` or `--file`.
    """
    logging.basicConfig(level=logging.ERROR)
    fd, *given = sys.argv[1:] if arguments is None else list(arguments)
    settings = ServerSettings.read(given, {})
    probe: Probe | None = None
    lines = Lines()
    with socket.socket(fileno=int(fd)) as link:
        while data := link.recv(65536):
            for command in lines.feed(data):
                try:
                    probe = probe or Probe(_models(settings))
                    answer = _obey(probe, command)
                except ModelworksError as error:
                    answer = {"error": pack_error(error)}
                except Exception as error:  # noqa: BLE001 - an engine's bug: the server still starts
                    what = CrashedError(f"{type(error).__name__}: {error}"[:300])
                    answer = {"error": pack_error(what)}
                link.sendall(line(answer))
    return 0


def _models(settings: ServerSettings) -> tuple[ServedModel, ...]:
    served = settings.single() or read_served(Path(settings.served))
    policy = policy_of(settings)
    return tuple(policy.line(model) for model in served.models)


def _obey(probe: Probe, command: Message) -> Message:
    match command["do"]:
        case "load":
            models = probe.load(command["threads"])
            return {"base": probe.base_bytes, "models": codec.encode(models)}
        case "speed":
            return {"speeds": probe.speed(command["seconds"])}
        case _:
            return {"http": probe.http(command["seconds"])}


if __name__ == "__main__":
    sys.exit(main())
