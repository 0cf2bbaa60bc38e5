"""The same numbers under the names, labels, units and types of other model servers.

Their dashboards and alert rules then work unchanged. What such a server counts and this one does
not is left out: a number that is always 0 would be a lie. Their names are not those that
OpenMetrics wants, and those servers do not speak it: dialects are plain text only.
"""

import socket
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.histograms import Histogram
from modelworks.serving.metrics import Rows, spread
from modelworks.serving.statistics import Numbers, Outcome, Stage

_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_INFER: Final = "/v2/models/{model_name}/infer"
_STATUS: Final = {
    Outcome.SUCCESS: "200",
    Outcome.INVALID: "400",
    Outcome.REJECTED: "503",
    Outcome.EXPIRED: "504",
    Outcome.FAILED: "500",
}
_REASONS: Final = {
    "REJECTED": (Outcome.REJECTED, Outcome.EXPIRED),
    "CANCELED": (Outcome.CANCELLED,),
    "BACKEND": (Outcome.FAILED,),
    "OTHER": (Outcome.INVALID,),
}
"""Triton's reasons of a failure -> our outcomes."""

_TRITON: Final[tuple[tuple[str, str, Callable[[Numbers], float]], ...]] = (
    (
        "nv_inference_count",
        "Number of inferences performed",
        lambda n: n.items,
    ),
    (
        "nv_inference_exec_count",
        "Number of model executions performed",
        lambda n: n.calls,
    ),
    (
        "nv_inference_request_duration_us",
        "Cumulative inference request duration in microseconds",
        lambda n: n.stages[Stage.TOTAL].sum_ns // 1000,
    ),
    (
        "nv_inference_queue_duration_us",
        "Cumulative inference queuing duration in microseconds",
        lambda n: (n.stages[Stage.QUEUE].sum_ns + n.stages[Stage.WAIT].sum_ns) // 1000,
    ),
    (
        "nv_inference_compute_input_duration_us",
        "Cumulative compute input duration in microseconds",
        lambda n: n.input_ns // 1000,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Cumulative compute inference duration in microseconds",
        lambda n: n.infer_ns // 1000,
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Cumulative inference compute output duration in microseconds",
        lambda n: n.output_ns // 1000,
    ),
)


def triton(models: Rows) -> list[Family]:
    """Triton's counters, in microseconds; labels `model`, `version`."""
    success = _bare("nv_inference_request_success", "Number of successful inference requests")
    failure = _bare("nv_inference_request_failure", "Number of failed inference requests")
    pending = Family(
        "nv_inference_pending_request_count",
        _GAUGE,
        "Number of rows awaiting execution per model",
    )
    for pairs, numbers in models:
        success.add(numbers.outcomes[Outcome.SUCCESS], pairs)
        for reason, outcomes in _REASONS.items():
            count = sum(numbers.outcomes[outcome] for outcome in outcomes)
            failure.add(count, pairs | {"reason": reason})
        pending.add(numbers.waiting, pairs)
    told = [success, failure]
    for name, text, value in _TRITON:
        family = _bare(name, text)
        for pairs, numbers in models:
            family.add(value(numbers), pairs)
        told.append(family)
    return [*told, pending]


def mlserver(models: Rows) -> list[Family]:
    """MLServer's counters; its HTTP server's are of all models together, labelled by path."""
    success = Family("model_infer_request_success", _COUNTER, "Model infer request success count")
    failure = Family("model_infer_request_failure", _COUNTER, "Model infer request failure count")
    duration = Family("model_infer_request_duration", Kind.SUMMARY, "Model infer request duration")
    for pairs, numbers in models:
        total = numbers.stages[Stage.TOTAL]
        success.add(numbers.outcomes[Outcome.SUCCESS], pairs)
        failure.add(numbers.failures, pairs)
        duration.summed(pairs, total.count, total.sum_ns / 1e9)
    http = {"app_name": "mlserver", "method": "POST", "path": _INFER}
    requests = Family("rest_server_requests", _COUNTER, "Total HTTP requests")
    for outcome, status in _STATUS.items():
        count = sum(numbers.outcomes[outcome] for _, numbers in models)
        requests.add(count, http | {"status_code": status})
    # The server writes `request`, its documentation `requests`: dashboards have either.
    text = "HTTP request duration, in seconds"
    durations = [
        Family(f"rest_server_{word}_duration_seconds", _HISTOGRAM, text)
        for word in ("request", "requests")
    ]
    for family in durations:
        every = [numbers.stages[Stage.TOTAL] for _, numbers in models]
        spread(family, http | {"status_code": "200"}, _together(every))
    return [success, failure, duration, requests, *durations]


