"""The model table: which versions are served, in which state, and under which names."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import perf_counter, time
from typing import Final

from modelworks.core.errors import (
    ConflictError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.graphs import GRAPH
from modelworks.core.served import ServedList, ServedModel
from modelworks.serving.block import Block
from modelworks.serving.entries import Entry, Key, State
from modelworks.serving.graphs.book import Graphs
from modelworks.serving.graphs.live import GraphLive
from modelworks.serving.infer import answer, gather
from modelworks.serving.lifetimes import Lifetimes
from modelworks.serving.lists import check, essence
from modelworks.serving.live import Live
from modelworks.serving.outbox import Outbox
from modelworks.serving.policy import Policy
from modelworks.serving.residence import Residence
from modelworks.serving.room import NoRoomError
from modelworks.serving.statistics import Recorder
from modelworks.serving.tap import Tap

_log = logging.getLogger("modelworks.serving")
_DRAIN_S: Final = 30.0
_UNLOADED: Final = "unloaded on request; load it again to use it"
_EVICTED: Final = "evicted to make room; the next request reloads it"
_ASLEEP: Final = "not asked for yet; the next request loads it"
_PATIENCE_S: Final = 20.0  # that a load on demand waits for others to leave
_AGAIN_S: Final = 0.1
_POLICY: Final = Policy()


class ModelTable:
    """All models of one worker. Methods run on the loop; loading runs in a thread.

    Args:
        block: where the counters live.
        threads: engine threads a model.
        changed: called after every change of what is served and under which names.
        policy: about memory, and about loading on demand.
        outbox: where what is recorded goes; None = nothing is.
    """

    def __init__(
        self,
        block: Block,
        threads: int,
        changed: Callable[[], None],
        policy: Policy = _POLICY,
        outbox: Outbox | None = None,
    ) -> None:
        self._outbox = outbox
        self.generation = -1
        self.problem = ""  # why the newest served list is not in force
        self._block = block
        self._policy = policy
        self._residence = Residence(policy, threads, block.workers)
        self._told = changed
        self._graphs = Graphs(block, self.entry, self._tap)
        self._entries: dict[Key, Entry] = {}
        self._wanted: dict[Key, ServedModel] = {}
        self._names: dict[str, Key] = {}
        self._lock = asyncio.Lock()
        self._closing = False

    # -- what the hot path and the routes ask

    def resolve(self, name: str, version: str | None = None) -> Live:
        """The model that answers to `name`, `name@alias`, or `name` and `version`.

        Raises:
            NotFoundError: nothing of that name is on the list.
            UnavailableError: it is, and is not ready; the message says why.
        """
        entry = self.entry(name, version)
        if entry.live is None:
            state = "not available" if entry.state is State.UNAVAILABLE else entry.state.lower()
            reason = f": {entry.reason}" if entry.reason else ""
            raise UnavailableError(f"{_named(entry)} is {state}{reason}")
        return entry.live

    def entry(self, name: str, version: str | None = None) -> Entry:
        """The line for `name`, `name@alias`, or `name` and `version`.

        Raises:
            NotFoundError: there is none; the message lists what there is.
            UnavailableError: no list has come yet, so nobody knows.
        """
        if self.generation < 0 and not self._wanted:
            raise UnavailableError(f"the server is starting: whether it has '{name}' is not known")
        key = (name, version) if version is not None else self._names.get(name)
        found = self._entries.get(key) if key is not None else None
        if found is not None:
            return found
        versions = sorted(v for n, v in self._entries if n == name)
        if version is not None and versions:
            raise NotFoundError(
                f"model '{name}' has no version '{version}' here; there is {', '.join(versions)}"
            )
        known = _some(sorted({n for n, _ in self._entries}))
        raise NotFoundError(f"no model '{name}' here; served are: {known}")

    def entries(self) -> list[Entry]:
        """Every version, by name and version."""
        return [entry for _, entry in sorted(self._entries.items())]

    def names(self) -> Iterable[tuple[str, Live]]:
        """Every name without a version that answers now, aliases included."""
        for name, key in self._names.items():
            live = self._entries[key].live
            if live is not None:
                yield name, live

    @property
    def ready(self) -> bool:
        """Whether all that starts by itself was loaded or failed once, and something answers.

        What is loaded later takes nothing away from those that answer meanwhile.
        """
        entries = self._entries.values()
        if self._closing or self.generation < 0:
            return False
        failed = [e for e in entries if e.starts and e.live is None and not e.dormant]
        return len(failed) < len(self._entries) or not failed

    # -- what changes it

    async def apply(self, served: ServedList) -> None:
        """Serve exactly this list; what has not changed is not touched, nothing is interrupted.

        A name moves to its new version when that one is ready; the old one then answers what it
        has and goes.

        Raises:
            InvalidError: the list contradicts itself; nothing was changed.
        """
        check(served)
        async with self._lock:
            if self._closing:
                return
            models = [self._policy.line(model) for model in served.models]
            wanted = {(model.name, model.version): model for model in models}
            self._wanted = wanted
            todo = [key for key, model in wanted.items() if self._admit(key, model)]
            self._point()
            todo.sort(key=lambda key: wanted[key].format == GRAPH)  # behind their models
            for key in todo:
                await self._bring(self._entries[key])
            self._point()
            await self._join(todo)
            await self._retire()
            self.generation = served.generation

    async def load(self, name: str) -> None:
        """Load every version of a model of the list; quiet for those that are ready.

        Raises:
            NotFoundError: the list has no such model.
            ModelworksError: a version cannot be loaded; the others may be.
        """
        async with self._lock:
            problem: ModelworksError | None = None
            for entry in self._of(name):
                if entry.live is None and not self._closing:
                    error = await self._bring(entry)
                    problem = problem or error
            self._point()
            await self._join()
            await self._retire()
        if problem is not None:
            raise problem

    async def unload(self, name: str) -> None:
        """Answer what waits, then give the memory back; quiet for what is not loaded.

        Raises:
            NotFoundError: the list has no such model.
            ConflictError: it has sequences that are open.
        """
        async with self._lock:
            for entry in self._of(name):
                self._check_open(entry)
            for entry in self._of(name):
                was, entry.dormant = entry.dormant, False
                if entry.held is not None:
                    await self._drop(entry, _UNLOADED)
                elif was:
                    entry.reason = _UNLOADED

    async def revive(self, entry: Entry) -> None:
        """Load a dormant version because it is asked for; returns when it answers.

        While those who could leave for it are busy, it tries again for some seconds.

        Raises:
            UnavailableError: there is no room, or it is dormant no more.
            ModelworksError: it cannot be loaded.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_S
        while True:
            async with self._lock:
                if entry.live is not None:
                    return
                if self._closing or self._entries.get(entry.key) is not entry or not entry.dormant:
                    raise UnavailableError(f"{_named(entry)}: {entry.reason}")
                problem = await self._bring(entry)
                self._point()
                await self._retire()
            if problem is None:
                entry.failures = 0
                return
            if not isinstance(problem, NoRoomError):
                entry.failures += 1
                entry.patient = loop.time() + min(60.0, 2.0**entry.failures)
                raise problem
            if not problem.passing or loop.time() > until:
                raise problem
            await asyncio.sleep(_AGAIN_S)

    async def close(self, within: float) -> None:
        """Answer everything that waits and give all memory back."""
        self._closing = True
        lives = [entry.held for entry in self._entries.values() if entry.held is not None]
        began = perf_counter()
        graphs = [live for live in lives if isinstance(live, GraphLive)]
        await asyncio.gather(*(live.close(within) for live in graphs))  # they need their models
        left = max(0.1, within - (perf_counter() - began))
        await asyncio.gather(*(live.close(left) for live in lives if live not in graphs))

    def _changed(self) -> None:
        self._graphs.look(self._entries.values())
        self._told()

    async def _join(self, tried: Sequence[Key] = ()) -> None:
        """Load graphs that could not be before for want of their models."""
        for key, entry in list(self._entries.items()):
            wanting = entry.served.format == GRAPH and entry.held is None and entry.starts
            if wanting and key not in tried and entry.reason != _UNLOADED and not self._closing:
                await self._bring(entry)

    def _check(self, model: ServedModel) -> None:
        """Refuse what this server cannot do for a model.

        Raises:
            UnsupportedError: it keeps sequences, and there are several workers.
        """
        if model.sequences is not None and self._block.workers > 1:
            raise UnsupportedError(
                f"it keeps sequences, which lie in one process, and this server has "
                f"{self._block.workers} workers: serve it with --workers 1",
                field="sequences",
            )

    def _check_open(self, entry: Entry) -> None:
        live = entry.held
        if live is not None and live.sequences and live.served.sequences is not None:
            raise ConflictError(
                f"{_named(entry)} has {live.sequences} open sequences: end them, or wait until "
                f"none was asked for {live.served.sequences.idle_s:g} s"
            )

    def _of(self, name: str) -> list[Entry]:
        found = [entry for (n, _), entry in sorted(self._entries.items()) if n == name]
        if not found:
            self.entry(name)
            raise NotFoundError(f"'{name}' is an alias; load and unload take a model's name")
        return found

    def _admit(self, key: Key, model: ServedModel) -> bool:
        """Note a line of the list; whether it has to be loaded now."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(model, starts=self._starts(model))
            entry.dormant = self._policy.lazy and not entry.starts
            if entry.starts:
                entry.move(State.LOADING)
            else:
                entry.reason = _ASLEEP if entry.dormant else "it is loaded on request only"
            return entry.starts
        old, entry.served = entry.served, model
        if entry.held is not None and essence(old) == essence(model):
            entry.held.served = model
            entry.held.tap = self._tap(entry.held)
        before, entry.starts = entry.starts, entry.starts or self._starts(model)
        if entry.dormant:
            return False  # the next request loads it as it is then
        if essence(old) == essence(model):
            return entry.starts and not before and entry.live is None
        return entry.live is not None or entry.starts

    def _starts(self, model: ServedModel) -> bool:
        """Whether a version is loaded without being asked for.

        A lazy server does so too where it takes the place of one that is loaded: so a name never
        moves to what cannot be loaded.
        """
        if not self._policy.lazy or model.pinned or not model.autoload:
            return model.autoload
        same = [entry for (name, _), entry in self._entries.items() if name == model.name]
        return any(entry.live is not None for entry in same)

    async def _bring(self, entry: Entry) -> ModelworksError | None:
        """Load a version, or a changed one in the place of what serves it now."""
        old = entry.held
        if old is None and entry.state is not State.LOADING:
            entry.move(State.LOADING)
        lifetimes = entry.lifetimes = entry.lifetimes or Lifetimes(self._block, *entry.key)
        model = entry.served
        began = perf_counter()
        try:
            self._check(model)
            if model.format == GRAPH:
                for asleep in await self._graphs.asleep(model):
                    await self._bring(asleep)
                loaded, footprint = await self._graphs.load(model), 0
            else:
                await self._make_room(entry)
                began = perf_counter()
                loaded, footprint = await self._residence.load(model)
        except ModelworksError as error:
            if not (isinstance(error, NoRoomError) and error.passing):
                lifetimes.failed(perf_counter() - began)
                _log.error("%s %s cannot be served: %s", *entry.key, error.message)
            self._unborn(entry, old, error)
            return error
        lifetimes.loaded(perf_counter() - began, footprint)
        patient = model.batching.max_delay_ms > 0 or model.batching.latency_goal_ms > 0
        recorder = Recorder.of_model(self._block, *entry.key, patient=patient)
        kind = GraphLive if model.format == GRAPH else Live
        live = kind(model, loaded, recorder, answer, gather)
        live.tap = self._tap(live)
        entry.live, entry.fallen, entry.dormant = live, None, False
        entry.footprint, entry.born = footprint, time()
        if entry.state is not State.READY:
            entry.move(State.READY)
        entry.reason = _remark(live)
        live.recorder.ready(value=True)
        live.watch(partial(self._stirred, entry, live))
        _log.info("%s %s is ready", *entry.key)
        self._changed()
        if old is not None:
            old.lead(live)
            await old.close(_DRAIN_S)
            lifetimes.unloaded(evicted=False, gone=False)
        return None

    def _tap(self, live: Live) -> Tap | None:
        return self._outbox.tap(live.served, live.signature) if self._outbox is not None else None

    def _unborn(self, entry: Entry, old: Live | None, error: ModelworksError) -> None:
        """It was not loaded: what serves in its place, or who may try again."""
        if old is None:
            entry.dormant = entry.dormant or isinstance(error, NoRoomError)
            entry.move(State.UNAVAILABLE, error.message)
        elif entry.live is not None:
            entry.reason = f"the new file cannot be served, the old one is: {error.message}"

    async def _make_room(self, entry: Entry) -> None:
        """Evict, until there is room for it.

        Raises:
            NoRoomError: there is none.
        """
        while True:
            decided = await self._residence.decide(entry, self._entries.values())
            if not decided.evict:
                return
            for key in decided.evict:
                leaving = self._entries[key]
                leaving.dormant = True
                await self._drop(leaving, _EVICTED, evicted=True)

    def _stirred(self, entry: Entry, live: Live, why: str) -> None:
        """A model's process ended, or stands again."""
        if live not in {entry.live, entry.fallen}:
            return  # it was replaced or unloaded meanwhile
        if why and entry.live is live:
            entry.live, entry.fallen = None, live
            entry.move(State.UNAVAILABLE, why)
        elif why:
            entry.reason = why
        elif entry.fallen is live:
            entry.live, entry.fallen = live, None
            entry.move(State.READY, _remark(live))
        live.recorder.ready(value=not why)
        self._changed()

    async def _drop(self, entry: Entry, reason: str, *, evicted: bool = False) -> None:
        live = entry.held
        if live is None:
            return
        entry.live = entry.fallen = None
        entry.move(State.UNLOADING, reason)
        live.recorder.ready(value=False)
        key = self._names.get(live.name)
        live.lead(self._entries[key].live if key in self._entries else None)
        self._changed()
        await live.close(_DRAIN_S)
        entry.footprint = 0
        if entry.lifetimes is not None:
            entry.lifetimes.unloaded(evicted=evicted, gone=True)
        entry.move(State.UNAVAILABLE, reason)
        _log.info("%s %s was %s", live.name, live.version, "evicted" if evicted else "unloaded")

    def _point(self) -> None:
        """Let every name point where the list says, except at what did not become ready."""
        names: dict[str, Key] = {}
        for key, model in self._wanted.items():
            aliases = [f"{model.name}@{alias}" for alias in model.aliases]
            for name in ([model.name] if model.default else []) + aliases:
                held = self._names.get(name)
                names[name] = held if held and self._hold(held, key) else key
        self._names = names
        self._changed()

    def _hold(self, held: Key, key: Key) -> bool:
        """Whether a name stays at the version that serves it now."""
        old, new = self._entries.get(held), self._entries[key]
        if held == key or old is None or (old.live is None and not old.dormant):
            return False
        return new.live is None and new.starts

    async def _retire(self) -> None:
        """Let go of versions that are not on the list and that no name points at."""
        kept = set(self._wanted) | set(self._names.values())
        gone = [key for key in self._entries if key not in kept]
        gone.sort(key=lambda key: self._entries[key].served.format != GRAPH)  # before their models
        for key in gone:
            await self._drop(self._entries[key], "no longer on the list")
            del self._entries[key]
        self._changed()


def _named(entry: Entry) -> str:
    return f"model '{entry.served.name}' version {entry.served.version}"


def _unheard(live: Live) -> str:
    """What is asked of a model that generates and means nothing to it."""
    batching = live.served.batching
    found = ["its generations are not recorded"] if live.tap is not None else []
    if batching.latency_goal_ms or batching.max_delay_ms or batching.priority_levels > 1:
        found.append("its engine sees to batches: of batching only max_queue_size and timeout_ms")
    return "; ".join(found)


def _remark(live: Live) -> str:
    if live.loaded.uncached:
        return f"no answers are kept: {live.loaded.uncached}"
    if live.generations is not None:
        return _unheard(live)
    if live.unbatched:
        return f"requests are not batched: {live.unbatched}"
    return live.unpadded and f"requests of different lengths share no call: {live.unpadded}"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8]) or "none"
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
