"""Requests for models that are listed and not loaded: they wait, and the first one has it loaded.

Bounded in number, bytes and time. None of this is on the way of a model that is loaded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from modelworks.core.errors import CrashedError, DeadlineError, ModelworksError, UnavailableError
from modelworks.edge.exchange import Exchange
from modelworks.edge.patience import TIMEOUT, timeout_ms
from modelworks.serving.entries import Entry, Key
from modelworks.serving.live import Live

_log = logging.getLogger("modelworks.serving")
Act: TypeAlias = Callable[[Live, Exchange], None]
Refuse: TypeAlias = Callable[[Exchange, Exception], None]
WAIT_S: Final = 60.0
_MOST: Final = 1024
_BYTES: Final = 256 << 20


@dataclass(slots=True, eq=False)
class _Guest:
    exchange: Exchange
    act: Act
    timer: asyncio.TimerHandle | None = None
    hurried: bool = False  # its caller waits no longer


class Waiting:
    """Where they wait.

    Args:
        revive: loads a model; returns when it answers.
        refuse: answers an exchange with an error.
        wait_s: the longest wait.
    """

    def __init__(
        self, revive: Callable[[Entry], Awaitable[None]], refuse: Refuse, wait_s: float = WAIT_S
    ) -> None:
        self._revive = revive
        self._refuse = refuse
        self._wait_s = wait_s
        self._guests: dict[Key, list[_Guest]] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._count = self._bytes = 0

    def enter(self, entry: Entry, exchange: Exchange, act: Act) -> None:
        """Wait for `entry` to be loaded, then act.

        Raises:
            UnavailableError: too many wait already, or loading it failed just now.
            InvalidError: `X-Timeout-Ms` is no number.
        """
        loop = asyncio.get_running_loop()
        name = f"model '{entry.served.name}' version {entry.served.version}"
        if loop.time() < entry.patient:
            again = max(1, round(entry.patient - loop.time()))
            raise UnavailableError(f"{name} is not available: {entry.reason}", retry_after=again)
        if self._count >= _MOST or self._bytes + len(exchange.body) > _BYTES:
            raise UnavailableError(
                f"{name} is being loaded, and {self._count} requests wait for models already; "
                "try again"
            )
        given = exchange.headers.get(TIMEOUT)
        limit = timeout_ms(given) / 1000 if given is not None else 0.0
        guest = _Guest(exchange, act, hurried=0 < limit < self._wait_s)
        wait_s = limit if guest.hurried else self._wait_s
        guest.timer = loop.call_later(wait_s, self._late, entry, guest)
        exchange.on_gone = partial(self._leave, entry.key, guest)
        self._guests.setdefault(entry.key, []).append(guest)
        self._count += 1
        self._bytes += len(exchange.body)
        if entry.key not in self._tasks:
            self._tasks[entry.key] = loop.create_task(self._bring(entry))

    async def _bring(self, entry: Entry) -> None:
        problem: ModelworksError | None = None
        try:
            while self._guests.get(entry.key) and problem is None:
                await self._revive(entry)
                self._serve(entry)
        except ModelworksError as error:
            problem = error
        except Exception:  # noqa: BLE001 - whoever waits must get an answer
            _log.exception("a load on demand failed")
            problem = CrashedError("the model could not be loaded: see the server's log")
        finally:
            del self._tasks[entry.key]
            for guest in list(self._guests.get(entry.key, ())):
                self._leave(entry.key, guest)
                self._refuse(guest.exchange, problem or UnavailableError("the server is stopping"))

    def _serve(self, entry: Entry) -> None:
        live = entry.live
        if live is None:  # evicted, or unloaded, before we came to run
            return
        for guest in list(self._guests.get(entry.key, ())):
            self._leave(entry.key, guest)
            guest.act(live, guest.exchange)

    def _late(self, entry: Entry, guest: _Guest) -> None:
        self._leave(entry.key, guest)
        served = entry.served
        name = f"model '{served.name}' version {served.version}"
        error: ModelworksError = UnavailableError(
            f"{name} was not loaded within {self._wait_s:g} s; try again", retry_after=5
        )
        if guest.hurried:
            error = DeadlineError(f"the request's time-out was over before {name} was loaded")
        self._refuse(guest.exchange, error)

    def _leave(self, key: Key, guest: _Guest) -> None:
        guests = self._guests[key]
        guests.remove(guest)
        if not guests:
            del self._guests[key]
        self._count -= 1
        self._bytes -= len(guest.exchange.body)
        guest.exchange.on_gone = None
        if guest.timer is not None:
            guest.timer.cancel()
