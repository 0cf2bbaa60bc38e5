"""What the server asks of whoever keeps its jobs: a server without jobs loads no more than this."""

from collections.abc import Callable
from typing import Final, Protocol

from modelworks.core.errors import UnsupportedError
from modelworks.edge.exchange import Exchange
from modelworks.protocol.openmetrics import Family

_CURE: Final = "this server keeps no jobs: start it with --jobs FOLDER, where they are to lie"


class Jobs(Protocol):
    """See `desk.Desk`."""

    def start(self) -> None:
        """Run what waits from here on."""
        ...

    async def close(self) -> None:
        """Stop; what was accepted is kept."""
        ...

    def families(self) -> list[Family]:
        """What is scraped."""
        ...

    def methods(self, rest: list[str]) -> dict[bytes, Callable[[Exchange], None]]:
        """The answers below `/v2/jobs`, by method."""
        ...

    def submit(self, name: str, version: str | None, exchange: Exchange) -> None:
        """Accept a job."""
        ...


class NoJobs:
    """In the place of it where no folder was named."""

    def start(self) -> None:
        """Nothing waits."""

    async def close(self) -> None:
        """Nothing runs."""

    def families(self) -> list[Family]:
        """None."""
        return []

    def methods(self, rest: list[str]) -> dict[bytes, Callable[[Exchange], None]]:
        """Refuse.

        Raises:
            UnsupportedError: always.
        """
        del rest
        raise UnsupportedError(_CURE)

    def submit(self, name: str, version: str | None, exchange: Exchange) -> None:
        """Refuse.

        Raises:
            UnsupportedError: always.
        """
        del name, version, exchange
        raise UnsupportedError(_CURE)
