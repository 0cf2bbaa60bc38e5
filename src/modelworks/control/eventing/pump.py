"""Takes messages, asks a model, publishes answers: so many at once, none acknowledged early.

A message that the model refuses goes where the dead go, with the reason. While the server or the
broker is away messages are held, not refused: no more are taken than are held, so what comes
waits at the broker.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import (
    CrashedError,
    DeadlineError,
    ForbiddenError,
    InvalidError,
    ModelworksError,
    UnauthenticatedError,
    UnavailableError,
)
from modelworks.core.seams import Event, OpenEvents

AT_ONCE: Final = 8
_TAKE_S: Final = 0.5
_FIRST_S: Final = 0.1
_LONGEST_S: Final = 10.0
_CRASHES: Final = 3
_END_S: Final = 30.0
_HELD: Final = (UnavailableError, UnauthenticatedError, ForbiddenError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model gave.

    Attributes:
        body: of the answer.
        kind: its content type.
        header_length: of its JSON, where tensors follow it as bytes; empty otherwise.
    """

    body: bytes
    kind: str
    header_length: str = ""

    def headers(self) -> dict[str, str]:
        """As messages carry them."""
        told = {"content-type": self.kind, "inference-header-content-length": self.header_length}
        return {name: value for name, value in told.items() if value}


@dataclass(slots=True)
class Tally:
    """What became of messages.

    Attributes:
        answered: whose answers the broker has.
        refused: that went where the dead go.
        held: times that one was tried again, because somebody was away.
    """

    answered: int = 0
    refused: int = 0
    held: int = 0


class Pump:
    """Runs until it is stopped.

    Args:
        events: the broker; it is closed by whoever opened it.
        ask: gives a message's answer; raises what the server says.
        at_once: messages under way.
        note: told of trouble that is waited out, one line; not more than once a second.

    Attributes:
        tally: so far.
    """

    def __init__(
        self,
        events: OpenEvents,
        ask: Callable[[Event], Answer],
        at_once: int = AT_ONCE,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._events = events
        self._ask = ask
        self._at_once = at_once
        self._note = note
        self._noted = 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._fatal: ModelworksError | None = None
        self.tally = Tally()

    def stop(self) -> None:
        """Take no more; what is under way is answered, what is held comes again. Safe anywhere."""
        self._over.set()

    def run(self, most: int = 0) -> None:
        """Take and answer.

        Args:
            most: end after so many messages; 0 = never.

        Raises:
            ModelworksError: the broker refuses answers, and would again.
        """
        taken = 0
        under_way: set[Future[None]] = set()
        with ThreadPoolExecutor(self._at_once, "events") as threads:
            try:
                while not self._over.is_set() and (not most or taken < most):
                    under_way = self._room(under_way)
                    room = self._at_once - len(under_way)
                    room = min(room, most - taken) if most else room
                    for event in self._take(room):
                        taken += 1
                        under_way.add(threads.submit(self._one, event))
                if most:
                    wait(under_way)
            finally:
                self._over.set()
                wait(under_way, _END_S)
        if self._fatal is not None:
            raise self._fatal

    def _room(self, under_way: set[Future[None]]) -> set[Future[None]]:
        """Those that are still under way, fewer than may be."""
        if len(under_way) >= self._at_once:
            wait(under_way, _TAKE_S, return_when=FIRST_COMPLETED)
        return {future for future in under_way if not future.done()}

    def _take(self, room: int) -> list[Event]:
        if not room:
            return []
        try:
            return list(self._events.take(room, _TAKE_S))
        except UnavailableError as error:
            self._say(error)
            self._over.wait(_TAKE_S)
            return []

    def _one(self, event: Event) -> None:
        try:
            self._through(event)
        except ModelworksError as error:  # the broker takes neither an answer nor a refusal
            self._end(error)
        except Exception as error:  # noqa: BLE001 - else its place would be taken for ever
            self._end(CrashedError(f"message {event.id[:80]} failed: {error!r}"[:500]))

    def _end(self, error: ModelworksError) -> None:
        self._fatal = self._fatal or error
        self._over.set()

    def _through(self, event: Event) -> None:
        answer: Answer | None = None
        refusal = ""
        pause, crashes = _FIRST_S, 0
        while True:
            try:
                if answer is None and not refusal:
                    answer, refusal = self._asked(event, crashes)
                if answer is not None:
                    self._events.answer(event, answer.body, answer.headers())
                else:
                    self._events.refuse(event, refusal)
            except _HELD as error:
                self._say(error)
            except CrashedError as error:
                crashes += 1
                self._say(error)
            except InvalidError as error:
                if answer is None or error.field is not None:
                    raise  # of a setting: it is so for every message
                answer, refusal = None, f"its answer is not taken: {error.message}"
                continue
            else:
                with self._lock:
                    self.tally.answered += answer is not None
                    self.tally.refused += answer is None
                return
            with self._lock:
                self.tally.held += 1
            if self._over.wait(pause):
                return  # not acknowledged: it comes again
            self._events.keep(event)
            pause = min(_LONGEST_S, 2 * pause)

    def _asked(self, event: Event, crashes: int) -> tuple[Answer | None, str]:
        """The answer, or why the message is refused.

        Raises:
            UnavailableError: the server is away, or full.
            CrashedError: it failed, and may be asked again.
        """
        try:
            return self._ask(event), ""
        except CrashedError as error:
            if crashes + 1 < _CRASHES:
                raise
            return None, error.message
        except DeadlineError:
            raise
        except _HELD:
            raise
        except ModelworksError as error:
            return None, error.message

    def _say(self, error: ModelworksError) -> None:
        now = time.monotonic()
        if now - self._noted >= 1.0:
            self._noted = now
            self._note(error.message)
