"""Loads models into this worker: measures what each takes, and says who leaves for the next one."""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from time import time
from typing import Final

from modelworks.core.errors import UnavailableError
from modelworks.core.graphs import GRAPH
from modelworks.core.seams import Elsewhere
from modelworks.core.served import ServedModel
from modelworks.serving import memory
from modelworks.serving.engine_thread import apart
from modelworks.serving.entries import Entry
from modelworks.serving.footprints import Footprints, size_of
from modelworks.serving.loading import Loaded, load_model
from modelworks.serving.policy import Policy
from modelworks.serving.room import SETTLE_S, Plan, Tenant, limit_of, plan, refusal

_LOAD_S: Final = 300.0  # a model that takes longer must not keep the others from changing
_LEAST: Final = 64 << 10


class Residence:
    """What one worker may hold.

    Args:
        policy: of the server.
        threads: of an engine.
        workers: that share the server's memory.
    """

    def __init__(self, policy: Policy, threads: int, workers: int) -> None:
        self._threads = threads
        self._footprints = Footprints(policy.footprints)
        self._limit = limit_of(policy.memory_bytes, workers) if policy.limited else None

    async def load(self, served: ServedModel) -> tuple[Loaded, int]:
        """A session that has run, and the bytes that it takes.

        Raises:
            ModelworksError: it cannot be served.
        """
        try:
            work = partial(self._load, served)
            return await apart(f"load-{served.name}", work, _LOAD_S)
        except TimeoutError as error:
            raise UnavailableError(
                f"it did not answer its first inferences within {_LOAD_S:g} s"
            ) from error

    async def decide(self, entry: Entry, entries: Iterable[Entry]) -> Plan:
        """Who leaves for a model; nobody where there is room.

        Raises:
            NoRoomError: it does not fit, whoever may leave now.
        """
        limit = self._limit
        if limit is None:
            return Plan((), fits=True, later=False)
        others = [other for other in entries if other is not entry]
        held = [other.held for other in (*others, entry)]
        pids = [pid for live in held if live is not None for pid in live.processes()]
        wanted = self._footprints.expected(entry.served)
        # A hundred processes take a while to ask.
        elsewhere = await asyncio.to_thread(memory.of_processes, pids) if pids else 0
        room = limit.room(memory.own() + elsewhere, memory.machine())
        decided = plan(wanted.bytes, room, [_tenant(other) for other in others if _leaves(other)])
        if not decided.fits:
            raise refusal(entry, wanted, room, limit, decided)
        return decided

    def _load(self, served: ServedModel) -> tuple[Loaded, int]:
        before = memory.own()
        loaded = load_model(served, self._threads)
        session = loaded.session
        grown = memory.own() - before
        if isinstance(session, Elsewhere):
            size = max(grown, 0) + memory.of_processes(session.processes())
        else:
            # What others gave back meanwhile would count as ours: it is never less than this.
            size = max(grown, size_of(Path(served.path)) // 2)
        size = max(size, _LEAST)
        self._footprints.measured(served, size)
        return loaded, size


def _leaves(entry: Entry) -> bool:
    """Whether anything comes free when it goes: a graph has no memory of its own."""
    return entry.live is not None and entry.served.format != GRAPH


def _tenant(entry: Entry) -> Tenant:
    live = entry.live
    assert live is not None  # noqa: S101 - the caller looked
    used = max(entry.born, live.used)
    settled = time() - entry.born >= SETTLE_S
    free = settled and not entry.served.pinned and not live.busy
    return Tenant(entry.key, entry.footprint, used, free, entry.served.pinned)
