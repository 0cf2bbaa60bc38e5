"""Active health checks: every upstream is asked whether it is ready, each in its turn."""

import asyncio
import logging
from typing import Final

from modelworks.gateway.answer_head import AnswerHead
from modelworks.gateway.front import Front
from modelworks.gateway.link import Link
from modelworks.gateway.place import Place

_log = logging.getLogger(__name__)
PERIOD_S: Final = 2.0
_PER_SECOND: Final = 200.0  # checks at most: with more upstreams than that fits, seldom each
_ANSWER_S: Final = 2.0
_FAILS: Final = 2  # in a row until one counts as not ready; one good answer is enough to be back
_PATH: Final = b"/v2/health/ready"


class _Probe:
    """One question to one upstream; fulfils `Sink` and `Linked`."""

    def __init__(self, place: Place, loop: asyncio.AbstractEventLoop) -> None:
        self._place = place
        self._link: Link | None = None
        self.answer: asyncio.Future[bool] = loop.create_future()

    def ask(self) -> None:
        link = self._place.free()
        if link is None:
            self._place.connect(self)
        else:
            self.linked(link)

    def give_up(self) -> None:
        """No answer came in time."""
        if self._link is not None:
            self._link.forget()

    def linked(self, link: Link) -> None:
        if self.answer.done():
            self._place.idle(link)
            return
        self._link = link
        authority = self._place.address.authority
        link.ask(self, b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (_PATH, authority), bare=False)

    def unlinked(self, why: str) -> None:
        del why
        self._say(well=False)

    def head(self, head: AnswerHead, piece: bytes, *, done: bool) -> None:
        del piece
        # Any server that is up is well; one that knows the question says 503 when it is not ready.
        if done:
            self._link = None
        self._say(well=head.status < 500)

    def piece(self, piece: bytes, *, done: bool) -> None:
        del piece
        if done:
            self._link = None

    def failed(self, why: str, *, stale: bool) -> None:
        del why
        self._link = None
        if stale and not self.answer.done():
            self._place.connect(self)
        else:
            self._say(well=False)

    def blocked(self, *, blocked: bool) -> None:
        """A question fits into any buffer."""

    def _say(self, *, well: bool) -> None:
        if not self.answer.done():
            self.answer.set_result(well)


class Checks:
    """Runs on a worker's loop until it is cancelled.

    Args:
        front: whose upstreams.
        period_s: between two checks of one upstream, where they are few enough.
    """

    def __init__(self, front: Front, period_s: float = PERIOD_S) -> None:
        self._front = front
        self._period_s = period_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Check for ever."""
        while True:
            table = self._front.table
            places = list(table.places.values()) if table is not None else []
            step = max(self._period_s / max(1, len(places)), 1 / _PER_SECOND)
            for place in places:
                task = asyncio.get_running_loop().create_task(self.check(place))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                place.sweep()
                await asyncio.sleep(step)
            if not places:
                await asyncio.sleep(self._period_s / 4)

    async def check(self, place: Place) -> None:
        """Ask one upstream once."""
        probe = _Probe(place, asyncio.get_running_loop())
        probe.ask()
        try:
            async with asyncio.timeout(_ANSWER_S):
                well = await probe.answer
        except TimeoutError:
            probe.give_up()
            well = False
        if well:
            if not place.ready:
                _log.info("%s is ready again", place.url)
            place.fails, place.ready = 0, True
            return
        place.fails += 1
        if place.fails == _FAILS:
            _log.warning("%s is not ready: it gets nothing while others are", place.url)
            place.ready = False
