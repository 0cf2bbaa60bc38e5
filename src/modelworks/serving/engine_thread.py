"""The one thread on which a model's long calls run; onnxruntime releases the GIL there."""

import asyncio
import logging
from collections.abc import Callable
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
