"""Runs one worker's share of the jobs, and keeps their file in order: on its loop, a task each."""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.ids import now_ns
from modelworks.serving.jobs import work
from modelworks.serving.jobs.callbacks import Callbacks
from modelworks.serving.jobs.fetching import Fetching
from modelworks.serving.jobs.holder import Holder
from modelworks.serving.jobs.lane import Lane, Models
from modelworks.serving.jobs.ledger import Base, Ledger
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.outside import Outside
from modelworks.serving.jobs.rows import Claim, Counts, Ending, Line

_log = logging.getLogger("modelworks.serving")
R = TypeVar("R")
FILE: Final = "jobs.sqlite"
_PERIOD_S: Final = 1.0
_LANES: Final = 32
_CLEARINGS: Final = 20  # a second, others' commits between them: more than are accepted meanwhile
_AGAIN_S: Final = 0.5
_STOP_S: Final = 10.0
_NOTHING: Final = Counts({}, {}, 0, 0)


class Runner:
    """Of one worker.

    Args:
        options: see there.
        models: that are served.
        outside: what it may reach of the world.

    Attributes:
        ledger: the jobs' file.
        counts: the file in numbers, as of the last second.
        problem: why the file takes nothing; empty = it does.
    """

    def __init__(self, options: JobOptions, models: Models, outside: Outside) -> None:
        self._options = options
        self._models = models
        folder: Path = options.folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sync(folder.parent)  # else a new folder may be gone after the machine stopped
            self._holder = Holder(folder)
        except OSError as error:
            raise InvalidError(
                f"jobs: {folder} cannot be written to: {error.strerror}", field="jobs"
            ) from error
        self.ledger = Ledger(folder / FILE)
        self.counts = _NOTHING
        self.problem = ""
        self._fetching = Fetching(outside, options.fetch_s, options.fetch_bytes)
        self._callbacks = Callbacks(self.ledger, self._holder.name, outside, options)
        self._alone = asyncio.Lock()
        self._lanes: dict[Line, asyncio.Task[None]] = {}
        self._fresh: set[Line] = set()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to run what waits."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def accepted(self, line: Line) -> None:
        """A job of this line was written down here."""
        if line not in self._lanes:
            self._begin(line)
        else:
            self._fresh.add(line)  # it may just be ending

    async def close(self) -> None:
        """Let the batches that run have their answers, give back the rest, close the file."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        tasks = list(self._lanes.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._callbacks.close()
        self._fetching.close()
        try:
            await self._do(partial(work.release, runner=self._holder.name))
            released = True
        except ModelworksError as error:
            released = False
            _log.warning("jobs that were taken are taken again at the next start: %s", error)
        await self.ledger.close()
        if released:
            self._holder.close()

    # -- what lanes ask; see `lane.Book`

    async def claim(
        self, line: Line, most: int, size: int, *, suspects: bool, age_s: float = 0.0
    ) -> Claim:
        """See `lane.Book`."""
        if self._closing:
            return Claim(())
        now = now_ns()
        return await self._do(
            partial(
                work.claim,
                runner=self._holder.name,
                line=line,
                now=now,
                before=now - round(age_s * 1e9),
                most=most,
                most_bytes=size,
                suspects=suspects,
            )
        )

    async def end(self, endings: Sequence[Ending]) -> None:
        """See `lane.Book`."""
        if not endings:
            return
        record = partial(work.end, runner=self._holder.name, endings=endings)
        while True:
            try:
                await self._do(partial(record, now=now_ns()))
            except UnavailableError as error:
                self.problem = error.message
                if self._closing:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                self._callbacks.look()
                return

    async def _do(self, asked: Callable[[Base], R]) -> R:
        return await self.ledger.do(asked)

    # -- looking

    async def _watch(self) -> None:
        while not self._closing:
            try:
                await self._look()
                self.problem = ""
            except ModelworksError as error:
                self.problem = error.message
            except Exception:  # noqa: BLE001 - it looks again in a second
                _log.exception("looking after jobs failed")
            period = _PERIOD_S * random.uniform(0.8, 1.2)  # noqa: S311 - workers take turns
            try:
                await asyncio.wait_for(self._wake.wait(), period)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Take back what the dead had, clear what is over, begin what nobody runs."""
        found, holders, counts = await self.ledger.do(_survey, writes=False)
        self.counts = counts
        dead = self._holder.dead(holders | self._holder.others())
        gone = frozenset(dead & holders)
        if gone:
            again = await self._do(
                partial(work.bury, dead=gone, attempts=self._options.attempts, now=now_ns())
            )
            _log.warning("a worker ended while it ran jobs: %d run again", again)
            found = await self.ledger.do(work.lines, writes=False)
        self._holder.forget(dead)
        due = await self.ledger.do(
            partial(work.unclear, options=self._options, now=now_ns()), writes=False
        )
        for _ in range(_CLEARINGS if due else 0):
            more = await self._do(partial(work.clear, options=self._options, now=now_ns()))
            if not more or self._closing:
                break
        for line in found:
            if len(self._lanes) < _LANES:
                self._begin(line)
        self._callbacks.look()

    def _begin(self, line: Line) -> None:
        if self._closing or line in self._lanes:
            return
        lane = Lane(
            line=line,
            models=self._models,
            book=self,
            fetch=self._fetching.fetch,
            attempts=self._options.attempts,
            alone=self._alone,
            closing=lambda: self._closing,
        )
        task = asyncio.get_running_loop().create_task(self._run(lane))
        self._lanes[line] = task

    async def _run(self, lane: Lane) -> None:
        try:
            await lane.run()
        except ModelworksError as error:
            self.problem = error.message  # looked after again within a second
            self._fresh.discard(lane.line)
        except Exception:  # noqa: BLE001 - the same
            _log.exception("jobs of %s stopped; they go on within a second", lane.line.model)
            self._fresh.discard(lane.line)
        finally:
            self._lanes.pop(lane.line, None)
        if lane.line in self._fresh:
            self._fresh.discard(lane.line)
            self._begin(lane.line)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _survey(base: Base) -> tuple[list[Line], set[str], Counts]:
    return work.lines(base), work.holders(base), work.counts(base)