def kserve(models: Rows) -> list[Family]:
    """The histograms of KServe's own server, by `model_name`; versions are added up.

    Decoding and checks are its preprocessing, the engine's call is its prediction, the writing of
    the answer its postprocessing.
    """
    stages = {
        "preprocess": ("pre-process request latency", Stage.DECODE),
        "predict": ("predict request latency", Stage.COMPUTE),
        "postprocess": ("post-process request latency", Stage.ENCODE),
    }
    told = []
    for verb, (text, stage) in stages.items():
        family = Family(f"request_{verb}_seconds", _HISTOGRAM, text)
        for name in sorted({pairs["model"] for pairs, _ in models}):
            mine = [numbers.stages[stage] for pairs, numbers in models if pairs["model"] == name]
            spread(family, {"model_name": name}, _together(mine))
        told.append(family)
    return told


def torchserve(models: Rows) -> list[Family]:
    """TorchServe's counters, in microseconds; labels `model_name`, `model_version`, `hostname`."""
    host = {"hostname": socket.gethostname()}
    requests = Family(
        "ts_inference_requests", _COUNTER, "Torchserve prometheus counter metric with unit: Count"
    )
    text = "Torchserve prometheus counter metric with unit: Microseconds"
    latency = _bare("ts_inference_latency_microseconds", text)
    queue = _bare("ts_queue_latency_microseconds", text)
    levels: dict[str, tuple[Outcome, ...]] = {
        "2": (Outcome.SUCCESS,),
        "4": (Outcome.INVALID,),
        "5": (Outcome.REJECTED, Outcome.EXPIRED, Outcome.FAILED),
    }
    classes = []
    for digit, outcomes in levels.items():
        family = _bare(f"Requests{digit}XX", requests.text)
        count = sum(numbers.outcomes[outcome] for _, numbers in models for outcome in outcomes)
        family.add(count, {"Level": "Host", "Hostname": host["hostname"]})
        classes.append(family)
    for pairs, numbers in models:
        named = {"model_name": pairs["model"], "model_version": pairs["version"], **host}
        requests.add(numbers.outcomes[Outcome.SUCCESS] + numbers.failures, named)
        latency.add(numbers.stages[Stage.TOTAL].sum_ns / 1000, named)
        queue.add(numbers.stages[Stage.QUEUE].sum_ns / 1000, named)
    return [*classes, requests, latency, queue]


def _together(histograms: Iterable[Histogram]) -> Histogram:
    return reduce(Histogram.plus, histograms, Histogram())


def _bare(name: str, text: str) -> Family:
    return Family(name, _COUNTER, text, bare=True)


DIALECTS: Final[dict[str, Callable[[Rows], list[Family]]]] = {
    "triton": triton,
    "mlserver": mlserver,
    "kserve": kserve,
    "torchserve": torchserve,
}


def dialect(name: str, models: Rows) -> list[Family]:
    """What a server of another kind would tell.

    Raises:
        InvalidError: no such dialect; the message lists those there are.
    """
    if name not in DIALECTS:
        known = ", ".join(DIALECTS)
        raise InvalidError(
            f"there is no dialect '{name[:40]}' of metrics; there are {known}, and without one "
            "they have our own names",
            field="dialect",
        )
    return DIALECTS[name](models)
