"""How long a client may take: pure decisions over times, and what it has not taken yet."""

import asyncio

from modelworks.edge.limits import Limits

_FRESH_PATIENCE = 4  # a drain waits so many times longer for the first request of a connection


def body_is_late(limits: Limits, waited_s: float, received: int) -> bool:
    """Whether a body of which `received` bytes came is slower than allowed."""
    return waited_s > limits.body_timeout_s + received / limits.min_body_rate


def idle_is_over(
    limits: Limits, now: float, active: float, drain_since: float | None, *, fresh: bool
) -> bool:
    """Whether a connection between requests is closed.

    Args:
        limits: `idle_timeout_s`, while draining `drain_linger_s`.
        now: seconds on any clock, as are the next two.
        active: when its last byte came.
        drain_since: when draining began, if it did.
        fresh: it had no request yet.
    """
    if drain_since is None:
        return now - active > limits.idle_timeout_s
    patience = limits.drain_linger_s * (_FRESH_PATIENCE if fresh else 1)
    return now - max(active, drain_since) > patience


class Outflow:
    """What a client has not taken of its answers.

    Attributes:
        open: the transport takes more; False between `pause_writing` and `resume_writing`.
    """

    __slots__ = ("_since", "_unsent", "open")

    def __init__(self) -> None:
        """Nothing is waiting."""
        self.open = True
        self._since = 0.0
        self._unsent = 0

    def stuck(self, transport: asyncio.Transport, now: float, limit_s: float) -> bool:
        """Whether bytes are waiting of which none was taken for `limit_s`; asked by the sweep."""
        unsent = transport.get_write_buffer_size()
        if unsent < self._unsent or not self._unsent:
            self._since = now
        self._unsent = unsent
        return bool(unsent) and now - self._since > limit_s
