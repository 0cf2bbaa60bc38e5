"""Traces and metrics by OTLP over HTTP, with OpenTelemetry's own exporters.

Attributes follow the semantic conventions 1.37 for HTTP servers; what they have no name for is
`modelworks.*`.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from modelworks.core.errors import InvalidError
from modelworks.core.spans import Measured, Traced

_SCOPE: Final = InstrumentationScope("modelworks")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNITS: Final = {"seconds": "s", "bytes": "By"}
_TOTAL: Final = AggregationTemporality.CUMULATIVE
_IDS: Final = random.SystemRandom()


class OtlpExporter:
    """See `core.spans.Exporter`."""

    extra: ClassVar[str] = "otel"
    experimental: ClassVar[bool] = False

    def open(self, endpoint: str, resource: Mapping[str, str], seconds: float) -> None:
        """See `core.spans.Exporter.open`; `endpoint` is a collector's, `http://127.0.0.1:4318`."""
        if urlsplit(endpoint).scheme not in {"http", "https"}:
            raise InvalidError(
                f"'{endpoint[:120]}' is no endpoint of OTLP over HTTP: http://HOST:4318 is wanted",
                field="otlp",
            )
        base = endpoint.rstrip("/")
        self._resource = Resource(dict(resource))
        self._spans = OTLPSpanExporter(f"{base}/v1/traces", timeout=seconds)
        self._metrics = OTLPMetricExporter(f"{base}/v1/metrics", timeout=seconds)

    def spans(self, traced: Sequence[Traced]) -> bool:
        """See `core.spans.Exporter`."""
        made = [span for one in traced for span in self._made(one)]
        return self._spans.export(made) is SpanExportResult.SUCCESS

    def metrics(self, measured: Measured) -> bool:
        """See `core.spans.Exporter`."""
        metrics = list(_metrics(measured))
        scope = ScopeMetrics(_SCOPE, metrics, "")
        data = MetricsData([ResourceMetrics(self._resource, [scope], "")])
        return self._metrics.export(data) is MetricExportResult.SUCCESS

    def _made(self, one: Traced) -> Iterator[ReadableSpan]:
        """The request's span, and one for each part of its way."""
        state = TraceState.from_header([one.state]) if one.state else None
        mine = _context(one, state)
        parent = SpanContext(int(one.trace, 16), int(one.parent, 16), True, _SAMPLED, state)  # noqa: FBT003 - the library's
        route = _route(one)
        attributes: dict[str, Any] = {
            "http.request.method": one.method,
            "http.response.status_code": one.status,
            "http.request.body.size": one.size,
            "http.route": route,
            "url.path": one.path,
            "url.scheme": one.scheme,
        }
        failed = one.status >= 500
        further = {
            "modelworks.model.name": one.model,
            "modelworks.model.version": one.version,
            "modelworks.batch.rows": one.call.rows if one.call else None,
            "http.request.header.x-request-id": [one.request_id] if one.request_id else None,
            "error.type": str(one.status) if failed else None,
        }
        attributes |= {name: value for name, value in further.items() if value}
        yield ReadableSpan(
            f"{one.method} {route}",
            context=mine,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=one.begin,
            end_time=one.end,
            instrumentation_scope=_SCOPE,
        )
        for name, outer, begin, end, context in _parts(one, mine, state):
            yield ReadableSpan(
                name,
                context=context,
                parent=outer,
                resource=self._resource,
                attributes={"modelworks.model.name": one.model},
                kind=SpanKind.INTERNAL,
                start_time=begin,
                end_time=end,
                instrumentation_scope=_SCOPE,
            )


def _parts(
    one: Traced, mine: SpanContext, state: TraceState | None
) -> Iterator[tuple[str, SpanContext, int, int, SpanContext]]:
    """Name, parent, begin, end and context of what lies below a request."""
    call = one.call
    if call is None:
        return
    edges = (one.begin, call.queued, call.started, call.joined, call.inferred, one.end)
    names = ("decode", "queue", "gather", "compute", "encode")
    for name, begin, end in zip(names, edges[:-1], edges[1:], strict=True):
        context = _context(one, state)
        yield name, mine, begin, max(begin, end), context
        if name == "compute":
            for lap, started, ended in call.laps:
                yield f"step {lap}", context, started, ended, _context(one, state)


def _context(one: Traced, state: TraceState | None) -> SpanContext:
    return SpanContext(
        int(one.trace, 16), _IDS.getrandbits(64) or 1, is_remote=False, trace_flags=_SAMPLED,
        trace_state=state,
    )  # fmt: skip


def _route(one: Traced) -> str:
    """The path with a hole for the model: spans of one kind have one name."""
    path = one.path
    for name in {one.model, quote(one.model, safe="")} - {""}:
        for before in ("/models/", "/predict/"):
            path = path.replace(f"{before}{name}", f"{before}{{model}}", 1)
    if one.version:
        path = path.replace(f"/versions/{one.version}", "/versions/{version}", 1)
    return path if one.model else "/"


def _metrics(measured: Measured) -> Iterator[Metric]:
    at, started = measured.at, measured.started
    for name, kind, text, groups in measured.families:
        unit = next((u for word, u in _UNITS.items() if name.endswith(f"_{word}")), "1")
        if kind == "histogram":
            points = [_histogram(group, at, started) for group in groups]
            yield Metric(name, text, unit, Histogram(points, _TOTAL))
            continue
        numbers = [
            NumberDataPoint(dict(pairs), started if kind == "counter" else 0, at, value)
            for group in groups
            for _, pairs, value in group
        ]
        told = Sum(numbers, _TOTAL, is_monotonic=True) if kind == "counter" else Gauge(numbers)
        yield Metric(name, text, unit, told)


def _histogram(
    group: Sequence[tuple[str, Mapping[str, str], Any]], at: int, started: int
) -> HistogramDataPoint:
    buckets = [(pairs["le"], value) for suffix, pairs, value in group if suffix == "_bucket"]
    ends = {suffix: value for suffix, _, value in group if suffix != "_bucket"}
    labels = {key: value for key, value in group[0][1].items() if key != "le"}
    counts = [value for _, value in buckets]
    each = [count - before for count, before in zip(counts, [0, *counts], strict=False)]
    bounds = [float(bound) for bound, _ in buckets[:-1]]
    count, total = ends["_count"], ends["_sum"]
    unknown = float("nan")  # the least and the greatest are not kept
    return HistogramDataPoint(
        labels, started, at, count, total, each, bounds, min=unknown, max=unknown
    )
