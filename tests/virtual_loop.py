"""An event loop whose clock jumps to the next timer: delays and time-outs without waiting."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

CLOCKED = (
    "modelworks.serving.batcher.batcher",
    "modelworks.serving.batcher.member",
    "modelworks.serving.execute",
    "modelworks.serving.cache.flights",
    "modelworks.serving.sequences.remembering",
)
_LONGEST_S = 3600.0
_TURN_S = 1e-6


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(10)
            assert ready, "nothing is due and nobody comes: it waits for ever"
        elif not ready and timeout:
            self.loop.now += timeout
            assert self.loop.now < _LONGEST_S, "an hour passed"
        self.loop.now += _TURN_S
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Attributes: now: seconds; what passes is until this loop's timers, and a moment each turn."""

    def __init__(self) -> None:
        self.now = 100.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def now_ns(self) -> int:
        return round(self.now * 1e9)


class SimulatedThread:
    """In the place of an engine thread: the call's time passes on the loop's clock.

    Args:
        loop: whose clock.
        seconds: a call takes; asked anew for each.
    """

    def __init__(self, loop: VirtualLoop, seconds: Callable[[], float]) -> None:
        self._loop = loop
        self._seconds = seconds
        self.running = 0

    def run(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.running += 1
        assert self.running == 1, "two calls at the same time"

        def begin() -> None:
            self._loop.call_later(self._seconds(), finish, job())

        def finish(result: Any) -> None:
            for call in result:
                call.inferred = self._loop.now_ns()
            self.running -= 1
            done(result)

        self._loop.call_soon(begin)

    async def stop(self, within: float) -> bool:
        return within > 0 and not self.running


def play(main: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on a loop of its own, with the batcher's clock that of the loop."""
    loop = VirtualLoop()
    with ExitStack() as stack:
        stack.callback(loop.close)
        for module in CLOCKED:
            stack.enter_context(patch(f"{module}.perf_counter_ns", loop.now_ns))
        loop.run_until_complete(main(loop))
