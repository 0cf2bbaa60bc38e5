"""The model table: which versions are served, in which state, and under which names."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final, TypeAlias

from modelworks.core.errors import (
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.served import ServedList, ServedModel
from modelworks.serving.block import Block
from modelworks.serving.engine_thread import apart
from modelworks.serving.infer import answer, gather
from modelworks.serving.live import Live
from modelworks.serving.loading import Loaded, load_model
from modelworks.serving.statistics import Recorder

_log = logging.getLogger("modelworks.serving")
Key: TypeAlias = tuple[str, str]
_DRAIN_S: Final = 30.0
_LOAD_S: Final = 300.0  # a model that takes longer must not keep the others from changing


class State(StrEnum):
    """Of one version in this server; the names are those of Triton's repository index."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


_MOVES: Final = {
    State.UNAVAILABLE: {State.LOADING, State.READY, State.UNLOADING},
    State.LOADING: {State.READY, State.UNAVAILABLE},
    State.READY: {State.UNLOADING, State.UNAVAILABLE},
    State.UNLOADING: {State.UNAVAILABLE},
}


@dataclass(slots=True)
class Entry:
    """One version of the list.

    Attributes:
        served: its line.
        state: of it.
        reason: why it is in that state, or what is the matter with it.
        live: what answers; there exactly while it is READY.
        fallen: loaded, and not able to answer for now: its process ended and is started again.
    """

    served: ServedModel
    state: State = State.UNAVAILABLE
    reason: str = "not loaded yet"
    live: Live | None = None
    fallen: Live | None = None

    @property
    def held(self) -> Live | None:
        """What holds memory."""
        return self.live or self.fallen

    def move(self, state: State, reason: str = "") -> None:
        """Change state, along the allowed moves only."""
        if state not in _MOVES[self.state]:
            raise RuntimeError(f"{self.served.name}: {self.state} cannot become {state}")
        self.state, self.reason = state, reason


