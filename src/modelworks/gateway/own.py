"""What the gateway answers itself, on paths that no route can take."""

from collections.abc import Callable
from typing import Final, TypeAlias

from modelworks.edge.answer import JSON
from modelworks.edge.head import Head
from modelworks.gateway.front import Front

LIVE: Final = b"/-/live"
READY: Final = b"/-/ready"
Answer: TypeAlias = tuple[int, bytes, bytes]
"""Status, body, content type."""


class Own:
    """One worker's own answers.

    Args:
        front: of it.

    Attributes:
        answers: by path.
        draining: new requests belong to somebody else.
    """

    __slots__ = ("_front", "answers", "draining")

    def __init__(self, front: Front) -> None:
        self._front = front
        self.draining = False
        self.answers: dict[bytes, Callable[[Head], Answer]] = {LIVE: _live, READY: self._ready}

    def ready(self) -> bool:
        """Whether it has routes and is to go on."""
        return self._front.table is not None and not self.draining

    def _ready(self, head: Head) -> Answer:
        del head
        ready = self.ready()
        body = b'{"ready":%b}' % (b"true" if ready else b"false")
        return (200 if ready else 503), body, JSON


def _live(head: Head) -> Answer:
    del head
    return 200, b'{"live":true}', JSON
