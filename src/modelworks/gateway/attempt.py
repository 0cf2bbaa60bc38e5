"""One try: a request to one endpoint, from the connection to the end of the answer."""

from collections.abc import Callable
from typing import Protocol

from modelworks.gateway.answer_head import AnswerHead
from modelworks.gateway.link import Link
from modelworks.gateway.seats import Seat


class Asker(Protocol):
    """Who makes tries: a call of a caller, or a copy for a shadow."""

    def ask(self, attempt: "Attempt", link: Link) -> None:
        """Send the request on this link."""
        ...

    def came(self, attempt: "Attempt", head: AnswerHead, piece: bytes, *, done: bool) -> None:
        """The answer begins."""
        ...

    def more(self, attempt: "Attempt", piece: bytes, *, done: bool) -> None:
        """It goes on."""
        ...

    def lost(self, attempt: "Attempt", reason: str, why: str) -> None:
        """It does not come; `reason` is one of `counts.REASONS`, or `stale` (see `Sink`)."""
        ...

    def blocked(self, attempt: "Attempt", *, blocked: bool) -> None:
        """The upstream takes no more of the body, or does again."""
        ...


class Attempt:
    """Fulfils `Sink` and `Linked`.

    Attributes:
        seat: who is asked.
        link: while an answer is owed on it.
        hedge: it was made while another one was under way.
        over: it has ended, and nothing of it is listened to.
    """

    __slots__ = ("_asker", "_give_up", "hedge", "link", "over", "seat")

    def __init__(self, asker: Asker, seat: Seat, *, hedge: bool = False) -> None:
        self._asker = asker
        self._give_up: Callable[[], object] | None = None
        self.seat = seat
        self.link: Link | None = None
        self.hedge = hedge
        self.over = False

    def begin(self) -> None:
        """Ask, on a connection that waits or on a new one."""
        place = self.seat.place
        place.outstanding += 1
        self.seat.counts.tries += 1
        link = place.free()
        if link is not None:
            self.link = link
            self._asker.ask(self, link)
        else:
            self._give_up = place.connect(self)

    def cancel(self) -> None:
        """Its answer is not wanted. Twice is quiet."""
        if self.over:
            return
        self._end()
        if self._give_up is not None:
            self._give_up()
        if self.link is not None:
            link, self.link = self.link, None
            link.forget()

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self.seat.place.outstanding -= 1

    # -- Linked

    def linked(self, link: Link) -> None:
        """See `Linked`."""
        self._give_up = None
        self.link = link
        self._asker.ask(self, link)

    def unlinked(self, why: str) -> None:
        """See `Linked`."""
        self._give_up = None
        self._end()
        self._asker.lost(self, "connect", why)

    # -- Sink

    def head(self, head: AnswerHead, piece: bytes, *, done: bool) -> None:
        """See `Sink`."""
        if done:
            self.link = None
            self._end()
        self._asker.came(self, head, piece, done=done)

    def piece(self, piece: bytes, *, done: bool) -> None:
        """See `Sink`."""
        if done:
            self.link = None
            self._end()
        self._asker.more(self, piece, done=done)

    def failed(self, why: str, *, stale: bool) -> None:
        """See `Sink`."""
        self.link = None
        self._end()
        self._asker.lost(self, "stale" if stale else "cut", why)

    def blocked(self, *, blocked: bool) -> None:
        """See `Sink`."""
        self._asker.blocked(self, blocked=blocked)
