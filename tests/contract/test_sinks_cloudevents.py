"""The sink of CloudEvents against its contract, in each mode, and what HTTP adds."""

import time

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.plugins import load as plugins
from modelworks.testing.sinks import SinkContract, Sunk, records
from sink_receivers import Webhook

pytestmark = pytest.mark.contract


@pytest.fixture
def hook():
    found = Webhook()
    found.start()
    yield found
    found.stop()


def sink():
    return plugins.load("sinks", "cloudevents")()


class TestCloudEvents(SinkContract):
    @pytest.fixture(params=["batched", "structured", "binary"])
    def case(self, hook, request):
        return Sunk(
            sink=sink(),
            settings={"url": hook.url, "mode": request.param},
            received=lambda: hook.events,
            stop=hook.stop,
            start=hook.again,
            required=("url",),
            impossible={"url": "ftp://somewhere", "mode": "loud", "token_file": "/nowhere"},
        )


def test_a_batch_is_one_request(hook):
    opened = sink().open({"url": hook.url})
    opened.send(records(50))
    assert len(hook.requests) == 1
    assert len(hook.events) == 50


def test_large_batches_are_cut(hook):
    opened = sink().open({"url": hook.url})
    opened.send([r for r in records(400) for _ in range(15)])
    assert len(hook.requests) > 1
    assert max(len(body) for _, body in hook.requests) < 1_100_000


def test_binary_mode_carries_attributes_as_headers(hook):
    sink().open({"url": hook.url, "mode": "binary"}).send(records(1))
    headers, body = hook.requests[0]
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "modelworks.prediction.v1"
    assert headers["ce-partitionkey"] == "%E5%AE%A2%E6%88%B7%200"
    assert headers["Content-Type"] == "application/json"
    assert body.startswith(b'{"id":"request-0"')


def test_what_passes_is_tried_again(hook):
    hook.answers = [(503, {}), (429, {"Retry-After": "1"}), (204, {})]
    began = time.monotonic()
    sink().open({"url": hook.url, "timeout": "10"}).send(records(2))
    assert time.monotonic() - began >= 1.2
    assert len(hook.requests) == 3
    assert len(hook.events) == 2


def test_what_the_receiver_refuses_is_not_tried_again(hook):
    hook.answers = [(400, {})]
    with pytest.raises(InvalidError, match="HTTP 400"):
        sink().open({"url": hook.url}).send(records(2))
    assert len(hook.requests) == 1


def test_a_redirect_is_a_refusal_and_no_secret_is_told(hook, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    hook.answers = [(302, {"Location": "http://127.0.0.1:1/"})]
    url = hook.url.replace("//", "//user:pass@") + "?key=hidden"
    opened = sink().open({"url": url, "token_file": str(tmp_path / "token")})
    with pytest.raises(InvalidError) as refused:
        opened.send(records(1))
    assert hook.requests[0][0]["Authorization"] == "Bearer s3cret"
    for secret in ("s3cret", "pass", "hidden"):
        assert secret not in refused.value.message
    hook.answers = [(500, {})] * 50
    opened = sink().open({"url": url, "timeout": "0.5"})
    with pytest.raises(UnavailableError) as late:
        opened.send(records(1))
    assert "hidden" not in late.value.message
