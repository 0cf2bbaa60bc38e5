"""A caller's answer on its way, kept for the shadows whose answers will stand beside it."""

from modelworks.edge.head import Head
from modelworks.gateway.front import Front
from modelworks.gateway.outgoing import Names, copy_to
from modelworks.gateway.pairs import Half, Pair
from modelworks.gateway.table import Known
from modelworks.protocol.routes.policy import Copied


class Compared:
    """One answer.

    Args:
        pairs: that it is the first half of; at least one.
        most: bytes of it that are kept.
    """

    __slots__ = ("_left", "_pairs", "_pieces")

    def __init__(self, pairs: tuple[Pair, ...], most: int) -> None:
        self._pairs = pairs
        self._pieces: list[bytes] = []
        self._left = most

    def take(self, piece: bytes) -> None:
        """More of it."""
        if self._left > 0:
            self._pieces.append(piece)
            self._left -= len(piece)

    def end(self, arm: str, status: int, taken_ns: int, size: int) -> None:
        """It is complete; `status` 0 = it never came."""
        half = Half(arm, status, taken_ns, b"".join(self._pieces), size) if status else None
        for pair in self._pairs:
            pair.put(half, first=True)


def copied(
    front: Front,
    known: Known,
    head: Head,
    body: bytes | None,
    names: Names,
    shadows: tuple[Copied, ...],
) -> Compared | None:
    """Let shadows have a request; None = nobody compares their answers with the caller's.

    Args:
        front: of the worker.
        known: where the request leads.
        head: of it.
        body: see `copy_to`.
        names: of it.
        shadows: who.
    """
    found = [copy_to(front, known, head, body, names, to) for to in shadows]
    pairs = tuple(pair for pair in found if pair is not None)
    return Compared(pairs, front.ways.replay) if pairs else None
