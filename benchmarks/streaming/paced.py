"""A model server whose model makes tokens at a pace; each token is the time when it was made.

    python benchmarks/streaming/paced.py TOKENS_PER_SECOND

Prints its port. The engine is one thread of the server's process, as an engine's own thread would
be; everything in front of it is the product's.
"""

import asyncio
import heapq
import sys
import threading
import time
from collections.abc import Callable

import uvloop

from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.core.served import ServedList, ServedModel
from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener, bind
from modelworks.serving import loading
from modelworks.serving.app import App
from modelworks.serving.block import Block
from modelworks.serving.control import LocalControl
from modelworks.serving.models import ModelTable
from modelworks.testing.generating import TEXT


class Paced:
    """Fulfils `Session` and `Generating`."""

    signature, apart = TEXT, True

    def __init__(self, rate: float) -> None:
        self._pause = 1.0 / rate
        self._due: list[list] = []  # when, number, left, tell, stopped
        self._lock = threading.Condition()
        self._number = 0
        threading.Thread(target=self._run, daemon=True).start()

    def count(self, text: str) -> int:
        """One, of any text."""
        del text
        return 1

    def generate(
        self, prompt: Prompt, sampling: Sampling, tell: Callable[[Piece], None]
    ) -> Callable[[], None]:
        """See `Generating`."""
        del prompt
        with self._lock:
            self._number += 1
            one = [time.monotonic(), self._number, sampling.max_tokens, tell, False]
            heapq.heappush(self._due, one)
            self._lock.notify()

        def stop() -> None:
            one[4] = True

        return stop

    def close(self) -> None:
        """It ends with the process."""

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._due or (left := self._due[0][0] - time.monotonic()) > 0:
                    self._lock.wait(left if self._due else None)
                one = heapq.heappop(self._due)
            _, _, left, tell, stopped = one
            made = str(time.monotonic_ns())
            if stopped or left <= 1:
                tell(Piece(made, 1, Finish.CANCELLED if stopped else Finish.LENGTH))
                continue
            tell(Piece(made))
            one[0] += self._pause
            one[2] = left - 1
            with self._lock:
                heapq.heappush(self._due, one)


class Engine:
    """Gives the session that is there."""

    name, formats, experimental = "paced", ("paced",), False

    def __init__(self, session: Paced) -> None:
        self._session = session

    def load(self, path: object, options: object) -> Paced:
        """See `Engine`."""
        del path, options
        return self._session


async def main() -> None:
    """Serve until the parent ends."""
    engine = Engine(Paced(float(sys.argv[1])))
    # Its name is in no entry point.
    loading._engine = lambda _served: (engine, ())  # noqa: SLF001
    app = App(Block(), "0", time.time())
    table = ModelTable(Block(), 1, app.refresh)
    app.begin(table, LocalControl(table))
    model = ServedModel("m", "1", "/nowhere", "sha256:0", format="paced", engine="paced")
    await table.apply(ServedList(1, (model,)))
    listener = Listener(app, Limits())
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    await listener.start(sock)
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await listener.drain(0.1)


if __name__ == "__main__":
    uvloop.run(main())
