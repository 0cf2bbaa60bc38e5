"""A registered model inside the user's own program: `modelworks.load("fraud@champion")`."""

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - see `_at_end`
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelworks.apps.embed import settings_of
from modelworks.apps.embedded_follow import Follower, Wanted
from modelworks.apps.embedded_inputs import from_rows, from_tensors
from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.optimizing.variants import SOURCE
from modelworks.core.optimizing.wanted import check_wanted
from modelworks.core.reference import ModelRef, parse_ref
from modelworks.core.served import Batching, Isolation, ServedModel
from modelworks.core.tensor import Signature
from modelworks.protocol.predictions import predictions
from modelworks.protocol.rows import PlainRows
from modelworks.serving.front import MovedError
from modelworks.serving.live import Live
from modelworks.serving.statistics import Outcome

_Read = Callable[[Signature], PlainRows]


class Predictions(list[dict[str, Any]]):
    """One dictionary a row, as `POST /predict` answers them.

    Attributes:
        version: that computed them, `1.4.0`.
        warnings: what was accepted and looks wrong (unknown categories), one sentence each.
    """

    def __init__(self, rows: list[dict[str, Any]], version: str, warnings: tuple[str, ...]) -> None:
        super().__init__(rows)
        self.version = version
        self.warnings = warnings


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an embedded model has done in this process, over all its versions.

    Attributes:
        requests: calls that were answered.
        failures: calls that ended in an error.
        rows: computed.
        engine_calls: of the engine; a batch of several callers is one.
        waiting: rows in the queue now.
    """

    requests: int
    failures: int
    rows: int
    engine_calls: int
    waiting: int

    @property
    def mean_batch(self) -> float:
        """Rows an engine call."""
        return self.rows / self.engine_calls if self.engine_calls else 0.0


class Embedded:
    """A model that answers in this process; made by `load`.

    Every method may be called from any thread. After a fork (gunicorn's `preload_app`) the child
    opens the model for itself at its first call.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._closed = False
        self._last: ServedModel | None = None
        self._opening = threading.Lock()
        self._following: Follower | None = None
        self._open()
        _sessions.add(self)

    # -- what it is

    @property
    def version(self) -> str:
        """The version that answers now, `1.4.0`."""
        return self._open().front.live.version

    @property
    def variant(self) -> str:
        """The form of it that answers now, `int8`; empty = as it was imported."""
        return self.served.variant

    @property
    def signature(self) -> Signature:
        """What the version that answers now takes and gives."""
        return self._open().front.live.signature

    @property
    def served(self) -> ServedModel:
        """The version that answers now, and where its files lie."""
        return self._open().front.live.served

    @property
    def problem(self) -> str:
        """Why what the reference points at now does not answer; empty = it does."""
        return self._open().problem

    def statistics(self) -> Statistics:
        """Counts of this process since the model was opened."""
        found = [numbers for _, numbers in self._open().front.numbers()]
        return Statistics(
            requests=sum(numbers.outcomes[Outcome.SUCCESS] for numbers in found),
            failures=sum(numbers.failures for numbers in found),
            rows=sum(numbers.items for numbers in found),
            engine_calls=sum(numbers.calls for numbers in found),
            waiting=sum(numbers.waiting for numbers in found),
        )

    # -- what it does

    def predict(self, rows: Any, *, timeout: float | None = None) -> Predictions:
        """One answer a row; rows of callers that come at the same time share engine calls.

        Args:
            rows: a list of mappings or lists, a numpy array, a data frame; one mapping is one row.
            timeout: seconds to wait; None = as `load` was told.

        Raises:
            InvalidError: a row that the model does not take; `field` is `rows[3].age`.
            UnavailableError: the queue is full, or the session is closed; try again later.
            DeadlineError: no answer in time.
            CrashedError: the engine failed.
        """
        live, read, outputs = self._call(lambda s: from_rows(rows, s), timeout)
        return Predictions(predictions(live.signature, outputs), live.version, read.warnings)

    def infer(self, inputs: Mapping[str, Any], *, timeout: float | None = None) -> dict[str, Any]:
        """Tensors in, tensors out.

        Args:
            inputs: input name -> numpy array, or what numpy makes one of.
            timeout: seconds to wait; None = as `load` was told.

        Returns:
            Output name -> numpy array; text as an object array of bytes, BF16 as uint16 bits.

        Raises:
            InvalidError: a missing or unknown input, or values it does not take; `field` is its
                name.
            ModelworksError: as `predict`.
        """
        live, _, outputs = self._call(lambda s: from_tensors(inputs, s), timeout)
        return _named(live, outputs)

    async def apredict(self, rows: Any, *, timeout: float | None = None) -> Predictions:  # noqa: ASYNC109 - the same word as in `predict`
        """`predict` for a coroutine."""
        live, read, outputs = await self._acall(lambda s: from_rows(rows, s), timeout)
        return Predictions(predictions(live.signature, outputs), live.version, read.warnings)

    async def ainfer(
        self,
        inputs: Mapping[str, Any],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the same word as in `infer`
    ) -> dict[str, Any]:
        """`infer` for a coroutine."""
        live, _, outputs = await self._acall(lambda s: from_tensors(inputs, s), timeout)
        return _named(live, outputs)

    def refresh(self) -> str:
        """Look now at what the reference points at, and serve it.

        Of a goal (`fastest`) this asks also which form it means by now; the poll asks that when the
        version changes.

        Returns:
            The version that answers.

        Raises:
            ModelworksError: it cannot be found, fetched or loaded; the version before answers on.
        """
        follower = self._open()
        if not follower.look(anew=True):
            raise UnavailableError(follower.problem or "the session was closed")
        return follower.front.live.version

    def close(self) -> None:
        """Answer who waits, give the memory back. Twice is quiet."""
        self._closed = True
        follower, self._following = self._following, None
        if follower is not None:
            follower.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        follower = self._following
        state = "closed" if self._closed else "not open in this process"
        with suppress(ModelworksError):
            state = f"version {follower.front.live.version}" if follower else state
        return f"<Embedded {self._wanted.ref}, {state}>"

    # -- opening

    def _open(self) -> Follower:
        """This process's hold on the model, made at the first call after a fork."""
        follower = self._following
        if follower is not None:
            return follower
        with self._opening:
            if self._closed:
                raise UnavailableError(f"the session of {self._wanted.ref} was closed")
            follower = self._following
            if follower is None:
                follower = self._following = Follower(self._wanted, self._last)
                weakref.finalize(self, follower.close).atexit = False  # if dropped unclosed
            return follower

    def _forked(self) -> None:
        """In the child of a fork: the loop, its thread and the connections are the parent's."""
        follower = self._following
        if follower is not None:
            _abandoned.append(follower)
            self._last = follower.good
        self._opening = threading.Lock()
        self._following = None

    # -- calling

    def _call(self, read: _Read, timeout: float | None) -> tuple[Live, PlainRows, Any]:
        seconds = self._seconds(timeout)
        end = time.monotonic() + seconds
        while True:
            front = self._open().front
            live = front.live
            given = read(live.signature)
            try:
                left = end - time.monotonic()
                return live, given, front.call(live, given.inputs, given.rows, left)
            except MovedError:
                if time.monotonic() >= end:
                    raise

    async def _acall(self, read: _Read, timeout: float | None) -> tuple[Live, PlainRows, Any]:  # noqa: ASYNC109 - passed on
        seconds = self._seconds(timeout)
        end = time.monotonic() + seconds
        while True:
            follower = self._following
            if follower is None:  # loading would hold up the caller's loop
                follower = await asyncio.to_thread(self._open)
            front = follower.front
            live = front.live
            given = read(live.signature)
            try:
                left = end - time.monotonic()
                return live, given, await front.acall(live, given.inputs, given.rows, left)
            except MovedError:
                if time.monotonic() >= end:
                    raise

    def _seconds(self, timeout: float | None) -> float:
        return self._wanted.timeout if timeout is None else _positive("timeout", timeout)


def load(  # noqa: PLR0913 - the words of a public call, by keyword
    ref: str,
    *,
    url: str | None = None,
    home: str | Path | None = None,
    threads: int = 1,
    max_batch_size: int = 64,
    max_queue_size: int = 4096,
    timeout: float = 30.0,
    poll: float = 1.0,
    isolation: Isolation | str = Isolation.THREAD,
    variant: str = "",
) -> Embedded:
    """A registered model in this process: thread-safe, batched, following its alias.

        session = modelworks.load("fraud@champion")
        session.predict([{"age": 41, "income": 52000}])

    Args:
        ref: `fraud@champion`, `fraud` (its champion, else its latest) or `fraud:1.4.0`; behind `#`
            a form of it: `fraud@champion#int8`, `fraud#fastest`.
        url: of a control plane; None = `MODELWORKS_URL`, or else the registry on this machine.
        home: data folder; None = `MODELWORKS_HOME` or `~/.modelworks`. Without `url` it means this
            machine's registry even where `MODELWORKS_URL` is set.
        threads: of the engine.
        max_batch_size: rows in one engine call.
        max_queue_size: rows waiting at most; further calls raise UnavailableError.
        timeout: seconds a call waits, unless it says otherwise.
        poll: seconds between two looks at the reference; 0 = never.
        isolation: `thread`, or `process`: the engine in one of its own, which ends with `close`.
        variant: the form, where the reference names none: `source`, a goal (`fastest`,
            `throughput`, `smallest`, `memory`, `energy`, `cost`), or a name; empty = `source`.

    Raises:
        NotFoundError: no such model, version, alias or variant.
        UnsupportedError: a variant for other hardware, or its engine is not installed.
        UnavailableError: the control plane is away and this version was never fetched before.
        CorruptError: stored or received bytes are not what was registered.
        InvalidError: no such form of reference, or an impossible setting; `field` names it.
        MissingExtraError: this machine's registry needs `modelworks[platform]`.
    """
    for name, size in (
        ("threads", threads),
        ("max_batch_size", max_batch_size),
        ("max_queue_size", max_queue_size),
    ):
        if size < 1:
            raise InvalidError(f"{name}: {size} is not from 1", field=name)
    if not 0 <= poll <= 86_400:
        raise InvalidError(f"poll: {poll} is not from 0 to 86400 seconds", field="poll")
    if isolation not in set(Isolation):
        raise InvalidError(
            f"isolation: '{isolation}' is none of thread, process", field="isolation"
        )
    wanted = Wanted(
        settings=settings_of(url, home),
        ref=_of_form(parse_ref(ref, variants=True), variant),
        threads=threads,
        batching=Batching(max_batch_size, max_queue_size),
        timeout=_positive("timeout", timeout),
        poll=poll,
        isolation=Isolation(isolation),
    )
    return Embedded(wanted)


def _of_form(ref: ModelRef, otherwise: str) -> ModelRef:
    """The reference with the form that is wanted; none = as it was imported."""
    want = check_wanted(ref.variant or otherwise or SOURCE)
    return replace(ref, variant="" if want == SOURCE else want)


def _positive(name: str, seconds: float) -> float:
    if not 0 < seconds <= 86_400:
        raise InvalidError(f"{name}: {seconds} is not over 0 and up to 86400 seconds", field=name)
    return float(seconds)


def _named(live: Live, outputs: Any) -> dict[str, Any]:
    names = [spec.name for spec in live.signature.outputs]
    return dict(zip(names, outputs, strict=True))


_sessions: weakref.WeakSet[Embedded] = weakref.WeakSet()
_abandoned: list[Follower] = []
"""Of the parent, seen from the child of a fork. Kept for ever: even to let go of an event loop
would change the epoll that the parent goes on using."""


def _after_fork() -> None:
    for session in list(_sessions):
        session._forked()  # noqa: SLF001 - of this module


def _at_end() -> None:
    for session in list(_sessions):
        session.close()


# `atexit` comes too late: executors and new threads, which a drain needs, are gone by then. What
# was registered last runs first, so before the executors' own end: they are imported above.
getattr(threading, "_register_atexit", atexit.register)(_at_end)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