class ModelTable:
    """All models of one worker. Methods run on the loop; loading runs in a thread.

    Args:
        block: where the counters live.
        threads: engine threads a model.
        changed: called after every change of what is served and under which names.
    """

    def __init__(self, block: Block, threads: int, changed: Callable[[], None]) -> None:
        self.generation = -1
        self.problem = ""  # why the newest served list is not in force
        self._block = block
        self._threads = threads
        self._changed = changed
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
            served = entry.served
            state = "not available" if entry.state is State.UNAVAILABLE else entry.state.lower()
            reason = f": {entry.reason}" if entry.reason else ""
            raise UnavailableError(
                f"model '{served.name}' version {served.version} is {state}{reason}"
            )
        return entry.live

    def entry(self, name: str, version: str | None = None) -> Entry:
        """The line for `name`, `name@alias`, or `name` and `version`.

        Raises:
            NotFoundError: there is none; the message lists what there is.
        """
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
        """Whether everything that starts by itself is loaded or failed, and something answers."""
        entries = self._entries.values()
        if self._closing or self.generation < 0:
            return False
        if any(entry.state is State.LOADING for entry in entries):
            return False
        failed = [e for e in entries if e.served.autoload and e.live is None]
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
            wanted = {(model.name, model.version): model for model in served.models}
            self._wanted = wanted
            todo = [key for key, model in wanted.items() if self._admit(key, model)]
            self._point()
            for key in todo:
                await self._bring(key, wanted[key])
            self._point()
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
                    error = await self._bring((name, entry.served.version), entry.served)
                    problem = problem or error
            self._point()
            await self._retire()
        if problem is not None:
            raise problem

    async def unload(self, name: str) -> None:
        """Answer what waits, then give the memory back; quiet for what is not loaded.

        Raises:
            NotFoundError: the list has no such model.
        """
        async with self._lock:
            for entry in self._of(name):
                await self._drop(entry, "unloaded on request; load it again to use it")

    async def close(self, within: float) -> None:
        """Answer everything that waits and give all memory back."""
        self._closing = True
        lives = [entry.held for entry in self._entries.values() if entry.held is not None]
        await asyncio.gather(*(live.close(within) for live in lives))

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
            entry = self._entries[key] = Entry(model)
            if model.autoload:
                entry.move(State.LOADING)
            else:
                entry.reason = "it is loaded on request only"
            return model.autoload
        old, entry.served = entry.served, model
        if _essence(old) == _essence(model):
            return model.autoload and not old.autoload and entry.live is None
        return entry.live is not None or model.autoload

    async def _bring(self, key: Key, model: ServedModel) -> ModelworksError | None:
        """Load a version, or a changed one in the place of what serves it now."""
        entry = self._entries[key]
        old = entry.held
        if old is None and entry.state is not State.LOADING:
            entry.move(State.LOADING)
        try:
            loaded = await self._load(key, model)
        except ModelworksError as error:
            _log.error("%s %s cannot be served: %s", *key, error.message)
            if old is None:
                entry.move(State.UNAVAILABLE, error.message)
            elif entry.live is not None:
                entry.reason = f"the new file cannot be served, the old one is: {error.message}"
            return error
        live = Live(model, loaded, Recorder.of_model(self._block, *key), answer, gather)
        entry.live, entry.fallen = live, None
        if entry.state is not State.READY:
            entry.move(State.READY)
        entry.reason = _remark(live)
        live.recorder.ready(value=True)
        live.watch(partial(self._stirred, entry, live))
        _log.info("%s %s is ready", *key)
        self._changed()
        if old is not None:
            await old.close(_DRAIN_S)
        return None

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

    async def _load(self, key: Key, model: ServedModel) -> Loaded:
        try:
            work = partial(load_model, model, self._threads)
            return await apart(f"load-{key[0]}", work, _LOAD_S)
        except TimeoutError as error:
            raise UnavailableError(
                f"it did not answer its first inferences within {_LOAD_S:g} s"
            ) from error

    async def _drop(self, entry: Entry, reason: str) -> None:
        live = entry.held
        if live is None:
            return
        entry.live = entry.fallen = None
        entry.move(State.UNLOADING)
        live.recorder.ready(value=False)
        self._changed()
        await live.close(_DRAIN_S)
        entry.move(State.UNAVAILABLE, reason)
        _log.info("%s %s was unloaded", live.name, live.version)

    def _point(self) -> None:
        """Let every name point where the list says, except at what did not become ready."""
        names: dict[str, Key] = {}
        for key, model in self._wanted.items():
            aliases = [f"{model.name}@{alias}" for alias in model.aliases]
            for name in ([model.name] if model.default else []) + aliases:
                held = self._names.get(name)
                names[name] = held if held and self._hold(held, key, model) else key
        self._names = names
        self._changed()

    def _hold(self, held: Key, key: Key, model: ServedModel) -> bool:
        """Whether a name stays at the version that serves it now."""
        old, new = self._entries.get(held), self._entries[key]
        if held == key or old is None or old.live is None:
            return False
        return new.live is None and model.autoload

    async def _retire(self) -> None:
        """Let go of versions that are not on the list and that no name points at."""
        kept = set(self._wanted) | set(self._names.values())
        for key in [key for key in self._entries if key not in kept]:
            await self._drop(self._entries[key], "no longer on the list")
            del self._entries[key]
        self._changed()


def check(served: ServedList) -> None:
    """Refuse a list that contradicts itself.

    Raises:
        InvalidError: a version twice, an alias twice, or not exactly one default a model.
    """
    keys: set[Key] = set()
    aliases: set[str] = set()
    defaults: dict[str, int] = {}
    for place, model in enumerate(served.models):
        where = f"models[{place}]"
        key = (model.name, model.version)
        if key in keys:
            raise InvalidError(f"{where}: {model.name} {model.version} is there twice", field=where)
        keys.add(key)
        defaults[model.name] = defaults.get(model.name, 0) + model.default
        for alias in model.aliases:
            name = f"{model.name}@{alias}"
            if name in aliases:
                raise InvalidError(f"{where}: alias {name} is there twice", field=where)
            aliases.add(name)
        limits = model.batching
        if limits.max_batch_size < 1 or limits.max_queue_size < 1:
            raise InvalidError(f"{where}.batching: sizes begin at 1", field=f"{where}.batching")
    wrong = [name for name, count in defaults.items() if count != 1]
    if wrong:
        raise InvalidError(f"model '{wrong[0]}' has {defaults[wrong[0]]} defaults, wanted is one")


def _essence(model: ServedModel) -> ServedModel:
    """What makes a reload necessary."""
    return replace(model, default=True, aliases=(), autoload=True)


def _remark(live: Live) -> str:
    return live.unbatched and f"requests are not batched: {live.unbatched}"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8]) or "none"
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
