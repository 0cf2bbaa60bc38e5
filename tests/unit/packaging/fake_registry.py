"""A registry in this process: what the distribution specification asks for, and how it fails."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Kept:
    """What it holds, and how it behaves.

    Attributes:
        blobs: digest -> bytes.
        manifests: tag or digest -> (kind, bytes).
        asked: method and path of every request.
        password: `name:password` that it wants; empty = it knows everybody.
        bearer: it gives tokens.
        broken: blobs come with a byte changed.
    """

    def __init__(self, password="", *, bearer=False, broken=False):
        self.blobs, self.manifests, self.asked = {}, {}, []
        self.password, self.bearer, self.broken = password, bearer, broken


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def kept(self):
        return self.server.kept

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def known(self):
        kept = self.kept
        told = self.headers.get("Authorization", "")
        basic = f"Basic {base64.b64encode(kept.password.encode()).decode()}"
        if urlsplit(self.path).path == "/token":
            if told != basic:
                self.answer(401)
            else:
                self.answer(200, json.dumps({"token": "t0ken"}).encode())
            return False
        wanted = "Bearer t0ken" if kept.bearer else basic
        if kept.password and told != wanted:
            host = self.headers["Host"]
            bearer = f'Bearer realm="http://{host}/token",service="here"'
            self.body()
            self.answer(401, WWW_Authenticate=bearer if kept.bearer else 'Basic realm="here"')
            return False
        return True

    def handle_any(self):
        kept, url = self.kept, urlsplit(self.path)
        kept.asked.append(f"{self.command} {url.path}")
        if not self.known():
            return
        name = url.path.rsplit("/", 1)[-1]
        if "/blobs/uploads/" in url.path and self.command == "POST":
            self.body()
            self.answer(202, Location=f"{url.path}one?state=1")
        elif "/blobs/uploads/" in url.path:
            data, digest = self.body(), parse_qs(url.query)["digest"][0]
            good = f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
            if good:
                kept.blobs[digest] = data
            self.answer(201 if good else 400)
        elif "/manifests/" in url.path and self.command == "PUT":
            data = self.body()
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            kept.manifests[name] = kept.manifests[digest] = self.headers["Content-Type"], data
            self.answer(201)
        elif "/manifests/" in url.path and name in kept.manifests:
            kind, data = kept.manifests[name]
            self.answer(200, data, Content_Type=kind)
        elif "/blobs/" in url.path and name in kept.blobs:
            data = kept.blobs[name]
            self.answer(200, data[:-1] + b"x" if kept.broken else data)
        else:
            self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - http.server's names


@contextmanager
def registry(kept):
    """Its host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.kept = kept
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
