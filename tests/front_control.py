"""A control plane as far as gateways know one: `python front_control.py PORT FILE`.

Answers the snapshot in the file by long-poll, as `gateway.fetch` says that it is asked.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file = Path()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        after, end = int(asked["after"][0]), time.monotonic() + float(asked["wait"][0])
        while True:
            body = self.file.read_bytes()
            if json.loads(body)["generation"] != after or time.monotonic() > end:
                break
            time.sleep(0.05)
        same = json.loads(body)["generation"] == after
        self.send_response(304 if same else 200)
        if not same:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not same:
            self.wfile.write(body)


if __name__ == "__main__":
    Handler.file = Path(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
