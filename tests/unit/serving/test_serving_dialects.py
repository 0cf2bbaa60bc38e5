"""`/metrics` of one server: our own names with exemplars, and those of other servers."""

import re
from time import perf_counter_ns

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families as plain

from modelworks.core.errors import InvalidError
from modelworks.edge.head import Head
from modelworks.edge.request import Sampled
from modelworks.protocol.openmetrics import write_openmetrics, write_text
from modelworks.serving import metrics
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.dialects import DIALECTS, dialect
from modelworks.serving.examples import Examples
from modelworks.serving.execute import Ran
from modelworks.serving.statistics import Outcome, Recorder

pytestmark = pytest.mark.unit
MS = 1_000_000
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Done(Member):
    __slots__ = ()

    def succeed(self, outputs):
        pass

    def fail(self, error):
        pass


@pytest.fixture
def block():
    """Two versions of `m`: two requests of 8 ms each, and one of every kind of failure."""
    block = Block()
    for version in ("1.0.0", "2.0.0"):
        recorder = Recorder.of_model(block, "m", version)
        for _ in range(2):
            now = perf_counter_ns()
            member = Done({}, 3, None, now - 8 * MS)
            member.queued_ns = now - 7 * MS
            ran = Ran([member], [], None, 3, now - 5 * MS, now - 4 * MS, now - MS)
            recorder.call(ran)
        for outcome in Outcome:
            if outcome is not Outcome.SUCCESS:
                recorder.ended(outcome, MS)
    return block


def values(families):
    """{(name, labels): value}, of every line."""
    text = write_text(families).decode()
    list(plain(text))  # it can be read
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()
            pairs = re.findall(r'(\w+)="([^"]*)"', labels)
            found[name, tuple(sorted(pairs))] = float(value)
    return found


def of(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


def test_triton_by_its_own_names_in_microseconds(block):
    found = values(dialect("triton", metrics.numbers_of_models(block)))
    one = {"model": "m", "version": "1.0.0"}
    assert of(found, "nv_inference_request_success", **one) == 2
    assert of(found, "nv_inference_count", **one) == 6
    assert of(found, "nv_inference_exec_count", **one) == 2
    assert of(found, "nv_inference_queue_duration_us", **one) == 4000
    assert of(found, "nv_inference_compute_input_duration_us", **one) == 2000
    assert of(found, "nv_inference_compute_infer_duration_us", **one) == 6000
    assert of(found, "nv_inference_request_duration_us", **one) >= 16_000
    assert of(found, "nv_inference_pending_request_count", **one) == 0
    reasons = {"REJECTED": 2, "CANCELED": 1, "BACKEND": 1, "OTHER": 1}
    for reason, count in reasons.items():
        assert of(found, "nv_inference_request_failure", reason=reason, **one) == count


def test_mlserver_by_model_and_by_path(block):
    found = values(dialect("mlserver", metrics.numbers_of_models(block)))
    one = {"model": "m", "version": "1.0.0"}
    assert of(found, "model_infer_request_success_total", **one) == 2
    assert of(found, "model_infer_request_failure_total", **one) == 4
    assert of(found, "model_infer_request_duration_sum", **one) >= 0.016
    http = {"app_name": "mlserver", "method": "POST", "path": "/v2/models/{model_name}/infer"}
    for status, count in {"200": 4, "400": 2, "503": 2, "504": 2, "500": 2}.items():
        assert of(found, "rest_server_requests_total", status_code=status, **http) == count
    for word in ("request", "requests"):
        name = f"rest_server_{word}_duration_seconds_count"
        assert of(found, name, status_code="200", **http) == 4


def test_kserve_has_histograms_by_model(block):
    found = values(dialect("kserve", metrics.numbers_of_models(block)))
    for verb in ("preprocess", "predict", "postprocess"):
        assert of(found, f"request_{verb}_seconds_count", model_name="m") == 4
    assert of(found, "request_predict_seconds_sum", model_name="m") == pytest.approx(0.012)


def test_torchserve_counts_microseconds(block):
    found = values(dialect("torchserve", metrics.numbers_of_models(block)))
    [requests] = [
        v
        for (n, pairs), v in found.items()
        if n == "ts_inference_requests_total" and ("model_version", "2.0.0") in pairs
    ]
    assert requests == 6
    [queue] = [
        v
        for (n, pairs), v in found.items()
        if n == "ts_queue_latency_microseconds" and ("model_version", "2.0.0") in pairs
    ]
    assert queue == 4000
    classes = {n: v for (n, _), v in found.items() if n.startswith("Requests")}
    assert classes == {"Requests2XX": 4, "Requests4XX": 2, "Requests5XX": 6}


@pytest.mark.parametrize("name", [*DIALECTS])
def test_a_server_without_models_tells_so(name):
    text = write_text(dialect(name, [])).decode()
    assert re.search(r"^# TYPE ", text, re.MULTILINE)
    list(plain(text))


def test_an_unknown_dialect_is_refused_with_the_list():
    with pytest.raises(InvalidError, match="triton, mlserver, kserve, torchserve") as caught:
        dialect("prometheus", [])
    assert caught.value.field == "dialect"


# -- exemplars


class Kept:
    def __init__(self):
        self.answers = []

    def answered(self, *answer):
        self.answers.append(answer)

    def traced(self, request, status):
        self.answers.append((request, status))


def sampled(headers, age_ns):
    head = Head(
        b"POST", b"/v2/models/m/infer", b"", headers, 0,
        keep_alive=True, modern=True, expects=False, coding="", sampled=True,
    )  # fmt: skip
    request = Sampled(Kept(), head, b"")
    request.received_ns -= age_ns
    return request


def test_the_newest_request_of_a_bucket_is_its_exemplar(block):
    examples = Examples()
    examples.take(sampled({b"traceparent": TRACE}, 8 * MS), ("m", "1.0.0"))
    examples.take(sampled({b"traceparent": TRACE.replace(b"0af", b"1af")}, 8 * MS), ("m", "1.0.0"))
    examples.take(sampled({b"traceparent": TRACE}, 9000 * MS), ("m", "1.0.0"))  # not counted
    examples.take(sampled({b"traceparent": b"broken" + TRACE[6:]}, 8 * MS), ("m", "2.0.0"))
    families = metrics.families(block, "0", 1.0, examples.found)
    found = [
        (sample.labels, sample.exemplar)
        for family in strict(write_openmetrics(families, 1.0).decode())
        for sample in family.samples
        if sample.exemplar
    ]
    [(labels, exemplar)] = found
    assert labels["stage"] == "total"
    assert labels["version"] == "1.0.0"
    assert exemplar.labels == {"trace_id": "1af7651916cd43dd8448eb211c80319c"}
    assert 0.008 <= exemplar.value <= float(labels["le"])


def test_a_sampled_request_tells_of_its_answer_and_repeats_its_name():
    request = sampled({b"traceparent": TRACE, b"x-request-id": b"r1"}, 0)
    request.reply(200, b"{}", b"application/json")
    told = request._connection.answers
    assert told[0][4] == ((b"X-Request-Id", b"r1"),)
    assert told[1] == (request, 200)
