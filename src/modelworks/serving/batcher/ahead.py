"""What stands in front of a batcher and has its face: a cache, sequences, a graph."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from modelworks.core.served import Batching
from modelworks.serving.batcher.batcher import Batcher
from modelworks.serving.batcher.member import Call, Member


class Ahead(ABC):
    """Takes members as a batcher does, and hands others of its own on to one.

    Args:
        inner: the batcher.

    Attributes:
        inner: as given.
    """

    def __init__(self, inner: "Batcher | Ahead") -> None:
        self.inner = inner

    @property
    def items(self) -> int:
        """Rows that wait for the engine."""
        return self.inner.items

    @property
    def limits(self) -> Batching:
        """What is in force now."""
        return self.inner.limits

    @property
    def busy(self) -> bool:
        """Whether somebody waits, or is being computed."""
        return self.inner.busy

    def adjust(self, max_batch_size: int, max_delay_ms: float) -> None:
        """See `Batcher.adjust`."""
        self.inner.adjust(max_batch_size, max_delay_ms)

    def follow(self, told: Callable[[Call], None]) -> None:
        """See `Batcher.follow`."""
        self.inner.follow(told)

    @abstractmethod
    def submit(self, member: Member) -> None:
        """See `Batcher`."""

    @abstractmethod
    def cancel(self, member: Member) -> None:
        """See `Batcher.cancel`."""

    async def drain(self, within: float) -> bool:
        """See `Batcher.drain`."""
        return await self.inner.drain(within)
