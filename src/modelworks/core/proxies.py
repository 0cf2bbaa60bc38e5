"""Programs that users already run in front of their servers, and that can carry our routes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from modelworks.core.deployment import Capability, Rendered
from modelworks.core.routes import Snapshot


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a proxy takes requests.

    Attributes:
        host: address.
        port: of it.
    """

    host: str = "127.0.0.1"
    port: int = 8080


class RouteWriter(Protocol):
    """Writes and checks the configuration of one kind of proxy."""

    name: ClassVar[str]
    program: ClassVar[str]  # that reads the configuration; also the one that checks it
    experimental: ClassVar[bool]
    capabilities: ClassVar[Mapping[str, Capability]]  # field of a route -> what is done with it
    start: ClassVar[str]  # command line that starts it in the folder of its configuration
    reload: ClassVar[str]  # how a changed configuration is taken over without losing a request

    def write(self, snapshot: Snapshot, listen: Listen) -> tuple[Rendered, ...]:
        """The files of its configuration; the same for the same snapshot. Pure.

        Args:
            snapshot: whose fields were all held against `capabilities` before.
            listen: where it takes requests.

        Raises:
            InvalidError: a name that its configuration cannot hold.
        """
        ...

    def check(self, folder: Path, program: str) -> None:
        """Let the program itself read the files in a folder.

        Args:
            folder: of the files.
            program: its path; empty = found by its name.

        Raises:
            InvalidError: it does not take them; the message is its own.
            UnavailableError: it is not installed here, with how to get it.
        """
        ...
