"""One model's jobs, after each other: in batches as large as it takes, behind its other callers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.ids import now_ns
from modelworks.core.jobs import JobState
from modelworks.protocol.problems import problem
from modelworks.serving.entries import Entry
from modelworks.serving.infer import infer
from modelworks.serving.jobs.exchange import JobExchange
from modelworks.serving.jobs.rows import Claim, Claimed, Ending, Line
from modelworks.serving.live import Live

_log = logging.getLogger("modelworks.serving")
MOST: Final = 512
BYTES: Final = 32 << 20
_REMOTE_MOST: Final = 4
_LOOK_S: Final = 0.002
PATIENCE_S: Final = 0.5
"""How long a batch of jobs lets others go first; then it takes its turn among them."""
GRACE_S: Final = 60.0
"""How long a job waits for a model that this worker does not know."""
_ABSENT_S: Final = 0.5
_FIRST_S: Final = 0.5
_LONGEST_S: Final = 60.0


class Models(Protocol):
    """What a lane asks of the model table."""

    def entry(self, name: str, version: str | None = None) -> Entry:
        """See `ModelTable.entry`."""
        ...

    async def revive(self, entry: Entry) -> None:
        """See `ModelTable.revive`."""
        ...


class Book(Protocol):
    """What a lane asks of the jobs' file; each returns when it is on the disk."""

    async def claim(
        self, line: Line, most: int, size: int, *, suspects: bool, age_s: float = 0.0
    ) -> Claim:
        """See `work.claim`; of jobs that were accepted so long ago."""
        ...

    async def end(self, endings: Sequence[Ending]) -> None:
        """See `work.end`; waits for a disk that is full."""
        ...


