"""A collector that takes OTLP over HTTP, read with OpenTelemetry's own messages."""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_KINDS = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


class Collector:
    """Listens on 127.0.0.1.

    Args:
        status: that it answers.

    Attributes:
        url: of it.
        spans: that came, as messages.
        metrics: the newest, by name.
        resources: attributes of those who sent.
    """

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resources: list[dict[str, str]] = []
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                message = _KINDS[self.path]()
                message.ParseFromString(body)
                outer.requests += 1
                if status == 200:
                    outer.take(message)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, message: Any) -> None:
        """Keep what came."""
        for part in getattr(message, "resource_spans", ()):
            self.resources.append(attributes(part.resource))
            for scope in part.scope_spans:
                self.spans += scope.spans
        for part in getattr(message, "resource_metrics", ()):
            for scope in part.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}

    def eventually(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until it has come."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, (len(self.spans), sorted(self.metrics))
            time.sleep(0.05)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def attributes(message: Any) -> dict[str, Any]:
    """Of a span, a point or a resource."""
    found = {}
    for one in message.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return found
