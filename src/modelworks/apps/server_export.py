"""What the settings say about who is told of traces and metrics."""

import sys
from importlib.util import find_spec
from typing import Final, Protocol

from modelworks.core.errors import MissingExtraError
from modelworks.core.ids import uuid7

_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class ExportSettings(Protocol):
    """Those settings of a server that are about it."""

    @property
    def otlp(self) -> str:
        """URL of a collector; empty = nobody is told."""


def exporter_of(settings: ExportSettings) -> tuple[str, ...]:
    """The command of the process that is told; () = none is.

    Raises:
        MissingExtraError: its libraries are not installed.
    """
    if not settings.otlp:
        return ()
    for name in _NEEDED:
        if not _there(name):
            raise MissingExtraError("OTLP", "otel", name.partition(".")[0])
    told = ("--endpoint", settings.otlp, "--instance", str(uuid7()))
    return (sys.executable, "-m", "modelworks.apps.exporter", *told)


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