@dataclass(slots=True)
class Lane:
    """Runs the jobs of one line until none is left.

    Attributes:
        line: whose.
        models: that are served.
        book: the jobs' file.
        fetch: gets the inputs of a job that came without.
        attempts: that an unavailable model may cost a job.
        alone: held while a job runs that may end the process.
        closing: whether it is to stop.
    """

    line: Line
    models: Models
    book: Book
    fetch: Callable[[Claimed], Awaitable[Claimed]]
    attempts: int
    alone: asyncio.Lock
    closing: Callable[[], bool]

    async def run(self) -> None:
        """Until nothing of this line is due."""
        while not self.closing():
            try:
                live = await self._live()
            except NotFoundError as error:
                if not await self._refuse(error):
                    return
                continue
            if live is None:
                return  # looked after again when the next look finds jobs
            if not await self._some(live):
                return

    async def _some(self, live: Live) -> bool:
        most = _REMOTE_MOST if self.line.remote else MOST
        claim = await self.book.claim(self.line, most, BYTES, suspects=False)
        if claim.jobs:
            await self._through(claim.jobs, live)
            return True
        if not claim.suspect:
            return False
        async with self.alone:
            claim = await self.book.claim(self.line, 1, BYTES, suspects=True)
            if claim.jobs:
                await self._through(claim.jobs, live)
        return bool(claim.jobs)

    async def _live(self) -> Live | None:
        """The model; None = it cannot answer now.

        Raises:
            NotFoundError: it is not served.
        """
        try:
            entry = self.models.entry(self.line.model, self.line.version or None)
            if entry.live is None and entry.dormant:
                await self.models.revive(entry)
            if entry.live is not None:
                return entry.live
        except NotFoundError:
            raise
        except ModelworksError:
            pass
        await asyncio.sleep(_ABSENT_S)
        return None

    async def _refuse(self, error: ModelworksError) -> bool:
        """End jobs whose model is gone; whether there were any.

        Others may have the list already that we are to get: they run what is young.
        """
        claim = await self.book.claim(self.line, MOST, BYTES, suspects=True, age_s=GRACE_S)
        await self.book.end([refusal(job, error) for job in claim.jobs])
        return bool(claim.jobs)

    async def _through(self, jobs: Sequence[Claimed], live: Live) -> None:
        """Run what was claimed; what ends while the disk is busy is recorded together next."""
        recording: asyncio.Task[None] | None = None
        ended: list[Ending] = []
        try:
            for batch in _batches(await self._fetched(jobs), live):
                if self.closing():
                    break
                ended += await self._batch(batch)
                if recording is None or recording.done():
                    if recording is not None:
                        recording.result()
                    recording = asyncio.get_running_loop().create_task(self.book.end(ended))
                    ended = []
        finally:
            if recording is not None:
                await recording
            await self.book.end(ended)

    async def _fetched(self, jobs: Sequence[Claimed]) -> list[Claimed]:
        """Those jobs whose inputs are here; the others are ended."""
        endings, found = [], []
        if self.line.remote:
            got = await asyncio.gather(*map(self.fetch, jobs), return_exceptions=True)
        else:
            got = list(jobs)
        for job, result in zip(jobs, got, strict=True):
            if isinstance(result, ModelworksError):
                later = isinstance(result, UnavailableError)
                endings.append(self._again(refusal(job, result), later=later))
            elif isinstance(result, Exception):  # one's trouble is not its neighbours'
                _log.error("inputs of job %s could not be fetched", job.id, exc_info=result)
                why = CrashedError("its inputs could not be fetched: see the server's log")
                endings.append(refusal(job, why))
            elif isinstance(result, BaseException):
                raise result
            elif result.body is None:
                damage = InvalidError("the body was damaged on the disk: submit the job again")
                endings.append(refusal(job, damage))
            else:
                found.append(result)
        if endings:
            await self.book.end(endings)
        return found

    async def _batch(self, jobs: Sequence[Claimed]) -> list[Ending]:
        """Run jobs together, and wait for all of their answers."""
        await self._turn()
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        endings: list[Ending] = []
        exchanges: list[JobExchange] = []
        left = len(jobs)

        def ended(exchange: JobExchange, ending: Ending) -> None:
            nonlocal left
            left -= 1
            endings.append(self._again(ending, later=exchange.later))
            if not left and not over.done():
                over.set_result(None)

        path = self._path()
        for job in jobs:
            exchange = JobExchange(job, path, ended)
            exchanges.append(exchange)
            seconds = (job.deadline_ns - now_ns()) / 1e9
            if seconds > 0:
                exchange.within(seconds)
                self._infer(exchange)
            else:
                exchange.late()
        try:
            await over
        finally:
            for exchange in exchanges:
                if not exchange.answered:
                    exchange.leave()
        return endings

    def _infer(self, exchange: JobExchange) -> None:
        try:
            entry = self.models.entry(self.line.model, self.line.version or None)
            orderless(entry)
            live = entry.live
            if live is None:
                raise UnavailableError(f"model '{self.line.model}' is not available")  # noqa: TRY301 - as all others
            infer(live, exchange)
        except Exception as error:  # noqa: BLE001 - the job must have an end
            if not isinstance(error, ModelworksError):
                _log.exception("a job failed")
            if not exchange.answered:
                status, body, headers = problem(error)
                exchange.reply(status, body, b"application/json", headers)

    async def _turn(self) -> None:
        """Wait until nobody else asks the model, or long enough."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while not self.closing() and loop.time() < until:
            try:
                live = self.models.entry(self.line.model, self.line.version or None).live
            except ModelworksError:
                return
            if live is None or not live.waited_for:
                return
            await asyncio.sleep(_LOOK_S)

    def _again(self, ending: Ending, *, later: bool) -> Ending:
        """The same, or another attempt later where that may help."""
        if not later or ending.attempt >= self.attempts:
            return ending
        pause = min(_LONGEST_S, _FIRST_S * 2.0 ** (ending.attempt - 1))
        due = now_ns() + round(pause * 1e9)
        return replace(ending, state=JobState.QUEUED, due_ns=due)

    def _path(self) -> bytes:
        version = f"/versions/{self.line.version}" if self.line.version else ""
        return f"/v2/models/{self.line.model}{version}/infer".encode()


def orderless(entry: Entry) -> None:
    """See whether requests of a model may run twice, and in any order.

    Raises:
        InvalidError: it remembers from one to the next.
    """
    if entry.served.sequences is not None:
        raise InvalidError(
            f"model '{entry.served.name}' remembers from one request of a sequence to the next; a "
            "job may run twice, and in any order: ask it at /infer"
        )


def refusal(job: Claimed, error: ModelworksError) -> Ending:
    """The end of a job that cannot be run."""
    status, body, _ = problem(error)
    return Ending(job.seq, job.attempt, JobState.FAILED, status, error.message, body)


def _batches(jobs: Sequence[Claimed], live: Live) -> Iterator[list[Claimed]]:
    """As many together as fill one call; one whose rows are not known goes alone."""
    size = live.batcher.limits.max_batch_size if live.batched else 1
    batch: list[Claimed] = []
    rows = 0
    for job in jobs:
        count = (job.rows or size) if live.batched else 1
        if batch and rows + count > size:
            yield batch
            batch, rows = [], 0
        batch.append(job)
        rows += count
    if batch:
        yield batch
