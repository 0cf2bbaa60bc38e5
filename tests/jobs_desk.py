"""What tests of jobs share: submissions, a desk with a real model, a receiver of callbacks."""

import asyncio
import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter_ns

from modelworks.core.ids import now_ns, uuid7
from modelworks.core.served import ServedList, ServedModel
from modelworks.serving.block import Block
from modelworks.serving.jobs.desk import Desk
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.rows import Submission
from modelworks.serving.models import ModelTable
from modelworks.serving.statistics import Recorder
from modelworks.testing import onnx_models as models

SECOND = 1_000_000_000


def body(*values, name="a"):
    """A request of the model `double`."""
    data = list(values or (1.0, 2.0, 3.0))
    entry = {"name": "x", "shape": [1, len(data)], "datatype": "FP32", "data": data}
    return json.dumps({"id": name, "inputs": [entry]}).encode()


def submission(text=b"x", owner="", **more):
    """A job as the store takes it."""
    now = now_ns()
    told = {"model": "m", "version": "", "headers": {}, "rows": 1}
    told |= {"created_ns": now, "deadline_ns": now + 60 * SECOND, "id": uuid7()}
    return Submission(owner=owner, body=text, **(told | more))


class Asked:
    """An exchange without a connection, answered once."""

    def __init__(self, method=b"GET", text=b"", query=b"", **headers):
        self.method, self.path, self.query = method, b"/", query
        self.headers = {name.replace("_", "-").encode(): v for name, v in headers.items()}
        self.body = text
        self.received_ns = perf_counter_ns()
        self.gone, self.on_gone = False, None
        self.trace, self.request_id = None, "r"
        self.status, self.answer, self.given = 0, b"", {}
        self._over = asyncio.Event()

    def reply(self, status, text, kind, headers=()):
        assert not self.status, "answered twice"
        self.status, self.answer = status, text
        self.given = {name.decode(): value.decode() for name, value in headers}
        self._over.set()

    async def told(self):
        """Status and JSON of the answer."""
        await asyncio.wait_for(self._over.wait(), 30)
        return self.status, json.loads(self.answer) if self.answer else None


class Station:
    """A desk with the model `double`, on a loop."""

    def __init__(self, folder, who=lambda _: "", **more):
        self.folder = folder
        self.options = JobOptions(folder / "jobs", **more)
        self.who = who

    async def __aenter__(self):
        self._before = asyncio.all_tasks()
        path = self.folder / "double.onnx"
        if not path.exists():
            models.double(path)
        self.served = ServedModel("double", "1.0.0", str(path), "sha256:1")
        block = Block()
        self.table = ModelTable(block, 1, lambda: None)
        await self.table.apply(ServedList(1, (self.served,)))
        self.desk = Desk(self.options, self.table, Recorder.of_server(block), self.who)
        return self

    async def __aexit__(self, *_):
        await self.desk.close()
        await self.table.close(5)
        left = asyncio.all_tasks() - {asyncio.current_task()} - self._before
        assert not left, left

    async def submit(self, text=None, model="double", version=None, **headers):
        asked = Asked(b"POST", body() if text is None else text, **headers)
        self.desk.submit(model, version, asked)
        return await asked.told()

    async def ask(self, *rest, method=b"GET", query=b"", **headers):
        asked = Asked(method, query=query, **headers)
        self.desk.methods(list(rest))[method](asked)
        return await asked.told()

    async def ended(self, job, seconds=30.0):
        """Wait for a job's end."""
        return await self.until(job, {"done", "failed", "cancelled", "expired"}, seconds)

    async def until(self, job, states, seconds=30.0, key="state"):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _, told = await self.ask(job)
            found = told[key]["state"] if key == "callback" else told[key]
            if found in states:
                return told
            await asyncio.sleep(0.01)
        raise AssertionError(f"job {job} is {told}")


async def until(true):
    """Wait for what somebody else brings about; what runs the test has the deadline."""
    while not true():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.005)


def run(main, folder, **more):
    """`main(station)` on a loop of its own."""

    async def whole():
        async with Station(folder, **more) as station:
            await main(station)

    asyncio.run(asyncio.wait_for(whole(), 60))


class Receiver:
    """An HTTP server on a thread that does what it is told, and remembers what came.

    Attributes:
        came: (method, path, headers, body).
        act: handler -> None; writes the answer.
    """

    def __init__(self, act=None):
        receiver = self
        self.came = []
        self.act = act or (lambda handler: handler.say(200, b"fine"))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                found = self.rfile.read(length)
                told = {name.lower(): value for name, value in self.headers.items()}
                receiver.came.append((self.command, self.path, told, found))
                with suppress(OSError):
                    receiver.act(self)

            do_POST = do_GET  # noqa: N815 - the library's name

            def say(self, status, text, **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
