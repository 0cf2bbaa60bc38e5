"""A model server in a thread whose model is `Words`: it generates, and the test holds it back."""

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress
from typing import Self

import uvloop

from modelworks.core.served import Batching, ServedList, ServedModel
from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener, bind
from modelworks.serving import loading
from modelworks.serving.app import App
from modelworks.serving.block import Block
from modelworks.serving.control import LocalControl
from modelworks.serving.generating.numbers import read_generated
from modelworks.serving.models import ModelTable
from modelworks.serving.statistics import read

LIMITS = Limits(write_timeout_s=30.0, drain_linger_s=0.05, max_connections=4096)


class Words:
    """The engine of a session that is there already."""

    name, formats, experimental = "words", ("words",), False

    def __init__(self, session):
        self.session = session

    def load(self, path, options):
        del path, options
        return self.session


class Server:
    """The model `m`, version 1.0.0; leave it by `close`, or as a context."""

    def __init__(self, session, patch, *, limits=LIMITS, batching=None, held=False):
        self.session = session
        self.limits = limits
        engine = Words(session)
        patch.setattr(loading, "_engine", lambda served: (engine, ()))
        # A path with nothing in it: the engine asks for no file.
        self.served = ServedModel(
            *("m", "1.0.0", "/nowhere", "sha256:1"),
            format="words",
            engine="words",
            batching=batching or Batching(),
        )
        self.block = Block()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(30), "the server did not start"
        if held:
            session.hold()

    async def _run(self):
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.app = App(self.block, "0", time.time())
        self.table = ModelTable(self.block, 1, self.app.refresh)
        self.app.begin(self.table, LocalControl(self.table))
        await self.table.apply(ServedList(1, (self.served,)))
        self.listener = Listener(self.app, self.limits, traced=self.app.traced)
        sock = bind("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        await self.listener.start(sock)
        self._ready.set()
        await self._stop.wait()
        await self.listener.drain(0.2)
        await self.table.close(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def call(self, work):
        """Run on the loop's thread and wait."""

        async def run():
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def wait(self, coroutine):
        """The same for a coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def until(self, condition, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "what was waited for did not come"
            time.sleep(0.005)

    def numbers(self):
        """What was counted of generations."""
        return self.call(lambda: read_generated(self.block, self.block.models()["m", "1.0.0"]))

    def requests(self):
        """What was counted of requests."""
        return self.call(lambda: read(self.block, self.block.models()["m", "1.0.0"]))

    def settled(self) -> None:
        """Wait until nothing is under way anywhere."""
        self.until(lambda: not self.session.open)
        self.until(lambda: not self.numbers().open)
        self.until(lambda: not self.listener.in_flight)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, text, verb="generate", headers="", sock=None, path="/v2/models/m", **more):
        """Send a request; the socket."""
        if sock is None:
            sock = self.connect()
        body = json.dumps({"text_input": text, **more}).encode()
        head = f"POST {path}/{verb} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {len(body)}\r\n"
        sock.sendall(head.encode() + b"\r\n" + body)
        return sock


class Answer:
    """What a socket answers: head, then events or a body, as they come."""

    def __init__(self, sock):
        self._file = sock.makefile("rb")
        first = self._file.readline()
        self.status = int(first.split()[1]) if first else 0
        self.headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.partition(b": ")
            self.headers[name.lower().decode()] = value.decode()
        self._left = b""

    def chunk(self):
        """The next chunk; empty = the last."""
        size = int(self._file.readline(), 16)
        data = self._file.read(size + 2)[:-2]
        assert len(data) == size, "the body broke off"
        return data

    def events(self):
        """Every event to the end."""
        while chunk := self.chunk():
            self._left += chunk
            while b"\n\n" in self._left:
                event, _, self._left = self._left.partition(b"\n\n")
                assert event.startswith(b"data: ")
                yield json.loads(event[6:])

    def json(self):
        """The whole body."""
        return json.loads(self._file.read(int(self.headers["content-length"])))

    def close(self):
        with suppress(OSError):
            self._file.close()
