"""A server of the Open Inference Protocol that labels numbers as a test wants it."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[int], tuple[int, int]]


@contextmanager
def answering(answer: Answer, most: int = 10**9) -> Iterator[tuple[str, deque[int]]]:
    """A server that says for each number a status and a label; after `most` it is gone."""
    came: deque[int] = deque()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            (number,) = json.loads(self.rfile.read(length))["inputs"][0]["data"]
            came.append(number)
            if len(came) > most:
                server.socket.close()
                self.close_connection = True
                return
            status, label = answer(number)
            entry = {"name": "label", "datatype": "INT64", "shape": [1], "data": [label]}
            body = json.dumps({"model_name": "m", "outputs": [entry]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v2/models/m/infer", came
    finally:
        server.shutdown()
        server.server_close()
