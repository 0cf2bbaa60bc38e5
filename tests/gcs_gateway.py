"""What stands before fake-gcs-server: it lacks the uploads of the XML API, which our store uses.

Everything else is passed on as it came. An upload in parts is collected here and stored at its
completion, as the real service does it; so of Google's side only its uploads are ours.
"""

import http.client
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}


class Gateway:
    """Serves on a free port while it is entered; yields its URL.

    Args:
        port: of the fake server.
    """

    def __init__(self, port: int) -> None:
        handler = type("Handler", (_Handler,), {"behind": port, "uploads": {}})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self: Self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behind: int
    uploads: dict[str, dict[int, bytes]]

    def handle_one(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        bucket, _, name = parts.path.removeprefix("/").partition("/")
        name = unquote(name)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        upload = query.get("uploadId", [""])[0]
        if self.command == "POST" and "uploads" in query:
            number = uuid.uuid4().hex
            self.uploads[number] = {}
            self._xml(
                f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{name}</Key>"
                f"<UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            )
        elif self.command == "PUT" and upload:
            part = int(query["partNumber"][0])
            self.uploads[upload][part] = body
            self._xml("", etag=f'"{upload}-{part}"')
        elif self.command == "POST" and upload:
            kept = self.uploads.pop(upload)
            self._insert(bucket, name, b"".join(kept[part] for part in sorted(kept)), multi=True)
        elif self.command == "DELETE" and upload:
            self.uploads.pop(upload, None)
            self._answer(204, {}, b"")
        elif self.command == "PUT" and name:
            self._insert(bucket, name, body, multi=False)
        else:
            path = f"/{bucket}/{name}" if name else parts.path
            path = quote(path) + (f"?{parts.query}" if parts.query else "")
            self._answer(*self._behind(self.command, path, body))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        return

    def _insert(self, bucket: str, name: str, body: bytes, *, multi: bool) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        if self.headers.get("x-goog-if-generation-match") == "0":
            path += "&ifGenerationMatch=0"
        status, headers, answer = self._behind("POST", path, body)
        if status >= 300:
            self._answer(status, headers, answer)
        elif multi:
            self._xml(
                f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{name}</Key>"
                '<ETag>"whole"</ETag></CompleteMultipartUploadResult>'
            )
        else:
            self._xml("", etag='"one"')

    def _behind(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=60)
        try:
            named = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            connection.request(method, path, body, {**named, "host": f"127.0.0.1:{self.behind}"})
            answer = connection.getresponse()
            data = answer.read()
            found = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP}
            if method == "HEAD":
                found["content-length"] = answer.headers.get("content-length", "0")
            return answer.status, found, data
        finally:
            connection.close()

    def _xml(self, text: str, **headers: str) -> None:
        self._answer(200, {"content-type": "application/xml", **headers}, text.encode())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in headers:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
