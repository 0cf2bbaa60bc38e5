"""One generation: begun with a session, read by somebody on the loop, stopped from either side."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns
from typing import Any, Final, Protocol, TypeAlias

from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.core.seams import Conversing, Distant, Generating
from modelworks.serving.generating.handover import Handover
from modelworks.serving.generating.numbers import Counts, End

_log = logging.getLogger("modelworks.serving")
_LONG: Final = 4096  # characters: reading a longer prompt would hold up the loop
_ENDS: Final = {Finish.STOP: End.STOP, Finish.LENGTH: End.LENGTH}

Admit: TypeAlias = Callable[[int, int], Callable[[], None]]
"""Lets a generation in, on the loop, by its prompt's tokens and the new ones at most that it may
make: returns what gives them back (called once, on the loop, when the engine is done with it), or
raises an error, which its reader is told."""


class Reader(Protocol):
    """Who gets what is generated; called on the loop."""

    def took(self, pieces: Sequence[Piece]) -> None:
        """These came, in order; the last of all says STOP or LENGTH in `finish`."""
        ...

    def failed(self, error: ModelworksError) -> None:
        """There will be no (further) piece: refused, too late, broken, unloaded."""
        ...


class Home(Protocol):
    """Where a generation is kept while it is open: `Generations`."""

    session: Generating
    loop: asyncio.AbstractEventLoop
    handover: Handover
    counts: Counts

    def enter(self, generation: "Generation") -> None:
        """One more; raises UnavailableError."""
        ...

    def leave(self, generation: "Generation", end: End, received_ns: int) -> None:
        """The engine is done with one, and so is its reader."""
        ...

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done by a task."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """Of one generation, on `perf_counter_ns`'s clock.

    Attributes:
        received_ns: when the request came.
        deadline_ns: it is stopped then; 0 = never.
        begin_by_ns: it is stopped then if nothing came yet; 0 = it may wait for ever.
    """

    received_ns: int
    deadline_ns: int = 0
    begin_by_ns: int = 0


class Generation:
    """One of a live model, on the loop.

    The reader is told of pieces until the last one, or once that it failed; never from within
    `begin`, and never again after `stop`.

    Args:
        of: the model's generations.
        prompt: what is continued.
        sampling: how.
        reader: see there.
        times: see there.
        admit: see there; None = nobody counts tokens beforehand.

    Attributes:
        prompt_tokens: of the prompt, as far as known: counted for `admit`, else told by the last
            piece.
        made: new tokens so far.
    """

    __slots__ = (
        *("_admit", "_begin_by_ns", "_end", "_last_ns", "_of", "_over", "_prompt", "_reader"),
        *("_release", "_sampling", "_stopper", "_timer", "_times", "made", "prompt_tokens"),
    )

    def __init__(
        self,
        of: Home,
        prompt: Prompt,
        sampling: Sampling,
        reader: Reader,
        times: Times,
        admit: Admit | None = None,
    ) -> None:
        self.prompt_tokens = 0
        self.made = 0
        self._of = of
        self._prompt = prompt
        self._sampling = sampling
        self._reader: Reader | None = reader
        self._times = times
        self._begin_by_ns = times.begin_by_ns
        self._admit = admit
        self._release: Callable[[], None] | None = None
        self._stopper: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_ns = 0  # when the last token came
        self._end: End | None = None  # how it ends, once that is known
        self._over = False  # the engine is done with it

    @property
    def open(self) -> bool:
        """Whether its reader will be told more."""
        return self._reader is not None

    def begin(self) -> None:
        """Ask the engine; what goes wrong is told to the reader.

        Raises:
            UnavailableError: the model has as many as it takes, or goes away.
        """
        of = self._of
        of.enter(self)
        self._watch(min(filter(None, (self._times.deadline_ns, self._begin_by_ns)), default=0))
        # Who does not converse may ask its process for a count, and wait for it.
        session = of.session
        far = self._admit is not None and not isinstance(session, Conversing)
        far = far or (isinstance(session, Distant) and session.distant)
        if far or len(self._prompt.text) > _LONG:
            of.aside(self._begin_aside())
        else:
            # Not from within: whoever begins may still be making ready to read.
            of.loop.call_soon(self._begin_here)

    def stop(self, end: End = End.LEFT) -> None:
        """Nobody reads any more; the engine is told at once. Quiet when it is over."""
        self._close(end)

    # -- beginning

    def _begin_here(self) -> None:
        session = self._of.session
        text = self._prompt.text
        try:
            if self._reader is None:
                self._finished()
                return
            if self._admit is not None:
                self._let_in(session.count(text))
            self._begun(session.generate(self._prompt, self._sampling, self._teller()))
        except Exception as error:  # noqa: BLE001 - an engine's failure is the request's
            self._not_begun(error)

    async def _begin_aside(self) -> None:
        """The same where it may take long: what reads the prompt runs on a thread."""
        session = self._of.session
        text = self._prompt.text
        try:
            if self._admit is not None:
                tokens = await asyncio.to_thread(session.count, text)
                if self._reader is not None:
                    self._let_in(tokens)
            if self._reader is None:
                self._finished()
                return
            teller = self._teller()
            begin = partial(session.generate, self._prompt, self._sampling, teller)
            self._begun(await asyncio.to_thread(begin))
        except Exception as error:  # noqa: BLE001 - an engine's failure is the request's
            self._not_begun(error)

    def _let_in(self, tokens: int) -> None:
        self.prompt_tokens = tokens
        if self._admit is not None:
            self._release = self._admit(tokens, self._sampling.max_tokens)

    def _teller(self) -> Callable[[Piece], None]:
        return partial(self._of.handover.tell, self)

    def _begun(self, stopper: Callable[[], None]) -> None:
        if self._over:
            return
        if self._reader is None:  # stopped meanwhile
            _quietly(stopper)
        else:
            self._stopper = stopper

    def _not_begun(self, error: Exception) -> None:
        if not isinstance(error, ModelworksError):
            _log.error("a generation could not be begun", exc_info=error)
            error = CrashedError(f"the engine failed: {type(error).__name__}")
        end = End.INVALID
        if isinstance(error, UnavailableError):
            end = End.REFUSED
        elif isinstance(error, CrashedError):
            end = End.FAILED
        self._finished()
        self._fail(end, error)

    # -- pieces, from the handover

    def take(self, pieces: list[Piece], came_ns: list[int]) -> None:
        """What the engine told since the last time, and when."""
        if self._over:
            return
        last = pieces[-1]
        if self._begin_by_ns and self._reader is not None:
            self._begin_by_ns = 0
            self._watch(self._times.deadline_ns)
        self._count(pieces, came_ns)
        if last.finish is not None:
            self._of.counts.prompt(last.prompt_tokens or self.prompt_tokens, last.cached_tokens)
            self.prompt_tokens = last.prompt_tokens or self.prompt_tokens
            self._finished()
        reader = self._reader
        if reader is None:
            return
        good = last.finish is None or last.finish in _ENDS
        given = pieces if good else pieces[:-1]
        try:
            if last.finish is not None and good:
                self._close(_ENDS[last.finish])
            if given:
                reader.took(given)
        except Exception:  # noqa: BLE001 - a reader is not the loop's trouble
            _log.exception("what was generated could not be handed on")
            self._close(End.FAILED)
            _tell(reader, CrashedError("what was generated cannot be handed on: see the log"))
            return
        if not good and self._reader is not None:
            self._fail(*_why(last))

    def _count(self, pieces: list[Piece], came_ns: list[int]) -> None:
        counts = self._of.counts
        for piece, came in zip(pieces, came_ns, strict=True):
            tokens = piece.tokens
            if tokens < 1 or piece.finish in {Finish.CANCELLED, Finish.ERROR}:
                continue
            if self._last_ns:
                counts.further(came - self._last_ns, tokens)
            else:
                counts.first(came - self._times.received_ns)
            self._last_ns = came
            self.made += tokens
            counts.tokens(tokens)

    # -- the end

    def _watch(self, until_ns: int) -> None:
        """Be late then; 0 = never."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if until_ns:
            left = (until_ns - perf_counter_ns()) / 1e9
            self._timer = self._of.loop.call_later(max(0.0, left), self._late)

    def _late(self) -> None:
        self._timer = None
        self._fail(End.LATE, DeadlineError("the request's time-out was over before the answer was"))

    def unload(self) -> None:
        """The model goes away, or the server stops: whoever reads is told."""
        self._fail(End.UNLOADED, UnavailableError(UNLOADED))

    def _fail(self, end: End, error: ModelworksError) -> None:
        reader = self._reader
        if reader is None:
            return
        self._close(end)
        _tell(reader, error)

    def _close(self, end: End) -> None:
        """Nobody reads from here on."""
        if self._reader is None:
            return
        self._reader = None
        self._end = end
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stopper, self._stopper = self._stopper, None
        if self._over:
            self._of.leave(self, end, self._times.received_ns)
        elif stopper is not None:
            _quietly(stopper)

    def _finished(self) -> None:
        """The engine is done with it."""
        if self._over:
            return
        self._over = True
        release, self._release = self._release, None
        if release is not None:
            release()
        if self._end is not None:
            self._of.leave(self, self._end, self._times.received_ns)


def _why(last: Piece) -> tuple[End, ModelworksError]:
    if last.finish is Finish.ERROR and last.refused:
        return End.INVALID, InvalidError(last.error or "the model refuses this and says not why")
    if last.finish is Finish.ERROR:
        return End.FAILED, CrashedError(last.error or "the engine failed and does not say why")
    return End.UNLOADED, UnavailableError(UNLOADED)


def _tell(reader: Reader, error: ModelworksError) -> None:
    try:
        reader.failed(error)
    except Exception:  # noqa: BLE001 - a reader is not the loop's trouble
        _log.exception("what was to be told of a failed generation failed")


def _quietly(stopper: Callable[[], None]) -> None:
    try:
        stopper()
    except Exception:  # noqa: BLE001 - nor is an engine
        _log.exception("an engine could not be told to stop")
