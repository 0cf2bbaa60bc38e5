"""One generation of routes, made ready off the loop, and the memory that generations share."""

from collections.abc import Callable
from dataclasses import dataclass

from modelworks.core.breath import Breath, uncollected
from modelworks.core.routes import Snapshot
from modelworks.protocol.routes import Policy
from modelworks.protocol.routes.access import Access
from modelworks.protocol.routes.limits import Table
from modelworks.protocol.routes.reading import read_snapshot
from modelworks.protocol.routes.tokens import PublicKey


@dataclass(frozen=True, slots=True)
class Book:
    """What a server goes by; replaced as a whole.

    Attributes:
        snapshot: as it was written.
        policy: who answers.
        access: who may ask.
    """

    snapshot: Snapshot
    policy: Policy
    access: Access

    @property
    def limits(self) -> bool:
        """Whether anything is limited."""
        snapshot = self.snapshot
        return bool(snapshot.limits) or any(route.limit for route in snapshot.routes)


def empty_book() -> Book:
    """No route, and nobody is asked."""
    nothing = Snapshot(0)
    return Book(nothing, Policy(nothing), Access(nothing))


def open_book(
    text: bytes, load_key: Callable[[], Callable[[str], PublicKey]], table: Table
) -> Book:
    """The book of a snapshot.

    Args:
        text: of the snapshot, JSON.
        load_key: gives what makes public keys of PEM; asked only where tokens are taken.
        table: where limits are counted.

    Raises:
        InvalidError: it is none; `field` is the path.
        MissingExtraError: it takes tokens, and the library that checks them is not there.
    """
    breath = Breath()
    with uncollected():
        snapshot = read_snapshot(text, breath)
        policy = Policy(snapshot, breath)
    keys = load_key() if snapshot.tokens is not None else None
    return Book(snapshot, policy, Access(snapshot, keys, table))
