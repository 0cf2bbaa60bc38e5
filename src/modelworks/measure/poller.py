"""What tells which sockets are ready: epoll, or poll where the system has no epoll."""

import select
from typing import Final, Protocol

READ: Final = 1  # POLLIN and EPOLLIN
WRITE: Final = 4  # POLLOUT and EPOLLOUT


class Poller(Protocol):
    """The part of `select.epoll` that the load generator uses."""

    def poll(self, timeout: float, /) -> list[tuple[int, int]]:
        """(descriptor, what it is ready for), after at most so many seconds."""

    def register(self, descriptor: int, mask: int, /) -> None:
        """Look at a socket from now on."""

    def modify(self, descriptor: int, mask: int, /) -> None:
        """Look for something else."""

    def unregister(self, descriptor: int, /) -> None:
        """Look at it no more."""

    def fileno(self) -> int:
        """A descriptor that is readable when any socket is ready; -1 = there is none."""

    def close(self) -> None:
        """Give it back."""


class SlowPoller:
    """`select.poll` in the same form: every wait looks at every socket, and counts milliseconds."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def poll(self, timeout: float, /) -> list[tuple[int, int]]:
        """(descriptor, what it is ready for), after at most so many seconds."""
        return self._poll.poll(timeout * 1000)

    def fileno(self) -> int:
        """There is none."""
        return -1

    def close(self) -> None:
        """Nothing is held."""


def poller() -> Poller:
    """The best one of this system."""
    return select.epoll() if hasattr(select, "epoll") else SlowPoller()
