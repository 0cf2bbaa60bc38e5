"""Threads for what an engine does: a model's long calls, and loading. None can hold up our end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

R = TypeVar("R")
_log = logging.getLogger("modelworks.serving")


class EngineThread:
    """Runs one job at a time; the caller hands over the next one only after `done` was called.

    The thread starts with its first job and is a daemon: an engine that never returns cannot keep
    the process alive.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._name = name
        self._loop = loop
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def run(self, job: Callable[[], R], done: Callable[[R], None]) -> None:
        """Call `job` on the thread, then `done` with its result on the loop. `job` never raises."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name=f"engine-{self._name}", daemon=True)
            self._thread.start()

        def both() -> None:
            self._loop.call_soon_threadsafe(done, job())

        self._jobs.put(both)

    async def stop(self, within: float) -> bool:
        """End the thread after its present job; False when it still runs after `within` s."""
        thread = self._thread
        if thread is None:
            return True
        self._jobs.put(None)
        await asyncio.to_thread(thread.join, within)
        return not thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except RuntimeError:  # the loop closed under a call that outlived its deadline
                _log.warning("the answer of a call of %s came after the server's end", self._name)


class EngineThreads(EngineThread):
    """Several of them as one: so many jobs at a time, which is for the caller to keep to.

    Args:
        name: of the model.
        loop: that hears of results.
        count: of threads.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, count: int) -> None:
        super().__init__(name, loop)
        self._all = [EngineThread(f"{name}-{number}", loop) for number in range(count)]
        self._free = list(reversed(self._all))

    def run(self, job: Callable[[], R], done: Callable[[R], None]) -> None:
        """As `EngineThread.run`, on one that is free."""
        thread = self._free.pop()

        def landed(result: R) -> None:
            self._free.append(thread)
            done(result)

        thread.run(job, landed)

    async def stop(self, within: float) -> bool:
        """End all after their present jobs; False when one still runs after `within` s."""
        return all(await asyncio.gather(*(thread.stop(within) for thread in self._all)))


async def apart(name: str, work: Callable[[], R], within: float) -> R:
    """The result of `work`, called on a thread of its own.

    A daemon thread, not one of the loop's executor: the end of the process waits for those, and a
    model may never come back from its first inference.

    Args:
        name: of the thread.
        work: what to call.
        within: seconds; what comes later is dropped.

    Raises:
        TimeoutError: it took longer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def settle(settled: Callable[[], None]) -> None:
        if not future.done():
            settled()

    def run() -> None:
        try:
            settled = partial(future.set_result, work())
        except BaseException as error:  # noqa: BLE001 - the awaiting side gets it
            settled = partial(future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop closed: nobody waits any more
            loop.call_soon_threadsafe(settle, settled)

    Thread(target=run, name=name, daemon=True).start()
    async with asyncio.timeout(within):
        return await future
